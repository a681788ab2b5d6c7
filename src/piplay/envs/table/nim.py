"""Nim with one heap: with good play the number of stones alone decides which seat wins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from piplay.envs.table.base import require_end, require_legal, write_view


@dataclass(frozen=True, slots=True)
class NimState:
    """A heap and whose turn it is."""

    stones: int
    seat: int
    """The seat that moves next; at the end, the loser."""


@dataclass(frozen=True, slots=True)
class Nim:
    """Nim: the seats take 1 or 2 stones in turn, and who takes the last one wins; payoffs are 1 and -1.

    With good play the first seat wins unless ``stones`` is a multiple of 3. ``ValueError`` for fewer than 1 stone.
    """

    seats: ClassVar[tuple[str, ...]] = ("first", "second")
    rules: ClassVar[str] = "Nim: the players take 1 or 2 stones in turn. Whoever takes the last stone wins."

    stones: int = 4
    """Stones at the start."""

    def __post_init__(self) -> None:
        if self.stones < 1:
            raise ValueError(f"Nim needs at least 1 stone, not {self.stones}")

    def start(self, rng: np.random.Generator) -> NimState:
        """The full heap; nothing is drawn."""
        return NimState(self.stones, 0)

    def deals(self) -> list[tuple[NimState, float]]:
        """The full heap alone."""
        return [(NimState(self.stones, 0), 1.0)]

    def to_move(self, state: NimState) -> int | None:
        """The seats alternate until the heap is empty."""
        return state.seat if state.stones else None

    def view(self, state: NimState, seat: int) -> str:
        """The stones left, legal moves."""
        return write_view(self, state, seat, "Nim", f"Stones: {state.stones}")

    def legal(self, state: NimState) -> tuple[str, ...]:
        """``1``, and ``2`` where two stones are left."""
        return ("1", "2")[: state.stones]

    def move(self, state: NimState, action: str) -> NimState:
        """The smaller heap, before the other seat."""
        require_legal(self, state, action)
        return NimState(state.stones - int(action), 1 - state.seat)

    def payoffs(self, state: NimState) -> tuple[float, ...]:
        """1 for who took the last stone, -1 for the other."""
        require_end(self, state)
        return (-1.0, 1.0) if state.seat == 0 else (1.0, -1.0)

    def hidden(self, state: NimState, seat: int) -> str:
        """Nothing."""
        return ""
