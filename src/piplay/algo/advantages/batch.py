"""The advantage against the whole batch (REINFORCE++, arXiv 2501.03262)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from piplay.algo.advantages.group import Scale, advantages, rewards
from piplay.types import Floats, ScoredTrajectory, State


@dataclass(frozen=True, slots=True)
class BatchAdvantage:
    """The formula of ``GroupAdvantage`` with the role's whole batch as its one group."""

    state: State
    scale: Scale = "std"
    delta: Annotated[float, Field(ge=0)] = 1e-2

    def __call__(self, scored: Sequence[ScoredTrajectory]) -> Floats:
        return advantages(rewards(scored), [()] * len(scored), delta=self.delta, scale=self.scale)
