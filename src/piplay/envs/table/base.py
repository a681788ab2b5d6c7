"""The protocol of a table: a short text game for two seats, small enough to be solved exactly.

All chance lies in the deal at the start; after it, each move is one word. A seat sees its view, never the state.
The text of the views follows SPIRAL (arXiv 2506.24119): own card, pot, the actions so far, the legal moves.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Protocol, TypeVar

import numpy as np

S = TypeVar("S", bound=Hashable)
"""The state of a table: immutable, equal where the rest of the game is equal."""


class Table(Protocol[S]):
    """A sequential game in text with hidden information, e.g. Kuhn poker.

    Simultaneous moves are played one after the other, the first hidden from the view of the second. A seat is named by
    its index in ``seats``.
    """

    @property
    def seats(self) -> tuple[str, ...]:
        """The role of each seat, e.g. ``("first", "second")``."""

    @property
    def rules(self) -> str:
        """The rules in a few plain sentences, for a prompt."""

    def start(self, rng: np.random.Generator) -> S:
        """The state after a deal drawn with ``rng``, from the distribution that ``deals`` lists."""

    def deals(self) -> list[tuple[S, float]]:
        """Every first state with its probability; the probabilities sum to 1."""

    def to_move(self, state: S) -> int | None:
        """The seat that moves next; None at the end."""

    def view(self, state: S, seat: int) -> str:
        """What a seat sees, as short plain text; the last line lists its legal moves, ``none`` where it has no move."""

    def legal(self, state: S) -> tuple[str, ...]:
        """The moves of the seat that moves next, always in the same order; empty at the end."""

    def move(self, state: S, action: str) -> S:
        """The state after a legal move; ``ValueError`` where it is not legal."""

    def payoffs(self, state: S) -> tuple[float, ...]:
        """The payoff of each seat at the end, in the table's unit; ``ValueError`` before the end."""

    def hidden(self, state: S, seat: int) -> str:
        """What the view withholds from a seat, for a privileged observer; empty where nothing is hidden."""


def write_view(table: Table[S], state: S, seat: int, name: str, *facts: str) -> str:
    """The text of a view: the game and the seat, one fact a line, then the legal moves.

    >>> write_view(Nim(), state, 0, "Nim", "Stones: 4")
    "Nim, you are first.\\nStones: 4\\nMoves: 1 2"
    """
    moves: Sequence[str] = table.legal(state) if table.to_move(state) == seat else ()
    return "\n".join([f"{name}, you are {table.seats[seat]}.", *facts, f"Moves: {' '.join(moves) or 'none'}"])


def require_legal(table: Table[S], state: S, action: str) -> None:
    """Raises ``ValueError`` where ``action`` is not a legal move."""
    legal = table.legal(state)
    if action not in legal:
        raise ValueError(f"{action!r} is no legal move: legal are {', '.join(legal) or 'none, the game is over'}")


def require_end(table: Table[S], state: S) -> None:
    """Raises ``ValueError`` where the game is not over."""
    if table.to_move(state) is not None:
        raise ValueError(f"the game is not over, so it pays nothing yet: {table.legal(state)} can be moved")
