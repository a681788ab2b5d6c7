"""Group-relative advantages: GRPO and HRPO are one formula under two group keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from piplay.types import Floats, Key, ScoredTrajectory, State

Scale = Literal["std", "none"]


@dataclass(frozen=True, slots=True)
class GroupAdvantage:
    """A_i = (r_i − mean_g) / sqrt(var_g + δ), with the biased variance of the trajectory's group (formulas 2 and 3).

    The question as group makes it GRPO (formula 3), the hop count HRPO (formula 2).
    """

    state: State
    scale: Scale = "std"
    """``none``: the centred reward alone, r_i − mean_g."""
    delta: Annotated[float, Field(ge=0)] = 1e-2
    """δ, the regulariser of the variance in squared reward units: keeps a group of nearly equal rewards small."""

    def __call__(self, scored: Sequence[ScoredTrajectory]) -> Floats:
        return advantages(rewards(scored), [one.group for one in scored], delta=self.delta, scale=self.scale)


def rewards(scored: Sequence[ScoredTrajectory]) -> Floats:
    """One reward a trajectory (N,)."""
    return np.array([one.reward for one in scored], dtype=np.float32)


def advantages(rewards_N: npt.ArrayLike, groups: Sequence[Key], *, delta: float, scale: Scale = "std") -> Floats:
    """The advantages of ``GroupAdvantage``.

    Args:
        rewards_N: one reward a trajectory.
        groups: one group key a trajectory.
        delta: δ.
        scale: whether they are divided by the deviation.

    Returns:
        One advantage a trajectory. A group of one has 0: there is nothing to compare it with.

    Raises:
        ValueError: the two inputs differ in length.
    """
    reward_N = np.asarray(rewards_N, dtype=np.float64)
    if reward_N.shape != (len(groups),):
        raise ValueError(f"{reward_N.shape} rewards for {len(groups)} groups")
    group_N, size_G = numbered(groups)
    centred_N = reward_N - (np.bincount(group_N, reward_N) / size_G)[group_N]
    if scale == "none":
        return centred_N.astype(np.float32)
    var_G = np.bincount(group_N, centred_N**2) / size_G
    # With δ = 0 a group of equal rewards is 0/0; like a group of one, it says nothing.
    scale_N = np.sqrt(var_G + delta)[group_N]
    defined_N = (size_G[group_N] > 1) & (scale_N > 0)
    return np.divide(centred_N, scale_N, out=np.zeros_like(centred_N), where=defined_N).astype(np.float32)


def numbered(groups: Sequence[Key]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The groups by number: of each trajectory (N,), in the order in which they first occur; and their sizes (G,)."""
    number_of: dict[Key, int] = {}
    group_N = np.array([number_of.setdefault(group, len(number_of)) for group in groups], dtype=np.intp)
    return group_N, np.bincount(group_N)
