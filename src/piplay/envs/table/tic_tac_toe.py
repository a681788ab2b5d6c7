"""Tic-tac-toe: nothing hidden, no chance, 5,478 states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from piplay.envs.table.base import require_end, require_legal, write_view

MARKS = ("X", "O")
"""The mark of each seat."""
LINES = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6))
"""The cells of each row, column and diagonal."""


@dataclass(frozen=True, slots=True)
class TicTacToe:
    """Tic-tac-toe: three marks in a line win; payoffs are 1 for a win, -1 for a loss, 0 for a draw.

    A state is the board as nine characters, row by row: a mark, or the cell's digit where the cell is free.
    """

    seats: ClassVar[tuple[str, ...]] = ("first", "second")
    rules: ClassVar[str] = (
        "Tic-tac-toe: the first player marks X, the second O. Free cells show their number, and a move is the number "
        "of a free cell. Three equal marks in a row, a column or a diagonal win."
    )

    def start(self, rng: np.random.Generator) -> str:
        """The empty board; nothing is drawn."""
        return "123456789"

    def deals(self) -> list[tuple[str, float]]:
        """The empty board alone."""
        return [("123456789", 1.0)]

    def to_move(self, state: str) -> int | None:
        """X and O alternate until a line or a full board."""
        taken = 9 - len(_free(state))
        return None if taken == 9 or _winner(state) is not None else taken % 2

    def view(self, state: str, seat: int) -> str:
        """Own mark, the board in three lines, legal moves."""
        rows = (" ".join(state[row : row + 3]) for row in (0, 3, 6))
        return write_view(self, state, seat, "Tic-tac-toe", f"Mark: {MARKS[seat]}", *rows)

    def legal(self, state: str) -> tuple[str, ...]:
        """The digits of the free cells, rising."""
        return () if self.to_move(state) is None else _free(state)

    def move(self, state: str, action: str) -> str:
        """The board with the mover's mark in the cell."""
        require_legal(self, state, action)
        return state.replace(action, MARKS[(9 - len(_free(state))) % 2])

    def payoffs(self, state: str) -> tuple[float, ...]:
        """1 and -1 by the winner, 0 and 0 for a draw."""
        require_end(self, state)
        return {0: (1.0, -1.0), 1: (-1.0, 1.0), None: (0.0, 0.0)}[_winner(state)]

    def hidden(self, state: str, seat: int) -> str:
        """Nothing."""
        return ""


def _free(state: str) -> tuple[str, ...]:
    return tuple(cell for cell in state if cell not in MARKS)


def _winner(state: str) -> int | None:
    for a, b, c in LINES:
        if state[a] == state[b] == state[c]:
            return MARKS.index(state[a])
    return None
