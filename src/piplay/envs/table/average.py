"""The time average of a policy that learns: what an opponent meets who draws one of its past selves for each game.

It is the strategy that converges in fictitious play and under regret minimisation, where the latest self may go round
in circles (Heinrich, Lanctot and Silver, "Fictitious Self-Play in Extensive-Form Games", 2015, theorem 7).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from piplay.envs.table.base import Table
from piplay.envs.table.solve import InformationSet, Policy
from piplay.types import State


class Average:
    """The mixture, with equal weights, of the policies that were added, as one behaviour policy.

    A policy counts at an information set as much as it plays towards it. Right for tables in which a view tells what
    its seat saw and did before: not for tic-tac-toe, whose boards forget the order of moves.
    """

    def __init__(self, table: Table[Any], state: State) -> None:
        """``state``: by seat and view, the sums over policies of reach times probability of each move, as JSON."""
        self._table, self._sums = table, state

    def add(self, policy: Policy) -> None:
        """One more policy, the same for every seat."""
        for decision, reach in own_reach(self._table, policy).items():
            shares = policy(decision.view, decision.legal, decision.seat)
            name = _name(decision.view, decision.seat)
            sums = self._sums.get(name, [0.0] * len(shares))
            self._sums[name] = [total + reach * share for total, share in zip(sums, shares, strict=True)]

    def policy(self, view: str, legal: tuple[str, ...], seat: int) -> tuple[float, ...]:
        """The mixture; uniform where none of the policies plays towards the view."""
        sums = self._sums.get(_name(view, seat), [])
        total = sum(sums)
        return tuple(share / total for share in sums) if total else (1 / len(legal),) * len(legal)


def own_reach(table: Table[Any], policy: Policy) -> Mapping[InformationSet, float]:
    """The probability that a seat's own moves lead to each of its information sets."""
    found: dict[InformationSet, float] = {}

    def visit(state: Any, reaches: tuple[float, ...]) -> None:
        seat = table.to_move(state)
        if seat is None:
            return
        decision = InformationSet(seat, table.view(state, seat), table.legal(state))
        found[decision] = reaches[seat]
        for action, share in zip(decision.legal, policy(decision.view, decision.legal, seat), strict=True):
            further = (*reaches[:seat], reaches[seat] * share, *reaches[seat + 1 :])
            visit(table.move(state, action), further)

    for state, _ in table.deals():
        visit(state, (1.0,) * len(table.seats))
    return found


def _name(view: str, seat: int) -> str:
    return f"{seat}: {view}"
