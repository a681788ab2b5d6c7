"""The time average of a policy that learns: what an opponent meets who draws one of its past selves for each game.

It is the strategy that converges in fictitious play and under regret minimisation, where the latest self may go round
in circles (Heinrich, Lanctot and Silver, "Fictitious Self-Play in Extensive-Form Games", 2015, theorem 7).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from piplay.envs.table.base import Table
from piplay.envs.table.solve import InformationSet, Policy

Member = dict[str, list[float]]
"""A policy, as JSON: by seat and view, the probability that its own moves lead there, times that of each move."""


def member(table: Table[Any], policy: Policy) -> Member:
    """A policy, the same for every seat, as ``mixture`` needs it."""
    return {
        _name(at.view, at.seat): [reach * share for share in policy(at.view, at.legal, at.seat)]
        for at, reach in own_reach(table, policy).items()
    }


def mixture(members: list[Member]) -> Policy:
    """One of the policies drawn for each game, each as likely, as one behaviour policy.

    A member counts at a view as much as it plays towards it; where none does, play is uniform. Right for tables in
    which a view tells what its seat saw and did before: not for tic-tac-toe, whose boards forget the order of moves.
    """

    def policy(view: str, legal: tuple[str, ...], seat: int) -> tuple[float, ...]:
        name = _name(view, seat)
        sums = [sum(one[name][number] for one in members) for number in range(len(legal))]
        total = sum(sums)
        return tuple(share / total for share in sums) if total else (1 / len(legal),) * len(legal)

    return policy


def own_reach(table: Table[Any], policy: Policy) -> Mapping[InformationSet, float]:
    """The probability that a seat's own moves lead to each of its information sets."""
    found: dict[InformationSet, float] = {}

    def visit(state: Any, reaches: tuple[float, ...]) -> None:
        seat = table.to_move(state)
        if seat is None:
            return
        at = InformationSet(seat, table.view(state, seat), table.legal(state))
        found[at] = reaches[seat]
        for move, share in zip(at.legal, policy(at.view, at.legal, at.seat), strict=True):
            visit(table.move(state, move), (*reaches[:seat], reaches[seat] * share, *reaches[seat + 1 :]))

    for state, _ in table.deals():
        visit(state, (1.0,) * len(table.seats))
    return found


def _name(view: str, seat: int) -> str:
    return f"{seat}: {view}"
