"""Gates and rewards of one's own: functions that a recipe names as ``module:function``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated

from pydantic import StringConstraints

from piplay.errors import InputError
from piplay.registry import resolve
from piplay.types import Task, Trajectory

Named = Annotated[str, StringConstraints(pattern=r"^[\w.]+:\w+$")]
"""``module:function``."""
Gate = Callable[[Task, Trajectory], bool]
"""``gate(draft, story)``: whether what an examiner wrote passes. ``draft`` has the question, its answers, the path, and
the seed passage as its source; ``story`` is the examiner's trajectory, its searches with what they found among it."""
Reward = Callable[[str, Sequence[str]], float]
"""``reward(answer, golds)``: what an answer earns, from 0 to 1. An empty answer earns 0 and is not asked about."""
EXACT_MATCH = "envs.search.match:exact_match"


def load_gates(names: Iterable[str]) -> dict[str, Gate]:
    """The gates that names of the form ``module:function`` name, in order. Raises ``InputError`` where one is none."""
    return {name: resolve(name, "gate", "piplay.methods") for name in names if ":" in name}


def load_reward(name: str) -> Reward:
    """The reward of that name, which raises ``InputError`` where it gives anything but a number from 0 to 1."""
    function: Reward = resolve(name, "reward", "piplay")

    def reward(answer: str, golds: Sequence[str]) -> float:
        earned = function(answer, golds) if answer else 0.0
        try:
            number = float(earned)
        except (TypeError, ValueError):
            number = math.nan
        if not 0 <= number <= 1:
            raise InputError(
                f"the reward {name} gives {earned!r} for the answer {answer!r}: it has to be a number from 0 to 1"
            )
        return number

    return reward
