"""What is logged of every role, whatever the game."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from piplay.types import Episode, Owner, ScoredTrajectory, StopReason

NAMES = (
    *("reward", "length", "length_max", "tokens_written", "turns", "tool_calls"),
    *(f"stop/{reason}" for reason in StopReason),
)
"""What is logged of a role."""


def role_metrics(roles: Iterable[str], episodes: Sequence[Episode]) -> dict[str, float]:
    """Reward, lengths, turns, tool calls and stop reasons of each role's trajectories; of a role without any, none."""
    row: dict[str, float] = {}
    for role in roles:
        played = [one for episode in episodes for one in episode.trajectories if one.trajectory.role == role]
        row |= {f"{role}/{name}": value for name, value in _metrics(played).items()} if played else {}
    return row


def _metrics(played: Sequence[ScoredTrajectory]) -> dict[str, float]:
    stories = [one.trajectory for one in played]
    stops = Counter(story.stop for story in stories)
    row = {
        "reward": _mean(one.reward for one in played),
        "length": _mean(len(story.ids_T) for story in stories),
        "length_max": float(max(len(story.ids_T) for story in stories)),
        "tokens_written": _mean(int((story.owner_T == Owner.MODEL).sum()) for story in stories),
        "turns": _mean(len(story.turns) for story in stories),
        "tool_calls": _mean(len(story.uses) for story in stories),
    }
    return row | {f"stop/{reason}": stops[reason] / len(stories) for reason in StopReason}


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
