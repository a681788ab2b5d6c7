"""What ``piplay doctor`` estimates, against what a process needed at most: models of random weights, on the CPU.

python benchmarks/memory.py
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from record import record

CASES = {
    "small": [],
    "small, long cache": ["--slots", "128", "--tokens", "512", "--sequences", "2"],
    "deep": ["--shape", "deep"],
    "deep, checkpointing": ["--shape", "deep", "--checkpointing"],
    "deep, bf16": ["--shape", "deep", "--dtype", "bfloat16"],
    "wide": ["--shape", "wide"],
    "wide, LoRA": ["--shape", "wide", "--rank", "16"],
    "wide, LoRA, bf16, checkpointing": ["--shape", "wide", "--rank", "16", "--dtype", "bfloat16", "--checkpointing"],
}


def one_step(words: list[str]) -> dict[str, Any]:
    """The numbers of one case."""
    command = [sys.executable, str(Path(__file__).with_name("one_step.py")), *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    rows = []
    for name, words in CASES.items():
        found = one_step(words)
        estimated, measured = found["estimated"] / 1e9, found["measured"] / 1e9
        rows.append(
            {
                "case": name,
                "estimated_gb": estimated,
                "measured_gb": measured,
                "estimated/measured": estimated / measured,
            }
        )
        print(rows[-1], flush=True)
    notes = (
        "Measured: the most that the process held resident, less what it held before the engine was made. A run's "
        "estimate adds the process, and three tenths for what an allocator cannot give."
    )
    record("memory", "python benchmarks/memory.py", rows, notes)


if __name__ == "__main__":
    main()
