"""Everything that the page says, read from a run directory; no number is computed but counts and sums."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from itertools import groupby
from typing import Any

from piplay.config import Config
from piplay.envs.search.environment import SearchEnvironment
from piplay.envs.search.question import Question
from piplay.errors import InputError
from piplay.files import from_json
from piplay.registry import resolve
from piplay.report.curves import Curve
from piplay.report.svg import Block
from piplay.training.alarms import Alarm, alarms
from piplay.training.run_directory import Run

LARGEST = 1e100
"""What has no place on an axis: infinity, and what comes near it."""


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
    alarms: list[Alarm]
    """Where numbers left the ranges that are healthy."""
    grid: dict[str, Any] | None
    """See ``replay.play_grid``."""
    examples: dict[str, Any] | None
    """See ``replay.play_examples``."""
    version: str = ""
    """Of the piplay that made the run."""
    begun: str = ""
    """The day on which it began."""

    @property
    def blocks(self) -> list[Block]:
        """The phases that were played."""
        return [block for block, _ in self.phases]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The metrics of all steps."""
        return [row for _, rows in self.phases for row in rows]

    @property
    def roles(self) -> list[str]:
        """Everyone who has a seat in some phase."""
        return list(dict.fromkeys(role for phase in self.config.phases for role in phase.seats))

    @property
    def has_examiner(self) -> bool:
        """Whether an examiner writes questions, as in π-Play."""
        return "examiner" in self.roles

    @property
    def exact_match(self) -> list[dict[str, Any]]:
        """The evaluations that have exact match by hops, as π-Play's do."""
        return [row for row in self.evals if {"em", "em_by_hops", "n_by_hops"} <= row.keys()]

    def curves(self, keys: Mapping[str, str]) -> list[Curve]:
        """Metrics over the steps by the names of their curves, a stretch for each phase that has it; none without."""
        found = []
        for name, key in keys.items():
            stretches = []
            for _, rows in self.phases:
                points = [(float(row["n"]), float(row[key])) for row in rows if is_number(row.get(key))]
                stretches += [points] if points else []
            found += [Curve(name, stretches, key)] if stretches else []
        return found

    def outside(self, metrics: Iterable[str], steps: Container[int] | None = None) -> str:
        """What the alarms of some metrics say, patterns with ``*`` among them; empty where there is none.

        ``steps``: those that count; by default all.
        """
        wanted = [metric for metric in metrics if metric]
        found = [
            alarm.sentence
            for alarm in self.alarms
            if any(fnmatchcase(alarm.metric, metric) for metric in wanted) and (steps is None or alarm.n in steps)
        ]
        return f"Outside its range: {'; '.join(found)}." if found else ""

    def by_hops(self, prefix: str) -> list[Curve]:
        """The curves of ``prefix/1``, ``prefix/2``, …, as far as there are any."""
        hops = {h for row in self.rows for h in _counted(row, prefix)}
        return self.curves({hops_name(h): f"{prefix}/{h}" for h in sorted(hops)})

    def by_role(self, name: str) -> list[Curve]:
        """The curves of ``ROLE/name`` for the roles that learn; where none does, for all."""
        learning = dict.fromkeys(role for phase in self.config.phases for role in phase.learn)
        return self.curves({role: f"{role}/{name}" for role in learning or self.roles})

    def gates(self, iteration: int) -> Counter[str]:
        """How many written questions each gate refused in an iteration; ``passed`` counts the others."""
        found: Counter[str] = Counter()
        for row in self.rows:
            if row["iteration"] == iteration:
                counts = {key[5:]: value for key, value in row.items() if key.startswith("gate/")}
                found.update({gate: int(count) for gate, count in counts.items() if is_number(count) and count >= 0})
        return found

    def solved(self) -> dict[int, dict[int, int]]:
        """For each step with students: how many of its tasks exactly k samples solved, by k."""
        found = {row["n"]: {k: int(n) for k, n in _counted(row, "k").items() if n >= 1} for row in self.rows}
        return {step: counts for step, counts in found.items() if counts}


def is_number(value: object) -> bool:
    """Whether a value of a row can be drawn."""
    return isinstance(value, int | float) and abs(value) < LARGEST


def _counted(row: Mapping[str, Any], prefix: str) -> dict[int, float]:
    """The numbers of ``prefix/1``, ``prefix/2``, … of a row, by what they are of."""
    keys = [key for key in row if key.startswith(f"{prefix}/") and key[len(prefix) + 1 :].isdecimal()]
    return {int(key[len(prefix) + 1 :]): row[key] for key in keys if is_number(row[key])}


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
    examples = _json(run, "examples.json", ("examples", "view"))
    day = date.fromtimestamp((run.folder / "config.json").stat().st_mtime).isoformat()
    version = str(_json(run, "piplay.json", ("version",))["version"])
    rows = run.rows()
    try:
        found = alarms(run.config, rows, evals)
    except InputError:  # a class of one's own that is not here any more has no ranges
        found = []
    played, more = _phases(run.config, rows), (grid or None, examples or None, version, day)
    return Record(run.config, played, evals, seconds, run.finished, found, *more)


def in_search(config: Config) -> bool:
    """Whether a run is played in the search environment, its own kinds included."""
    kind = resolve(config.environment.kind, "environment", "piplay.envs")
    return isinstance(kind, type) and issubclass(kind, SearchEnvironment)


def question_sets(run: Run) -> dict[str, list[Question]]:
    """The written task sets that are questions to search for, by name, first iteration first.

    Raises ``InputError`` where a class that the run names cannot be imported, or a set cannot be read.
    """
    if not any(phase.writes for phase in run.config.phases) or not in_search(run.config):
        return {}
    for phase in run.config.phases:
        # Kinds of tasks are known once the games that write them are imported.
        resolve(phase.game, "game", "piplay.methods")
    found = {name: [task for task in tasks if isinstance(task, Question)] for name, tasks in run.task_sets().items()}
    return {name: questions for name, questions in found.items() if questions}


def _json(run: Run, name: str, keys: Sequence[str]) -> dict[str, Any]:
    """A file of the run; empty where there is none."""
    file, again = run.folder / name, f"`piplay {'resume' if name == 'summary.json' else 'report'}` makes it again"
    if not file.exists():
        return {}
    try:
        tree = from_json(file.read_text(encoding="utf-8"))
        missing = [key for key in keys if key not in tree]
    except (ValueError, TypeError) as error:
        raise InputError(f"{file} is damaged ({error}): delete it, {again}") from error
    if missing:
        raise InputError(f"{file} is damaged (it has no {missing[0]!r}): delete it, {again}")
    return dict(tree)
