"""The advantage against the median of recent groups (SPEAR, arXiv 2509.22601)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from piplay.algo.advantages.group import numbered, rewards
from piplay.types import Floats, ScoredTrajectory, State


@dataclass(frozen=True, slots=True)
class PercentileAdvantage:
    """A = R − the median of the last ``window`` group means, those of this batch, which come last, among them."""

    state: State
    """``means``: the group means, oldest first."""
    window: Annotated[int, Field(ge=1)] = 10_240

    def __call__(self, scored: Sequence[ScoredTrajectory]) -> Floats:
        if not scored:
            return np.zeros(0, np.float32)
        reward_N = rewards(scored).astype(np.float64)
        group_N, size_G = numbered([one.group for one in scored])
        mean_G = np.bincount(group_N, reward_N) / size_G
        self.state["means"] = [*self.state.get("means", ()), *mean_G.tolist()][-self.window :]
        baseline = float(np.median(self.state["means"]))
        return (reward_N - baseline).astype(np.float32)
