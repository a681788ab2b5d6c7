"""Rollouts and one step of each phase on a GPU, by each kind of engine, at the shapes of Qwen3-0.6B and 4B with random
weights: seconds and memory.

    python benchmarks/gpu/phases.py

Without a GPU it says so and ends. A case that fails, for want of memory or of vLLM, has a row that says why.
"""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import torch

BENCHMARKS = Path(__file__).resolve().parents[1]
BF16 = ["--device", "cuda", "--dtype", "bfloat16", "--checkpointing"]
LONG = ["--tokens", "4096", "--write", "128", "--micro-batch-tokens", "8192", "--sequences", "16"]
LONG += ["--questions", "20"]
LORA = ["--shape", "qwen3-0.6b", *BF16, *LONG, "--slots", "16", "--rank", "32"]
KINDS = ("local", "vllm", "ray")
CASES = {
    "0.6B, all weights": ["--shape", "qwen3-0.6b", *BF16, *LONG, "--slots", "16"],
    "0.6B, LoRA": LORA,
    "4B, LoRA": ["--shape", "qwen3-4b", *BF16, *LONG, "--slots", "8", "--rank", "32"],
    "4B, all weights": ["--shape", "qwen3-4b", *BF16, *LONG, "--slots", "8"],
}
LOCAL = {
    "0.6B, LoRA, segment by segment": [*LORA, "--one-by-one"],
    "0.6B, LoRA, CUDA graphs": [*LORA, "--cuda-graphs"],
}
"""Of the local engine alone."""
PHASES = ("rollouts", "write", "examine", "study", "save", "export")


def one_step(words: list[str]) -> dict[str, Any] | str:
    """The numbers of one case, or why there are none."""
    command = [sys.executable, str(BENCHMARKS / "one_step.py"), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1][:200]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def rows() -> list[dict[str, object]]:
    """A row an engine, case and phase: the second time that it is played."""
    made: list[dict[str, object]] = []
    for kind, (name, words) in [*product(KINDS, CASES.items()), *product(KINDS[:1], LOCAL.items())]:
        found = one_step([*words, "--kind", kind])
        for phase in PHASES:
            row: dict[str, object] = {"engine": kind, "case": name, "phase": phase}
            row |= dict.fromkeys(("seconds", "tokens/s", "peak_gb", "estimated_gb"), 0.0)
            row["failed"] = found if isinstance(found, str) else ""
            if not isinstance(found, str):
                seconds = found["seconds"][phase]
                row |= {"seconds": seconds, "tokens/s": found["tokens"][phase] / seconds}
                row |= {"peak_gb": found["peaks"][phase] / 1e9, "estimated_gb": found["estimated"] / 1e9}
            made.append(row)
            print(row, flush=True)
            if isinstance(found, str):
                break
    return made


def main() -> None:
    if not torch.cuda.is_available():
        print("there is no GPU here: nothing was measured")
        return
    sys.path.insert(0, str(BENCHMARKS))
    from record import record

    notes = (
        f"GPU: {torch.cuda.get_device_name()}, CUDA {torch.version.cuda}. Random weights, 4,096 tokens a trajectory. "
        "`rollouts`: 100 of a student, 1 to 4 turns of about 128 tokens with 832 of a tool between. `write`: examiner "
        "and student at once, 128 tokens in every slot behind 3,968. `examine`, `study`: an update on 16 trajectories, "
        "without and with a teacher; attention is one call a layer, but for the case segment by segment. CUDA graphs "
        "are captured within `write`. `estimated_gb` is what doctor reckons for the fullest moment. `peak_gb` is this "
        "process's: with vllm and ray the trainer's alone, beside a sampler on the same GPU."
    )
    record("gpu", "python benchmarks/gpu/phases.py", rows(), notes)


if __name__ == "__main__":
    main()
