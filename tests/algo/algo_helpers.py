"""Scored trajectories made by hand."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from piplay.types import Key, Owner, PolicyRef, ScoredTrajectory, StopReason, Trajectory

PREFIX = np.array([7, 8, 9], dtype=np.int64)


def scored(
    reward: float = 0.0,
    turns: Sequence[int] = (2, 2),
    group: Key = ("q",),
    stop: StopReason = StopReason.ANSWERED,
    role: str = "student",
    prompt: Sequence[int] = (0, 1),
    **rest: Any,
) -> ScoredTrajectory:
    """``turns``: how many tokens each has; between two of them a tool writes one."""
    owner = [Owner.PROMPT] * len(prompt)
    for number, tokens in enumerate(turns):
        owner += [Owner.TOOL] * (number > 0) + [Owner.MODEL] * tokens
    owner_T = np.array(owner, np.int8)
    ids_T = np.concatenate([prompt, 10 + np.arange(len(owner) - len(prompt))]).astype(np.int64)
    logprobs_T = np.where(owner_T == Owner.MODEL, -0.1 * ids_T, 0).astype(np.float32)
    trajectory = Trajectory(
        ("m1", "study", 0, 3, "student"), role, PolicyRef(role), ids_T, owner_T, logprobs_T, len(prompt), (), (), stop
    )
    return ScoredTrajectory(trajectory, group, reward, rest.pop("views", {"privileged": PREFIX}), **rest)
