"""The tiny base behind ``piplay serve``: questions one after another and at once, and more clients than have room.

    python benchmarks/serving.py [--questions 32] [--clients 50] [--seconds 60]

Ends with 1 where an answer is not that of ``ask``, or a client gets another status than 200 and 503.
"""

import argparse
import resource
import socket
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import uvicorn

from piplay.agent import load_agent
from piplay.envs.world.store import default_world
from piplay.serving.app import make_app
from piplay.serving.questions import Questions


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=32)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    given = parser.parse_args()
    agent = load_agent("base", **{"engine.slots": given.questions})
    held = default_world().heldout
    asked = [one.question for one in held[:: max(1, len(held) // given.questions)]][: given.questions]
    began = time.monotonic()
    alone = [agent.ask(question).answer for question in asked]
    print(f"{len(asked)} questions one after another: {time.monotonic() - began:.1f} s")

    questions = Questions(agent, room=given.questions + 8)
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(make_app(questions, "base"), log_level="critical", lifespan="off"))
    threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True).start()
    url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1/chat/completions"
    client = httpx.Client(trust_env=False, timeout=300, limits=httpx.Limits(max_connections=given.clients))

    def ask(question: str) -> tuple[int, str, float]:
        began = time.monotonic()
        body = {"model": "base", "messages": [{"role": "user", "content": question}]}
        answer = client.post(url, json=body)
        said = answer.json()["choices"][0]["message"]["content"] if answer.status_code == 200 else ""
        return answer.status_code, said, time.monotonic() - began

    def visit(number: int) -> tuple[Counter[int], list[float]]:
        counts: Counter[int] = Counter()
        waits = []
        while time.monotonic() < end:
            status, _, wait = ask(asked[(number + sum(counts.values())) % len(asked)])
            counts[status] += 1
            if status == 200:
                waits.append(wait)
            else:
                time.sleep(0.5)
        return counts, waits

    with ThreadPoolExecutor(max(given.questions, given.clients)) as pool:
        began = time.monotonic()
        together = [said for _, said, _ in pool.map(ask, asked)]
        print(f"at once: {time.monotonic() - began:.1f} s, {sum(map(str.__ne__, together, alone))} other answers")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        end = time.monotonic() + given.seconds
        visits = list(pool.map(visit, range(given.clients)))
    counts = sum((count for count, _ in visits), Counter())
    waits = sorted(wait for _, some in visits for wait in some)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{given.clients} clients, room for {questions.room}, {given.seconds:.0f} s: {dict(counts)}")
    print(f"answered in {waits[len(waits) // 2]:.2f} s (median), {waits[int(len(waits) * 0.99)]:.2f} s (p99)")
    print(f"peak memory {before} MiB, then {after} MiB; {questions.open} questions still open")
    return int(together != alone or not set(counts) <= {200, 503} or questions.open > 0)


if __name__ == "__main__":
    sys.exit(main())
