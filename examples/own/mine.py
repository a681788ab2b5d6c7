"""A reward and a gate of one's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from piplay.envs.search.match import normalise
from piplay.envs.search.question import Question
from piplay.types import Trajectory


def token_f1(answer: str, golds: Sequence[str]) -> float:
    """F1 of the words that answer and gold share, the best over the golds: a near miss earns something."""
    return max((_f1(normalise(answer).split(), normalise(gold).split()) for gold in golds), default=0.0)


def _f1(said: list[str], gold: list[str]) -> float:
    common = (Counter(said) & Counter(gold)).total()
    return 2 * common / (len(said) + len(gold)) if common else 0.0


def no_numbers(draft: Question, trajectory: Trajectory) -> bool:
    """Whether the answer is no number: a number is the end of every path, and easy to make up."""
    return not any(answer.strip().isdigit() for answer in draft.answers)
