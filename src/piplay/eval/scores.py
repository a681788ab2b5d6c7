"""What one model made of each question, and what that amounts to by hop count and over all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from piplay.envs.search.question import Question
from piplay.envs.search.tool import query_of, searches
from piplay.eval.metrics import cover_em, cover_em_flashrag, em, f1, f1_flashrag, pass_at_k
from piplay.eval.statistics import bootstrap, paired_bootstrap, wilson
from piplay.types import Episode, Key, ScoredTrajectory

ALL = "all"
SCORES = ("em", "f1", "cover_em", "f1_flashrag", "cover_em_flashrag")
"""Those of a greedy answer; the last two are FlashRAG's variants, whatever a benchmark is scored by."""
SHARES = ("em", "cover_em", "cover_em_flashrag")
"""Scores that are 0 or 1 for each question: proportions, with Wilson's interval."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer and its scores."""

    answer: str
    em: float
    f1: float
    cover_em: float
    f1_flashrag: float
    cover_em_flashrag: float
    queries: tuple[str, ...]
    stop: str


@dataclass(frozen=True, slots=True)
class Record:
    """One question as one model answered it."""

    task: Question
    greedy: Answer
    samples: tuple[Answer, ...] = ()

    def scores(self) -> dict[str, float]:
        """Each score of the question by name; with K samples also ``avg@K`` and ``pass@k`` for k = 1, 2, 4, … K."""
        named = {name: float(getattr(self.greedy, name)) for name in SCORES}
        if self.samples:
            n, correct = len(self.samples), sum(int(sample.em) for sample in self.samples)
            named[f"avg@{n}"] = correct / n
            named |= {f"pass@{k}": pass_at_k(n, correct, k) for k in ks(n)}
        return named

    def row(self, model: str) -> dict[str, Any]:
        """A line of ``records.jsonl``."""
        return {
            "model": model,
            "id": self.task.id,
            "hops": self.task.hops or None,
            "question": self.task.question,
            "golds": self.task.answers,
            **asdict(self.greedy),
            "samples": [asdict(sample) for sample in self.samples],
        }


def ks(samples: int) -> list[int]:
    """The k of pass@k: the powers of two up to the number of samples, and that number."""
    return sorted({samples, *(2**i for i in range(samples.bit_length()))})


def records(greedy: Sequence[Episode], sampled: Sequence[Episode]) -> list[Record]:
    """The episodes of ``play_student`` put together; ``sampled`` may be empty."""
    samples = [tuple(_answer(one, _asked(e)) for one in e.trajectories) for e in sampled] or [()] * len(greedy)
    return [
        Record(_asked(e), _answer(e.trajectories[0], _asked(e)), drawn)
        for e, drawn in zip(greedy, samples, strict=True)
    ]


def _asked(episode: Episode) -> Question:
    assert isinstance(episode.task, Question)
    return episode.task


def _answer(scored: ScoredTrajectory, task: Question) -> Answer:
    trajectory, rule = scored.trajectory, (task.answers, task.published)
    said = trajectory.answer
    queries = tuple(query_of(use.call) for use in searches(trajectory))
    flashrag = f1_flashrag(said, task.answers), cover_em_flashrag(said, task.answers)
    scores = em(said, *rule), f1(said, *rule), cover_em(said, *rule), *flashrag
    return Answer(said, *scores, queries, str(trajectory.stop))


def by_hops(played: Sequence[Record]) -> dict[str, list[Record]]:
    """Records by hop count, then all of them; those whose hop count is not known are under ``all`` alone."""
    hops = sorted({record.task.hops for record in played} - {0})
    return {str(h): [record for record in played if record.task.hops == h] for h in hops} | {ALL: list(played)}


def summary(played: Sequence[Record], seed: int) -> dict[str, dict[str, Any]]:
    """Each group's number of questions, scores with their 95 % intervals, searches a question, and stop reasons."""
    return {
        group: {
            "n": len(members),
            **{name: _mean(name, values, seed, ("eval", group)) for name, values in _columns(members).items()},
            "searches": float(np.mean([len(record.greedy.queries) for record in members])),
            "stops": dict(Counter(record.greedy.stop for record in members).most_common()),
        }
        for group, members in by_hops(played).items()
    }


def differences(first: Sequence[Record], second: Sequence[Record], seed: int) -> dict[str, dict[str, Any]]:
    """By group and score, how much better the first model did than the second on the same questions."""
    found: dict[str, dict[str, Any]] = {}
    others = by_hops(second)
    for group, members in by_hops(first).items():
        other = _columns(others[group])
        found[group] = {
            name: paired_bootstrap(values, other[name], seed, ("eval", group))._asdict()
            for name, values in _columns(members).items()
        }
    return found


def _columns(members: Sequence[Record]) -> Mapping[str, list[float]]:
    rows = [record.scores() for record in members]
    return {name: [row[name] for row in rows] for name in rows[0]}


def _mean(name: str, values: Sequence[float], seed: int, key: Key) -> dict[str, Any]:
    # One key for all scores of a group: the same resampled questions, so that equal scores have equal intervals.
    interval = wilson(int(sum(values)), len(values)) if name in SHARES else bootstrap(values, seed, key)
    return {"mean": float(np.mean(values)), "interval": interval}
