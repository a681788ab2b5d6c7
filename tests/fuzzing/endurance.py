"""Plays thousands of steps of a toy recipe and prints how memory and open files grow:
``python tests/fuzzing/endurance.py --steps 2000``.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

EVERY = 100
GROWTH = 0.05
"""The share by which memory may grow from the first quarter of the steps to the last: allocators are not exact."""


def sample() -> tuple[int, int]:
    """Bytes in memory, and open descriptors."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE"), len(os.listdir("/proc/self/fd"))


def play(steps: int, folder: Path) -> list[tuple[int, int]]:
    """A sample after every step of a run of so many."""
    from toys.games import RECIPE
    from toys.models import toy_model

    import piplay
    from piplay.envs.world.generate import encyclopedia
    from piplay.envs.world.store import write_world
    from piplay.training.run_directory import Run

    write_world(folder / "world", encyclopedia(3, 150), 3, "made for tests", per_hop=10)
    model = toy_model("qwen3", folder / "model")
    recipe = folder / "toy.toml"
    where = f'environment = {{ kind = "search", world = "{folder / "world"}" }}\n'
    recipe.write_text(f'model = "{model}"\n{where}{RECIPE}', encoding="utf-8")
    samples: list[tuple[int, int]] = []
    log = Run.log

    def sampled(self: Run, row: Any) -> None:
        log(self, row)
        samples.append(sample())
        if len(samples) % EVERY == 0:
            told = f"step {len(samples)}: {samples[-1][0] / 1e6:.1f} MB, {samples[-1][1]} descriptors"
            print(told, file=sys.stderr, flush=True)

    Run.log = sampled  # type: ignore[method-assign]
    settings: dict[str, object] = {
        "iterations": max(steps // 20, 1),
        "checkpoint_every": 5,
        "limits.turns": 1,
        "limits.turn_tokens": 3,
        "report.grid": 0,
        "evaluation.per_hop": 0,
        "phases.examine.steps": 9,
        "phases.examine.episodes": 1,
        "phases.examine.options": {"probes": 1, "gates": []},
        "phases.write.writes": 1,
        "phases.write.steps": 2,
        "phases.write.episodes": 1,
        "phases.study.steps": 10,
        "phases.study.episodes": 1,
    }
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        piplay.train(recipe, folder / "run", **settings)
    return samples


def grown(samples: list[tuple[int, int]]) -> str:
    """What grew, in a line; empty where nothing did."""
    quarter = len(samples) // 4
    first, last = samples[quarter : 2 * quarter], samples[-quarter:]
    memory = [max(bytes_ for bytes_, _ in part) for part in (first, last)]
    files = [max(count for _, count in part) for part in (first, last)]
    if memory[1] > memory[0] * (1 + GROWTH):
        return f"memory grew from {memory[0] / 1e6:.1f} to {memory[1] / 1e6:.1f} MB"
    return f"descriptors grew from {files[0]} to {files[1]}" if files[1] > files[0] else ""


def main() -> int:
    """The exit code is 1 where something grew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        samples = play(given.steps, Path(folder))
    said = grown(samples)
    first = samples[len(samples) // 4][0]
    print(f"{len(samples)} steps, {said or 'flat'}: {first / 1e6:.1f} MB after the first quarter, "
          f"{samples[-1][0] / 1e6:.1f} MB at the end, {samples[-1][1]} descriptors")  # fmt: skip
    return bool(said)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    sys.exit(main())
