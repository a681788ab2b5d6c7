"""Judges that need no truth: the vote of several answers to one question."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from piplay.envs.search.values import canonical
from piplay.protocols import Audit
from piplay.types import Episode


@dataclass(frozen=True, slots=True)
class Ballot:
    """Answers, counted."""

    counts: Mapping[str, int]
    """By canonical answer, the first given first. No answer is none of them: it never wins."""
    size: int
    """Those who were asked, with an answer or without."""

    @property
    def majority(self) -> str:
        """The answer that most gave, of equal ones the first; empty where no one answered."""
        return max(self.counts, key=lambda answer: self.counts[answer], default="")

    @property
    def votes(self) -> int:
        """How many gave it."""
        return self.counts.get(self.majority, 0)

    @property
    def share(self) -> float:
        """Their share of all who were asked, 0 to 1."""
        return self.votes / self.size if self.size else 0.0

    def agrees(self, answer: str) -> bool:
        """Whether an answer is the majority's."""
        return bool(self.majority) and canonical(answer) == self.majority


def vote(answers: Sequence[str]) -> Ballot:
    """The ballot of some answers; an empty one is a vote for none."""
    said = [canonical(answer) for answer in answers]
    return Ballot(Counter(answer for answer in said if answer), len(said))


VOTED_SOMETIMES = ("majority_share", "label_accuracy")
"""The numbers of ``vote_metrics``: of a step without a written question there are none (see ``Game.sometimes``)."""


def vote_metrics(episodes: Sequence[Episode], audit: Audit | None) -> dict[str, float]:
    """How students agreed on the step's questions, and how good their majority is as a label, for the log alone.

    ``majority_share`` is the mean share of the majority (the fact ``majority``). ``label_accuracy`` is the share of
    true labels among the written questions that have a true answer at all.
    """
    row: dict[str, float] = {}
    shares = [float(episode.facts["majority"]) for episode in episodes if "majority" in episode.facts]
    if shares:
        row["majority_share"] = float(np.mean(shares))
    if audit is not None:
        verdicts = [audit(task) for episode in episodes for task in episode.written]
        known = [verdict == "true" for verdict in verdicts if verdict in ("true", "false")]
        if known:
            row["label_accuracy"] = float(np.mean(known))
    return row
