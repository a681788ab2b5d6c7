"""Gymnasium's FrozenLake with another map each time, of which the player sees the four cells beside it alone.

Cells are named by row and column, ``a1`` at the start. The player reads ``b2: west ice, south hole, east ice, north
edge.`` What is hidden is the map, with the way to the goal from each cell: ``a1 east, a2 south, a3 hole, …``.
"""

from __future__ import annotations

import string
from typing import Any

import gymnasium
from gymnasium.envs.toy_text.frozen_lake import FrozenLakeEnv, generate_random_map

WORDS = ("west", "south", "east", "north")
"""FrozenLake's actions 0 to 3."""
STEPS = ((0, -1), (1, 0), (0, 1), (-1, 0))
SEEN = {"S": "ice", "F": "ice", "H": "hole", "G": "goal"}
Cell = tuple[int, int]


class HiddenLake(gymnasium.Env):  # type: ignore[misc]
    """A lake of ``size`` × ``size`` cells of which about ``p`` are ice; nobody slips. Reward 1 at the goal."""

    def __init__(self, size: int = 4, p: float = 0.8) -> None:
        self._size, self._p = size, p
        self.action_space = gymnasium.spaces.Discrete(len(WORDS))
        self.observation_space = gymnasium.spaces.Text(100, charset=string.printable)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """A new map, drawn with the seed."""
        super().reset(seed=seed)
        drawn = int(self.np_random.integers(2**31))
        self.lake = FrozenLakeEnv(desc=generate_random_map(self._size, self._p, seed=drawn), is_slippery=False)
        self.lake.reset(seed=drawn)
        self.ways = ways(self.lake.desc.astype(str).tolist())
        shown = ", ".join(f"{name(cell)} {way}" for cell, way in self.ways.items())
        return self._look(), {"hidden": f"{shown}."}

    def step(self, action: int) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """See ``gymnasium.Env.step``."""
        _, reward, ended, cut, _ = self.lake.step(action)
        return self._look(), float(reward), ended, cut, {}

    @property
    def cell(self) -> Cell:
        """Where the player stands."""
        return divmod(int(self.lake.s), self._size)

    def _look(self) -> str:
        row, column = self.cell
        beside = [(row + down, column + right) for down, right in STEPS]
        seen = [
            SEEN[self.lake.desc[cell].decode()] if min(cell) >= 0 and max(cell) < self._size else "edge"
            for cell in beside
        ]
        return f"{name(self.cell)}: {', '.join(f'{word} {what}' for word, what in zip(WORDS, seen, strict=True))}."


def ways(rows: list[list[str]]) -> dict[Cell, str]:
    """What each cell is, and where the player may walk, the first move of a shortest way to the goal."""
    size = len(rows)
    found = {(r, c): SEEN[rows[r][c]] for r in range(size) for c in range(size)}
    # Cells are appended while it is walked through: breadth first, from the goal.
    reached = [cell for cell, what in found.items() if what == "goal"]
    for row, column in reached:
        for word, (down, right) in zip(WORDS, STEPS, strict=True):
            before = (row - down, column - right)
            if found.get(before) == "ice":
                found[before] = word
                reached.append(before)
    return found


def name(cell: Cell) -> str:
    """``a1`` for the first cell."""
    return f"{'abcdefgh'[cell[0]]}{cell[1] + 1}"


def way(env: HiddenLake) -> str:
    """The move of who knows the map."""
    return env.ways[env.cell]


gymnasium.register("piplay/HiddenLake-v0", HiddenLake, max_episode_steps=12)
