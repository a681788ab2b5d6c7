"""Everything that the page says, read from a run directory; nothing is computed anew but counts and sums."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from piplay.config import Config
from piplay.errors import InputError
from piplay.report.curves import Curve
from piplay.report.svg import Block
from piplay.training.run_directory import Run


@dataclass(frozen=True, slots=True)
class Record:
    """What a run has left so far."""

    config: Config
    phases: list[tuple[Block, list[dict[str, Any]]]]
    """What was played, in order, with a row of metrics a step."""
    evals: list[dict[str, Any]]
    """One an evaluation: before training, and after each iteration."""
    seconds: float
    """Wall-clock seconds, up to the last checkpoint where the run is not finished."""
    finished: bool
    grid: dict[str, Any] | None
    """See ``replay.play_grid``."""
    examples: dict[str, Any] | None
    """See ``replay.play_examples``."""

    @property
    def blocks(self) -> list[Block]:
        """The phases that were played."""
        return [block for block, _ in self.phases]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The metrics of all steps."""
        return [row for _, rows in self.phases for row in rows]

    def curves(self, keys: Mapping[str, str]) -> list[Curve]:
        """Metrics over the steps by the names of their curves, a stretch for each phase that has it; none without."""
        found = []
        for name, key in keys.items():
            stretches = []
            for _, rows in self.phases:
                points = [(float(row["n"]), float(row[key])) for row in rows if math.isfinite(row.get(key, math.nan))]
                stretches += [points] if points else []
            found += [Curve(name, stretches)] if stretches else []
        return found

    def by_hops(self, prefix: str) -> list[Curve]:
        """The curves of ``prefix/1``, ``prefix/2``, …, as far as there are any."""
        hops = {int(key.rpartition("/")[2]) for row in self.rows for key in row if key.rpartition("/")[0] == prefix}
        return self.curves({hops_name(h): f"{prefix}/{h}" for h in sorted(hops)})

    def by_role(self, name: str) -> list[Curve]:
        """The curves of ``ROLE/name`` for the roles that learn."""
        return self.curves({role: f"{role}/{name}" for phase in self.config.phases for role in phase.learn})

    def gates(self, iteration: int) -> Counter[str]:
        """How many written questions each gate refused in an iteration; ``passed`` counts the others."""
        found: Counter[str] = Counter()
        for row in self.rows:
            if row["iteration"] == iteration:
                found.update({key[5:]: int(value) for key, value in row.items() if key.startswith("gate/")})
        return found

    def solved(self) -> dict[int, dict[int, int]]:
        """For each step with students: how many of its tasks exactly k samples solved, by k."""
        found = {
            row["n"]: {int(key[2:]): int(n) for key, n in row.items() if key.startswith("k/")} for row in self.rows
        }
        return {step: counts for step, counts in found.items() if counts}


def _phases(config: Config, rows: Sequence[dict[str, Any]]) -> list[tuple[Block, list[dict[str, Any]]]]:
    names = [phase.name for phase in config.phases]
    letters = [name[:1].upper() for name in names]
    if len(set(letters)) < len(letters):
        letters = [str(i) for i in range(1, len(names) + 1)]
    found = []
    for (iteration, phase), group in groupby(rows, key=lambda row: (row["iteration"], row["phase"])):
        steps, kind = list(group), names.index(phase)
        found.append((Block(steps[0]["n"], steps[-1]["n"], iteration, phase, letters[kind], kind), steps))
    return found


def hops_name(hops: int | str) -> str:
    return "1 hop" if str(hops) == "1" else f"{hops} hops"


def read(run: Run) -> Record:
    """What there is of a run. Raises ``InputError`` where a file of it is damaged."""
    state = run.state()
    evals, seconds = state.evals, state.seconds
    if run.finished:
        summary = _json(run, "summary.json", ("eval", "wall_seconds"))
        evals, seconds = summary["eval"], summary["wall_seconds"]
    grid = _json(run, "grid.json", ("students", "sets"))
    examples = _json(run, "examples.json", ("examples",))
    return Record(
        run.config, _phases(run.config, run.rows()), evals, seconds, run.finished, grid or None, examples or None
    )


def _json(run: Run, name: str, keys: Sequence[str]) -> dict[str, Any]:
    """A file of the run; empty where there is none."""
    file, again = run.folder / name, f"`piplay {'resume' if name == 'summary.json' else 'report'}` makes it again"
    if not file.exists():
        return {}
    try:
        tree = json.loads(file.read_text(encoding="utf-8"))
        missing = [key for key in keys if key not in tree]
    except (ValueError, TypeError) as error:
        raise InputError(f"{file} is damaged ({error}): delete it, {again}") from error
    if missing:
        raise InputError(f"{file} is damaged (it has no {missing[0]!r}): delete it, {again}")
    return dict(tree)
