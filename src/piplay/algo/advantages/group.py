"""Group-relative advantages: GRPO and HRPO are one formula under two group keys."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from piplay.types import Floats, Key


def advantages(rewards_N: npt.ArrayLike, groups: Sequence[Key], *, delta: float) -> Floats:
    """A_i = (r_i − mean_g) / sqrt(var_g + δ) (formulas 2 and 3), with the biased variance.

    Args:
        rewards_N: one reward a rollout.
        groups: one group key a rollout. The question makes it GRPO (formula 3), the hop count HRPO (formula 2).
        delta: δ, the regulariser of the variance in squared reward units: keeps a group of nearly equal rewards small.

    Returns:
        One advantage a rollout. A group of one has 0: there is nothing to compare it with.

    Raises:
        ValueError: the two inputs differ in length.
    """
    reward_N = np.asarray(rewards_N, dtype=np.float64)
    if reward_N.shape != (len(groups),):
        raise ValueError(f"{reward_N.shape} rewards for {len(groups)} groups")
    number_of: dict[Key, int] = {}
    group_N = np.array([number_of.setdefault(group, len(number_of)) for group in groups], dtype=np.intp)
    size_G = np.bincount(group_N)
    centred_N = reward_N - (np.bincount(group_N, reward_N) / size_G)[group_N]
    var_G = np.bincount(group_N, centred_N**2) / size_G
    # With δ = 0 a group of equal rewards is 0/0; like a group of one, it says nothing.
    scale_N = np.sqrt(var_G + delta)[group_N]
    defined_N = (size_G[group_N] > 1) & (scale_N > 0)
    return np.divide(centred_N, scale_N, out=np.zeros_like(centred_N), where=defined_N).astype(np.float32)
