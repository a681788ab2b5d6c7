"""No baseline: REINFORCE on the reward itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from piplay.algo.advantages.group import rewards
from piplay.types import Floats, ScoredTrajectory, State


@dataclass(frozen=True, slots=True)
class NoneAdvantage:
    """A = R."""

    state: State

    def __call__(self, scored: Sequence[ScoredTrajectory]) -> Floats:
        return rewards(scored)
