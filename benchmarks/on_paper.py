"""A student step on 8, 64 and 512 GPUs, on paper: rollouts, sync, update, and which of them bounds.

    python benchmarks/on_paper.py

Nothing here was run on a GPU. A step's work (tokens, turns, occupancy) is that of ``pi-play-hf`` with more questions;
what a GPU does is its data sheet times the two shares below, which are assumptions. What was measured, on a CPU, is
what does not depend on the size: what a sync costs beside its bytes (``results/scale.json``), and the share of steps'
slots that have a turn to write.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from record import RESULTS, record

COMPUTE, OF_COMPUTE = 989e12, 0.35
"""FLOP/s of an H100 in bf16, and the share that an update reaches (assumed)."""
MEMORY, OF_MEMORY = 3.35e12, 0.5
"""Bytes/s of its memory, and the share that decoding reaches (assumed)."""
BETWEEN_CARDS, BETWEEN_HOSTS = 50e9, 12.5e9
"""Bytes/s through a host's shared memory to a card, and of a 100 Gbit network."""
LAUNCHES = 4e-3
"""Seconds of a decode step that no card is fast enough to avoid (assumed: a captured graph, and a draw)."""
FLOPS = 8
"""Of an update for each parameter and token: forward 2, backward 4, and 2 for layers computed once more."""
OCCUPANCY = 0.45
"""Share of the slots that write while 100 rollouts begin together and end one by one (measured: .4 to .6)."""


@dataclass(frozen=True)
class Model:
    """Shapes that matter."""

    name: str
    parameters: float
    cached: float
    """Bytes of keys and values of a token."""
    adapters: float
    """Bytes of a policy's adapters of rank 32 in bf16."""


MODELS = (Model("Qwen3-0.6B", 0.6e9, 114_688, 40e6), Model("Qwen3-4B", 4.0e9, 147_456, 132e6))
TOKENS, WRITTEN, TURNS = 2500, 800, 4
"""Of a rollout: all, written, and turns; the longest writes twice as many."""


@dataclass(frozen=True)
class Step:
    """Seconds of the parts of a step, and how many rollouts it has."""

    rollouts: int
    writing: float
    sync: float
    update: float

    @property
    def seconds(self) -> float:
        return self.writing + self.sync + self.update


def step(model: Model, gpus: int, ranks: int, fixed: float, whole: bool) -> Step:
    """One step, of 40 rollouts a GPU: each is a sampler's, and ``ranks`` of them a trainer's as well."""
    rollouts = 40 * gpus
    slots = rollouts / gpus
    weights = 2 * model.parameters
    one = (weights + OCCUPANCY * slots * model.cached * TOKENS / 2) / (MEMORY * OF_MEMORY) + LAUNCHES
    prefill = slots * TOKENS * 2 * model.parameters / (COMPUTE * OF_COMPUTE)
    writing = 2 * WRITTEN * one + prefill
    # The trainer gives a version to one sampler after the other; over the network it goes once to a host of eight.
    given = weights if whole else model.adapters
    sync = gpus * (fixed + given / BETWEEN_CARDS) + (-(-gpus // 8) - 1) * given / BETWEEN_HOSTS
    # The student's forward and backward, and the teacher's forward.
    update = rollouts * TOKENS * (FLOPS + 2) * model.parameters / (ranks * COMPUTE * OF_COMPUTE)
    reduced = 4 * (model.parameters if whole else model.adapters / 2) * 2 / BETWEEN_HOSTS if ranks > 1 else 0
    return Step(rollouts, writing, sync, update + reduced)


def measured_sync() -> dict[bool, float]:
    """Seconds of a sync of a million parameters: what it costs whatever its bytes are. By whether all weights go."""
    rows = json.loads((RESULTS / "scale.json").read_text(encoding="utf-8"))["rows"]
    found = {row["what"]: float(row["measured"]) for row in rows}
    named = {True: "whole weights", False: "adapters"}
    return {whole: found[f"{name}: seconds of a sync, in the median of 5"] for whole, name in named.items()}


def main() -> None:
    fixed = measured_sync()
    rows: list[dict[str, object]] = []
    for model in MODELS:
        for gpus in (8, 64, 512):
            # The first two are built.
            for ranks, whole in dict.fromkeys([(1, False), (8, False), (gpus, False), (gpus, True)]):
                one = step(model, gpus, ranks, fixed[whole], whole)
                parts = {"rollouts": one.writing, "sync": one.sync, "update": one.update}
                rows.append(
                    {
                        "model": model.name, "GPUs": gpus, "trainer ranks": ranks,
                        "weights": "all" if whole else "adapters", "rollouts a step": one.rollouts,
                        **{f"{name}_s": seconds for name, seconds in parts.items()}, "step_s": one.seconds,
                        "bound by": max(parts, key=lambda name: parts[name]),
                        "rollouts/s": one.rollouts / one.seconds,
                    }
                )  # fmt: skip
    record(
        "on-paper", "python benchmarks/on_paper.py", rows,
        "On paper: nothing of it ran on a GPU. Built are adapters on up to 8 ranks, those of one machine; neither more "
        "ranks nor all weights on several are. Assumed: an update at "
        f"{OF_COMPUTE:.0%} of an H100's bf16, decoding at {OF_MEMORY:.0%} of its memory's rate. Measured: the sync of "
        f"a million parameters on a CPU ({fixed[False]:.3f} s adapters, {fixed[True]:.2f} s all weights), occupancy.",
    )  # fmt: skip
    print(Path(RESULTS / "on-paper.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
