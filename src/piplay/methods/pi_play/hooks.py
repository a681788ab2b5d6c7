"""Gates and rewards of one's own: functions that a recipe names as ``module:function``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated

from pydantic import StringConstraints

from piplay.envs.search.question import Question
from piplay.errors import InputError
from piplay.registry import resolve
from piplay.types import Trajectory

ImportPath = Annotated[str, StringConstraints(pattern=r"^[\w.]+:\w+$")]
"""``module:function``."""
Gate = Callable[[Question, Trajectory], bool]
"""``gate(draft, trajectory)``: whether what an examiner wrote passes. ``draft`` has the question, its answers, the
path, and the seed passage as its source; ``trajectory`` is the examiner's, with its searches and what they found."""
Reward = Callable[[str, Sequence[str]], float]
"""``reward(answer, golds)``: what an answer is rewarded with, from 0 to 1. An empty answer gets 0, unasked."""
SAME_VALUE = "values:same_value"


def load_gates(names: Iterable[str]) -> dict[str, Gate]:
    """The gates that names of the form ``module:function`` name, in order. Raises ``InputError`` where one is none."""
    return {name: resolve(name, "gate", "piplay.methods.pi_play", "piplay.methods") for name in names if ":" in name}


def load_reward(name: str) -> Reward:
    """The reward of that name, which raises ``InputError`` where it gives anything but a number from 0 to 1."""
    function: Reward = resolve(name, "reward", "piplay.envs.search")

    def reward(answer: str, golds: Sequence[str]) -> float:
        given = function(answer, golds) if answer else 0.0
        try:
            number = float(given)
        except (TypeError, ValueError):
            number = math.nan
        if not 0 <= number <= 1:
            raise InputError(
                f"the reward {name} gives {given!r} for the answer {answer!r}: it has to be a number from 0 to 1"
            )
        return number

    return reward
