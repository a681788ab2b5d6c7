"""A step's row of metrics, and what is logged of every role, whatever the game."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from piplay.errors import InputError
from piplay.types import Episode, Owner, ScoredTrajectory, StopReason

NAMES = (
    *("reward", "length", "length_max", "tokens_written", "turns", "tool_calls"),
    *(f"stop/{reason}" for reason in StopReason),
)
"""What is logged of a role."""


class Row(dict[str, Any]):
    """A step's row of metrics.jsonl, in which what a game or an evaluation gives has names of its own."""

    def __init__(self, roles: Iterable[str], **place: Any) -> None:
        """``roles``: of the phase's seats; ``place``: which step it is."""
        super().__init__(place)
        self._logged = {"written", "seconds", *(f"{role}/{name}" for role in roles for name in NAMES)}
        self._by: dict[str, str] = {}

    def add(self, found: Mapping[str, float]) -> None:
        """Take what a game, learning or an evaluation gives.

        Raises ``InputError`` where a number of a game or an evaluation would stand in the place of another.
        """
        by = getattr(found, "by", "")
        for name in found:
            if by and (name in self or name in self._logged):
                raise InputError(f"{by} gives {name!r}, which is logged of every step already: name it otherwise")
            if name in self._by:
                raise InputError(f"{self._by[name]} gives {name!r}, which learning gives as well: name it otherwise")
        self._by |= dict.fromkeys(found, by) if by else {}
        self.update(found)


def role_metrics(roles: Iterable[str], episodes: Sequence[Episode]) -> dict[str, float]:
    """Reward, lengths, turns, tool calls and stop reasons of each role's trajectories; of a role without any, none."""
    row: dict[str, float] = {}
    for role in roles:
        played = [one for episode in episodes for one in episode.trajectories if one.trajectory.role == role]
        row |= {f"{role}/{name}": value for name, value in _metrics(played).items()} if played else {}
    return row


def _metrics(played: Sequence[ScoredTrajectory]) -> dict[str, float]:
    trajectories = [one.trajectory for one in played]
    stops = Counter(trajectory.stop for trajectory in trajectories)
    row = {
        "reward": _mean(one.reward for one in played),
        "length": _mean(len(trajectory.ids_T) for trajectory in trajectories),
        "length_max": float(max(len(trajectory.ids_T) for trajectory in trajectories)),
        "tokens_written": _mean(int((trajectory.owner_T == Owner.MODEL).sum()) for trajectory in trajectories),
        "turns": _mean(len(trajectory.turns) for trajectory in trajectories),
        "tool_calls": _mean(len(trajectory.uses) for trajectory in trajectories),
    }
    return row | {f"stop/{reason}": stops[reason] / len(trajectories) for reason in StopReason}


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def refusals(rows: Sequence[Mapping[str, Any]]) -> str:
    """Why the episodes of these steps left no task, the commonest reason first.

    These are what games count as ``gate/REASON`` and, where they tell why, as ``REASON/WHY``.
    """
    counts = Counter[str]()
    for row in rows:
        whole = {n: value for n, value in row.items() if isinstance(value, int | float) and value % 1 == 0}
        counts.update({name: int(value) for name, value in whole.items()})
    gates = {name.removeprefix("gate/"): n for name, n in counts.items() if name.startswith("gate/")}
    refused = Counter({name: n for name, n in gates.items() if name != "passed"})
    told = []
    for reason, count in refused.most_common():
        causes = Counter({name: n for name, n in counts.items() if name.startswith(f"{reason}/")}).most_common()
        why = ", ".join(f"{name.partition('/')[2]} {n}" for name, n in causes)
        told.append(f"{reason} {count}" + (f" ({why})" if why else ""))
    return ", ".join(told)
