"""The search service under load: many clients on loopback below and above what it takes, with latencies and memory.

python benchmarks/search_service.py
python benchmarks/search_service.py --seconds 300
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
from record import record

from piplay.envs.search.corpus import read_corpus
from piplay.envs.world.commands import make

K, WORDS = 3, 3
LOADS = {"below": 1, "above": 1000}
"""Queries of a request: 50 clients with 1,000 each are more than the queue takes."""
NOTES = f"""
Clients ask again as soon as they are answered: {WORDS} words of the corpus a query, few of them twice, top {K} with
scores. `statuses` counts the answers: below capacity all are to be 200, above it 503 or 200. Latencies are those of
answers of status 200. `resident` is the server's, before and after. Clients and server share the machine.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="for each of the two loads")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--size", type=int, default=5000, help="passages of the world that is served")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        world = Path(folder) / "world"
        make(world, seed=0, size=arguments.size, per_hop=1)
        words = sorted({word for passage in read_corpus(world) for word in re.findall(r"\w+", passage.text)})
        command = [sys.executable, "-m", "piplay", "search", "serve", str(world), "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            url = server.stdout.readline().split(" at ")[1].split(": ")[0]
            try:
                rows = [
                    {"load": load, "clients": arguments.clients, "queries": queries}
                    | asyncio.run(measure(url, server.pid, words, arguments.clients, arguments.seconds, queries))
                    for load, queries in LOADS.items()
                ]
            finally:
                server.terminate()
    record("search-service", f"python benchmarks/search_service.py --seconds {arguments.seconds:g}", rows, NOTES)


async def measure(url: str, pid: int, words: list[str], clients: int, seconds: float, queries: int) -> dict[str, Any]:
    """One load for so many seconds."""
    statuses: Counter[int] = Counter()
    times: list[float] = []
    before, end = resident(pid), time.monotonic() + seconds
    limits = httpx.Limits(max_connections=clients)

    async with httpx.AsyncClient(trust_env=False, timeout=120, limits=limits) as client:

        async def ask(number: int) -> None:
            draw = random.Random(number)
            while time.monotonic() < end:
                asked = [" ".join(draw.choices(words, k=WORDS)) for _ in range(queries)]
                start = time.monotonic()
                answer = await client.post(url, json={"queries": asked, "topk": K, "return_scores": True})
                statuses[answer.status_code] += 1
                if answer.status_code == 200:
                    times.append(time.monotonic() - start)

        await asyncio.gather(*map(ask, range(clients)))
    times.sort()
    return {
        "statuses": ", ".join(f"{status}: {count}" for status, count in sorted(statuses.items())),
        "queries/s": round(len(times) * queries / seconds),
        "p50 ms": round(1000 * times[len(times) // 2]) if times else None,
        "p99 ms": round(1000 * times[len(times) * 99 // 100]) if times else None,
        "resident MB": f"{before} to {resident(pid)}",
    }


def resident(pid: int) -> int:
    """Megabytes that a process holds."""
    return int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0]) // 1024


if __name__ == "__main__":
    main()
