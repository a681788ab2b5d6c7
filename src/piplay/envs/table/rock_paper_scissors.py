"""Rock-paper-scissors: no move is safe, so play that only beats the latest opponent goes round in a circle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from piplay.envs.table.base import require_end, require_legal, write_view

BEATS = {"rock": "scissors", "paper": "rock", "scissors": "paper"}
"""Each move with the move it beats."""


@dataclass(frozen=True, slots=True)
class RockPaperScissors:
    """Rock-paper-scissors, one throw: payoffs are 1 for a win, -1 for a loss, 0 for a draw.

    Both choose at once: the second seat moves after the first and does not see its move. A state is the moves so far.
    """

    seats: ClassVar[tuple[str, ...]] = ("first", "second")
    rules: ClassVar[str] = (
        "Rock-paper-scissors: both players choose at once. rock beats scissors, scissors beats paper, paper beats rock."
    )

    def start(self, rng: np.random.Generator) -> tuple[str, ...]:
        """No move yet; nothing is drawn."""
        return ()

    def deals(self) -> list[tuple[tuple[str, ...], float]]:
        """The one start."""
        return [((), 1.0)]

    def to_move(self, state: tuple[str, ...]) -> int | None:
        """Each seat once, the first first."""
        return len(state) if len(state) < 2 else None

    def view(self, state: tuple[str, ...], seat: int) -> str:
        """Own move, legal moves."""
        own = [f"You chose: {move}" for move in state[seat : seat + 1]]
        return write_view(self, state, seat, "Rock-paper-scissors", *own)

    def legal(self, state: tuple[str, ...]) -> tuple[str, ...]:
        """All three, until both have moved."""
        return tuple(BEATS) if len(state) < 2 else ()

    def move(self, state: tuple[str, ...], action: str) -> tuple[str, ...]:
        """The moves with one more."""
        require_legal(self, state, action)
        return (*state, action)

    def payoffs(self, state: tuple[str, ...]) -> tuple[float, ...]:
        """1 and -1 by the winner, 0 and 0 for equal moves."""
        require_end(self, state)
        first, second = state
        if first == second:
            return (0.0, 0.0)
        return (1.0, -1.0) if BEATS[first] == second else (-1.0, 1.0)

    def hidden(self, state: tuple[str, ...], seat: int) -> str:
        """The other seat's move, once it is made."""
        return "".join(f"The other player chose: {move}" for move in state[1 - seat : 2 - seat])
