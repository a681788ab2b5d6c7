"""Alarms: where the numbers of a run leave the ranges that their games, evaluation and learning call healthy.

A pure function of the rows of metrics and evaluations: a run that was resumed has the alarms of one that was not.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from statistics import fmean, median
from typing import Any

from piplay.config import Config
from piplay.protocols import Healthy
from piplay.registry import resolve
from piplay.settings import Learn, Phase

FIRST = 3
"""Values whose mean is what a metric was at first, in a phase of its name."""
RECENT = 20
"""Values whose median is what a metric was of late; there have to be half as many."""
LEARNER = "LEARNER"
"""In the names below: each role of the phase that learns."""
APART = {"float32": 1e-3, "bfloat16": 0.5}
"""By dtype, in nats, how far sampler and trainer may be apart on a token."""

EVERY_STEP = (
    Healthy(
        metric="*/stop/tool_failed", high=0.0, advice="a tool fails, see the column failure of the rollouts: mend it"
    ),
)
UNREWARDED = frozenset({"nll", "distill", "kl"})
"""The package's losses that no reward moves."""
REWARDED = (
    Healthy(
        metric=f"{LEARNER}/advantage",
        low=1e-9,
        steps=5,
        advice="nothing is learnt, as all of a group are rewarded alike: take tasks that it sometimes solves, larger "
        "groups, or another reward",
    ),
    Healthy(
        metric=f"{LEARNER}/reward",
        low=1e-9,
        steps=5,
        advice="nothing is ever rewarded: look at the rollouts, take easier tasks, or correct the reward",
    ),
)
SAME = Healthy(
    metric=f"{LEARNER}/entropy",
    low=0.05,
    of="first",
    steps=5,
    advice="it always writes the same: lower its learning rate, or raise the temperature",
)
"""Not of what is learnt by likelihood alone: that becomes certain, as it should."""
LEARNING = (
    Healthy(
        metric=f"{LEARNER}/tokens_written",
        low=0.2,
        of="first",
        steps=3,
        advice="its turns collapse: lower its learning rate, and go on from an earlier checkpoint",
    ),
    Healthy(
        metric=f"{LEARNER}/entropy",
        high=10.0,
        of="first",
        floor=0.5,
        steps=3,
        advice="it comes apart: lower its learning rate, and go on from an earlier checkpoint",
    ),
    Healthy(
        metric=f"{LEARNER}/stop/malformed",
        high=0.5,
        steps=3,
        advice="its turns cannot be read: lower its learning rate where that is new, else take another chat or prompt",
    ),
    Healthy(
        metric=f"{LEARNER}/stop/turn_tokens",
        high=0.5,
        steps=3,
        advice="its turns are cut: raise limits.turn_tokens, or lower its learning rate where that is new",
    ),
    Healthy(
        metric=f"{LEARNER}/grad_norm",
        high=15.0,
        of="recent",
        floor=1.0,
        advice="a spike; where more follow, lower its learning rate or max_grad_norm",
    ),
    Healthy(
        metric=f"{LEARNER}/loss",
        high=15.0,
        of="recent",
        floor=1.0,
        advice="a spike; where more follow, lower its learning rate or max_grad_norm",
    ),
    Healthy(
        metric=f"{LEARNER}/teacher_entropy",
        high=10.0,
        of="first",
        floor=0.3,
        steps=2,
        advice="the policy that it learns from comes apart: lower that one's tau, or the learning rate",
    ),
    Healthy(
        metric=f"{LEARNER}/distill_kl",
        low=1e-8,
        steps=3,
        advice="the policy that it learns from says nothing new: see that its view holds more than the prompt",
    ),
    Healthy(
        metric=f"{LEARNER}/distill_kl",
        high=5.0,
        of="first",
        floor=0.1,
        steps=3,
        advice="it and the policy that it learns from part: lower the learning rate, or raise the weight of distill",
    ),
)


@dataclass(frozen=True, slots=True)
class Alarm:
    """A metric that has left its range."""

    n: int
    """After which step of the run."""
    metric: str
    value: float
    sentence: str


@dataclass(slots=True)
class _Past:
    """What a metric was in the phases of one name, and how long it has been outside a range."""

    first: list[float] = field(default_factory=list)
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    outside: int = 0


class Watch:
    """Looks at rows as they come."""

    def __init__(self, config: Config) -> None:
        self._rules = {phase.name: rules_of(config, phase) for phase in config.phases}
        self._evaluation = _healthy(config.evaluation.kind, "evaluation") if config.evaluation else ()
        self._past: dict[tuple[str, str, Healthy], _Past] = defaultdict(_Past)
        self._n = 0

    def step(self, row: Mapping[str, Any]) -> list[Alarm]:
        """The alarms of a row of metrics.jsonl."""
        self._n = int(row["n"])
        place = f"step {self._n} (iteration {row['iteration']}, {row['phase']})"
        return list(self._outside(place, row["phase"], row, self._rules[row["phase"]]))

    def evaluated(self, row: Mapping[str, Any]) -> list[Alarm]:
        """The alarms of an evaluation."""
        place = f"the evaluation after iteration {row['iteration']}"
        return list(self._outside(place, "", flat(row), self._evaluation))

    def past(self, rows: Sequence[Mapping[str, Any]], evals: Sequence[Mapping[str, Any]]) -> list[Alarm]:
        """The alarms of all that a run has come to so far, in its order."""
        found: list[Alarm] = []
        waiting = list(evals)
        for row in rows:
            while waiting and waiting[0]["iteration"] < row["iteration"]:
                found += self.evaluated(waiting.pop(0))
            found += self.step(row)
        return found + [alarm for row in waiting for alarm in self.evaluated(row)]

    def _outside(self, place: str, phase: str, row: Mapping[str, Any], rules: Sequence[Healthy]) -> Iterator[Alarm]:
        for rule in rules:
            for metric in row:
                value = row[metric]
                if not isinstance(value, int | float) or not fnmatchcase(metric, rule.metric):
                    continue
                if rule.share_of:
                    whole = sum(row[other] for other in row if fnmatchcase(other, rule.share_of))
                    value = value / whole if whole else 0.0
                if self._leaves(self._past[phase, metric, rule], rule, abs(value)):
                    yield Alarm(self._n, metric, float(value), f"{place}: {metric} {_told(rule, value)}: {rule.advice}")

    def _leaves(self, past: _Past, rule: Healthy, value: float) -> bool:
        """Whether a value is the one with which a metric counts as outside its range."""
        of: float | None = 1.0
        if rule.of == "base":
            of = past.first[0] if past.first else None
        elif rule.of == "first":
            of = fmean(past.first) if len(past.first) == FIRST else None
        elif rule.of == "recent":
            of = median(past.recent) if len(past.recent) >= RECENT // 2 else None
        inside = of is None or rule.low * of <= value <= max(rule.high * of, rule.floor)
        inside = inside and math.isfinite(value)
        if len(past.first) < FIRST:
            past.first.append(value)
        past.recent.append(value)
        past.outside = 0 if inside else past.outside + 1
        return past.outside == rule.steps


def rules_of(config: Config, phase: Phase) -> list[Healthy]:
    """What has to hold of a phase's rows."""
    found = [*EVERY_STEP, *_healthy(phase.game, "game")]
    for role, learn in phase.learn.items():
        kinds = {loss.kind for loss in learn.losses.values()}
        rules = [*LEARNING, *([_together(config)] if _on_policy(learn) else [])]
        rules += REWARDED if kinds - UNREWARDED else ()
        rules += [SAME] if kinds - {"nll"} else []
        found += [Healthy(**asdict(rule) | {"metric": rule.metric.replace(LEARNER, role)}) for rule in rules]
    return found


def alarms(config: Config, rows: Sequence[Mapping[str, Any]], evals: Sequence[Mapping[str, Any]]) -> list[Alarm]:
    """Those of a run so far, first to last."""
    return Watch(config).past(rows, evals)


def flat(row: Mapping[str, Any], prefix: str = "eval") -> dict[str, float]:
    """The numbers of an evaluation by the names that docs/metrics.md has for them."""
    found: dict[str, float] = {}
    for key, value in row.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}/{key}")
        elif isinstance(value, int | float):
            found[f"{prefix}/{key}"] = value
    return found


def _together(config: Config) -> Healthy:
    return Healthy(
        metric=f"{LEARNER}/logprob_diff_max",
        high=APART[config.engine.dtype],
        steps=2,
        advice="what is trained on is not what was sampled: a defect of the engine, please report it",
    )


def _on_policy(learn: Learn) -> bool:
    """Whether what is trained on was sampled by the policy as it is, and nothing was put into its mouth."""
    imitates = any(loss.kind == "nll" for loss in learn.losses.values())
    return learn.updates == 1 and learn.replay is None and not imitates


def _healthy(kind: str, what: str) -> Sequence[Healthy]:
    found: Sequence[Healthy] = getattr(resolve(kind, what, "piplay.methods", "piplay.envs"), "healthy", ())
    return found


def _told(rule: Healthy, value: float) -> str:
    """``is 0 and outside for 5 steps (healthy: above 0)``."""
    than = {
        "": "",
        "base": " times its first value",
        "first": " times what it was at first",
        "recent": " times what it was of late",
    }[rule.of]
    least, most = (rule.low, "at least") if rule.low > 0 else (rule.high, "at most")
    limit = "above 0" if 0 < rule.low < 1e-6 else f"{most} {least:g}{than}"
    what = f"is {value:.3g} of all" if rule.share_of else f"is {value:.3g}"
    return what + (f" and outside for {rule.steps} steps" if rule.steps > 1 else "") + f" (healthy: {limit})"
