"""Greedy exact match on held-out questions, by hop, with and without the true path."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from piplay.types import Episode, Task

Play = Callable[[str, Sequence[Task]], list[Episode]]
"""Plays tasks with the game of that name, greedily, the policy under test in its seat."""


def em_by_hops(episodes: Sequence[Episode]) -> tuple[dict[str, float], dict[str, int]]:
    """Mean reward of each episode's one seat by hop count, and how many there were."""
    rewards: dict[int, list[float]] = defaultdict(list)
    for episode in episodes:
        rewards[episode.task.hops].append(episode.seats[0].reward)
    em = {str(hops): sum(found) / len(found) for hops, found in sorted(rewards.items())}
    return em, {str(hops): len(found) for hops, found in sorted(rewards.items())}
