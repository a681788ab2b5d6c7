"""Who beats whom in a league: the mean payoffs of every pair of players so far, and the Nash mixture over them."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from piplay.algo.nash import Doubles, symmetric_mixture

Entry = tuple[str, str, int, float]
"""First player, second player, games, sum of the first player's payoffs: one pair in JSON."""


@dataclass(frozen=True, slots=True)
class WinMatrix:
    """Games between named players, counted for each pair and order of seats; ``record`` gives a new matrix.

    Payoffs are zero-sum, in the table's unit. A pair that has not met counts as even: payoff 0, a win rate of .5.
    """

    games: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Games by (first player, second player)."""
    sums: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """The first player's payoffs in them, added up."""

    def record(self, first: str, second: str, payoff: float) -> WinMatrix:
        """The matrix with one more game, in which the first seat's player got ``payoff``.

        ``ValueError`` where the payoff is not finite.
        """
        if not math.isfinite(payoff):
            raise ValueError(f"a payoff is a finite number, not {payoff}, in the game of {first} against {second}")
        pair = (first, second)
        return WinMatrix(
            {**self.games, pair: self.games.get(pair, 0) + 1}, {**self.sums, pair: self.sums.get(pair, 0.0) + payoff}
        )

    def keep(self, names: Collection[str]) -> WinMatrix:
        """The matrix without the games of players that are not in ``names``."""
        kept = [pair for pair in self.games if pair[0] in names and pair[1] in names]
        return WinMatrix({pair: self.games[pair] for pair in kept}, {pair: self.sums[pair] for pair in kept})

    def payoffs(self, names: Sequence[str]) -> Doubles:
        """The mean payoff of the first seat's player, rows first, columns second [N, N]; 0 where a pair has not met."""
        pairs = [[(first, second) for second in names] for first in names]
        return np.array([[self.sums[p] / self.games[p] if p in self.games else 0.0 for p in row] for row in pairs])

    def mixture(self, names: Sequence[str]) -> Doubles:
        """The Nash mixture over ``names`` [N]; each pair counts as the mean of its two orders of seats.

        ``ValueError`` without names.
        """
        return symmetric_mixture(self.payoffs(names))

    def state(self) -> list[Entry]:
        """What JSON keeps of it, for ``from_state``."""
        return [(*pair, count, self.sums[pair]) for pair, count in self.games.items()]

    @classmethod
    def from_state(cls, state: Sequence[Sequence[str | int | float]]) -> WinMatrix:
        """The matrix that ``state`` describes, also after JSON made lists of its tuples.

        ``ValueError`` where an entry is no (first, second, games, sum) with a positive count and a finite sum.
        """
        games: dict[tuple[str, str], int] = {}
        sums: dict[tuple[str, str], float] = {}
        for entry in state:
            match entry:
                case [str(first), str(second), int(count), float() | int() as total] if count > 0 and math.isfinite(
                    total
                ):
                    games[first, second], sums[first, second] = count, float(total)
                case _:
                    raise ValueError(f"{entry} is no (first, second, games, sum) of a win matrix")
        return cls(games, sums)
