"""What the runs of an experiment say: exact match by arm, differences with intervals, and which claims hold.

Questions are what is resampled, each with its answers under all seeds (question-clustered); two arms are compared on
the same questions, seeds and starts (paired). ``_N``: questions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from piplay.eval.statistics import Difference, Interval, bootstrap, holm, paired_bootstrap
from piplay.protocols import make_game
from piplay.reproduce.experiment import Comparison, Experiment, Job
from piplay.training.run_directory import Run

FEWEST = 3
"""Seeds below which nothing is claimed."""
ALPHA = 0.05
HOLDS, FAILS, OPEN = "holds", "fails", "cannot be told"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One finished run."""

    before: Mapping[str, str]
    """By hop count which held-out questions were right before training, a digit each."""
    after: Mapping[str, str]
    """The same of the last checkpoint."""
    rollouts: list[float]
    """Rollouts played up to and with each step."""
    tokens: list[float]
    """Tokens computed up to and with each step, see ``_tokens``."""
    accuracy: list[float]
    """Share of each step's rollouts that are right."""
    last: Mapping[str, float]
    """The numbers of the last step that has them: see ``LAST``."""
    minutes: float


LAST = {
    "student/searches": "searches",
    "student/illusion": "illusion",
    "student/distill_kl": "KL",
    "teacher/em": "teacher EM",
    "privilege/utility/true": "U(true)",
    "privilege/utility/foreign": "U(foreign)",
    "privilege/context_only": "context only",
}
"""Metrics of a run's end that tables show, and what they call them."""


def outcome(run: Run) -> Outcome:
    """What a finished run left."""
    summary = run.summary
    assert summary is not None
    evals, rows = summary["eval"], run.rows()
    phases = {phase.name: phase for phase in run.config.phases}
    rollouts: list[float] = []
    tokens: list[float] = []
    accuracy: list[float] = []
    for row in rows:
        phase = phases[row["phase"]]
        if "accuracy" not in row:
            continue
        played = sum(phase.episodes * count for count in make_game(phase, {}).cost().values())
        rollouts.append(played + (rollouts[-1] if rollouts else 0.0))
        asked = len(phase.asked) if phase.learn else 0
        tokens.append(_tokens(row, list(phase.seats), played, asked) + (tokens[-1] if tokens else 0.0))
        accuracy.append(float(row["accuracy"]))
    last = {name: float(row[name]) for row in rows for name in LAST if name in row}
    return Outcome(
        evals[0]["right_by_hops"],
        evals[-1]["right_by_hops"],
        rollouts,
        tokens,
        accuracy,
        last,
        summary["wall_seconds"] / 60,
    )


def _tokens(row: Mapping[str, Any], roles: Sequence[str], played: float, asked: int) -> float:
    """Tokens that a step computed: prompts and results read and tokens written while it played; and in its update the
    rollouts read once by the policy that learns and once by each that its losses ask.

    A backward counts nothing of its own, and a teacher's longer prompt as the student's.
    """
    written = sum(float(row.get(f"{role}/tokens_written", 0.0)) for role in roles)
    length = sum(float(row.get(f"{role}/length", 0.0)) for role in roles)
    return float(row["rollout/prefilled"]) + played * (written + length * (1 + asked))


@dataclass(frozen=True, slots=True)
class ArmResult:
    """One arm from one start, over its seeds."""

    seeds: list[int]
    before: dict[str, float]
    """Mean exact match by hop count."""
    after: dict[str, float]
    score: float
    """Mean exact match after training over the hop counts that are compared."""
    interval: Interval
    by_seed: dict[int, float]
    """The same of each seed."""
    last: dict[str, float]
    """Means over seeds of what ``Outcome.last`` has."""
    rollouts: float
    tokens: float
    minutes: float


@dataclass(frozen=True, slots=True)
class Compared:
    """A comparison from one start."""

    claim: Comparison
    seeds: list[int]
    """Those that both arms have."""
    difference: Difference
    holm: float
    """p corrected within the family."""
    by_seed: dict[int, float]
    verdict: str
    reason: str
    """Of the verdict, in words."""

    def tree(self) -> dict[str, Any]:
        """As JSON has it."""
        rest = {"seeds": self.seeds, "holm": self.holm, "by_seed": self.by_seed}
        said = {"verdict": self.verdict, "reason": self.reason}
        return self.claim.model_dump() | self.difference._asdict() | rest | said


@dataclass(frozen=True, slots=True)
class Results:
    """All that is there of an experiment."""

    experiment: Experiment
    arms: dict[str, dict[str, ArmResult]]
    """By start and arm."""
    compared: dict[str, list[Compared]]
    """By start."""
    curves: dict[str, dict[str, list[dict[str, float]]]] = field(default_factory=dict)
    """By start and arm a point a step, the mean over seeds: ``rollouts``, ``tokens``, ``accuracy``."""
    missing: list[str] = field(default_factory=list)
    """Runs that are not finished."""

    def tree(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "experiment": self.experiment.name,
            "hops": list(self.experiment.hops),
            "arms": {s: {a: asdict(one) for a, one in arms.items()} for s, arms in self.arms.items()},
            "compared": {start: [one.tree() for one in found] for start, found in self.compared.items()},
            "curves": self.curves,
            "missing": self.missing,
        }


def results(experiment: Experiment, jobs: Sequence[Job], out: Path) -> Results:
    """Of the runs below ``out`` that are finished."""
    found: dict[str, dict[str, dict[int, Outcome]]] = defaultdict(lambda: defaultdict(dict))
    missing = []
    for job in jobs:
        folder = job.folder(out)
        run = Run.open(folder) if (folder / "config.json").is_file() else None
        if run is not None and run.finished:
            found[job.start][job.arm][job.seed] = outcome(run)
        else:
            missing.append(job.title)
    return Results(
        experiment,
        {start: {arm: _arm(one, experiment.hops) for arm, one in arms.items()} for start, arms in found.items()},
        {start: _compared(experiment, arms) for start, arms in found.items()},
        {start: {arm: _curve(list(one.values())) for arm, one in arms.items()} for start, arms in found.items()},
        missing,
    )


def right(digits: Mapping[str, str], hops: Sequence[int]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """1 for each question of these hop counts that is right, 0 for each other."""
    return np.array([float(digit) for h in hops for digit in digits.get(str(h), "")])


def _arm(by_seed: Mapping[int, Outcome], hops: Sequence[int]) -> ArmResult:
    found = list(by_seed.values())
    right_N = np.mean([right(one.after, hops) for one in found], axis=0)
    names = sorted({name for one in found for name in one.last})
    return ArmResult(
        list(by_seed),
        {h: float(np.mean([right(one.before, [int(h)]).mean() for one in found])) for h in found[0].before},
        {h: float(np.mean([right(one.after, [int(h)]).mean() for one in found])) for h in found[0].after},
        float(right_N.mean()),
        bootstrap(right_N.tolist(), 0, ("reproduce",)),
        {seed: float(right(one.after, hops).mean()) for seed, one in by_seed.items()},
        {name: float(np.mean([one.last[name] for one in found if name in one.last])) for name in names},
        float(np.mean([one.rollouts[-1] for one in found])),
        float(np.mean([one.tokens[-1] for one in found])),
        float(np.mean([one.minutes for one in found])),
    )


def _curve(found: Sequence[Outcome]) -> list[dict[str, float]]:
    steps = min(len(one.accuracy) for one in found)
    return [
        {name: float(np.mean([getattr(one, name)[t] for one in found])) for name in ("rollouts", "tokens", "accuracy")}
        for t in range(steps)
    ]


def _compared(experiment: Experiment, arms: Mapping[str, Mapping[int, Outcome]]) -> list[Compared]:
    """The comparisons of which both arms have a seed in common, corrected within their families."""
    asked, differences = [], []
    for one in experiment.comparisons:
        first, second = arms.get(one.first, {}), arms.get(one.second, {})
        seeds = [seed for seed in first if seed in second]
        if not seeds:
            continue
        pairs = [tuple(right(arm[seed].after, experiment.hops) for arm in (first, second)) for seed in seeds]
        means = [np.mean([pair[i] for pair in pairs], axis=0).tolist() for i in (0, 1)]
        differences.append(paired_bootstrap(means[0], means[1], 0, ("reproduce",)))
        asked.append((one, {s: float((a - b).mean()) for s, (a, b) in zip(seeds, pairs, strict=True)}))
    adjusted = _holm_by_family([one.family for one, _ in asked], [difference.p for difference in differences])
    found = []
    for (one, by_seed), difference, p in zip(asked, differences, adjusted, strict=True):
        found.append(Compared(one, list(by_seed), difference, p, by_seed, *judge(one, difference, p, by_seed)))
    return found


def _holm_by_family(families: Sequence[str], ps: Sequence[float]) -> list[float]:
    adjusted = [0.0] * len(ps)
    for family in set(families):
        places = [i for i, name in enumerate(families) if name == family]
        for i, p in zip(places, holm([ps[i] for i in places]), strict=True):
            adjusted[i] = p
    return adjusted


def judge(claim: Comparison, difference: Difference, p: float, by_seed: Mapping[int, float]) -> tuple[str, str]:
    """Whether a claim holds, fails, or cannot be told, and why.

    The interval and p are over questions and know nothing of how seeds differ; so nothing is told of fewer than
    ``FEWEST`` seeds, nor where seeds disagree in sign. ``above`` holds where p, corrected, is below ``ALPHA``, every
    seed's difference is above 0 and the mean is ``margin`` at least; it fails where the same is true below 0, or the
    whole interval is below the margin. ``within`` holds where the interval lies within the margin, and fails where it
    lies beyond.
    """
    (low, high), seeds = difference.interval, by_seed.values()
    if len(by_seed) < FEWEST:
        return OPEN, f"{len(by_seed)} of at least {FEWEST} seeds"
    if claim.claim == "within":
        if -claim.margin <= low and high <= claim.margin:
            return HOLDS, f"the interval lies within ±{claim.margin:g}"
        if low > claim.margin or high < -claim.margin:
            return FAILS, f"the interval lies beyond ±{claim.margin:g}"
        return OPEN, f"the interval reaches beyond ±{claim.margin:g}"
    if p < ALPHA and difference.mean > 0 and min(seeds) > 0:
        if difference.mean >= claim.margin:
            return HOLDS, "above 0 in every seed"
        return (FAILS, f"above 0, below {claim.margin:g}") if high < claim.margin else (OPEN, "above 0, size unsure")
    if p < ALPHA and difference.mean < 0 and max(seeds) < 0:
        return FAILS, "below 0 in every seed"
    if high < claim.margin:
        return FAILS, f"the interval lies below {claim.margin:g}"
    return OPEN, "seeds disagree in sign" if p < ALPHA else "the interval holds 0, or p is too large"
