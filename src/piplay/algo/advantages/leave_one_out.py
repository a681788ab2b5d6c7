"""The leave-one-out advantage (RLOO, arXiv 2402.14740)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from piplay.algo.advantages.group import numbered, rewards
from piplay.types import Floats, ScoredTrajectory, State


@dataclass(frozen=True, slots=True)
class LeaveOneOutAdvantage:
    """A_i = r_i − the mean reward of the others of its group; 0 for a group of one.

    The baseline does not depend on the trajectory's own reward, so that the policy gradient is unbiased.
    """

    state: State

    def __call__(self, scored: Sequence[ScoredTrajectory]) -> Floats:
        reward_N = rewards(scored).astype(np.float64)
        group_N, size_G = numbered([one.group for one in scored])
        others_N = np.bincount(group_N, reward_N)[group_N] - reward_N
        count_N = size_G[group_N] - 1
        baseline_N = np.divide(others_N, count_N, out=reward_N.copy(), where=count_N > 0)
        return (reward_N - baseline_N).astype(np.float32)
