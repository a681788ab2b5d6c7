"""Exact values, best responses and exploitability of behaviour policies at a table.

A behaviour policy gives the probabilities of the legal moves at a view. Each call asks it at most once for each
information set, so a language model can be measured: Kuhn poker has 12 of them, tic-tac-toe 4,520. NashConv and
exploitability are those of Lanctot et al., "A Unified Game-Theoretic Approach to Multiagent Reinforcement Learning"
(arXiv 1711.00832).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Generic

from piplay.envs.table.base import S, Table

Policy = Callable[[str, tuple[str, ...], int], Sequence[float]]
"""``policy(view, legal, seat)``: the probability of each legal move, in the order of ``legal``."""


@dataclass(frozen=True, slots=True)
class InformationSet:
    """All a seat knows when it has to move: the states behind it look the same."""

    seat: int
    view: str
    legal: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BestResponse:
    """What a seat can reach at most against the other seats' policies, and how."""

    value: float
    """Its expected payoff, in the table's unit."""
    moves: Mapping[str, str]
    """View to move; the first legal one of equally good moves."""

    def policy(self, view: str, legal: tuple[str, ...], seat: int) -> tuple[float, ...]:
        """The response as a policy: probability 1 for its move."""
        return tuple(float(action == self.moves[view]) for action in legal)


_Shares = Mapping[InformationSet, tuple[float, ...]]
"""The probability of each legal move at each information set."""


def uniform(view: str, legal: tuple[str, ...], seat: int) -> tuple[float, ...]:
    """The policy that plays every legal move with the same probability."""
    return (1 / len(legal),) * len(legal)


def information_sets(table: Table[S]) -> list[InformationSet]:
    """Every information set of every seat, in an order in which play can reach them.

    ``ValueError`` where two states with the same view have different legal moves.
    """
    return list(_graph(table).members)


def value(table: Table[S], policies: Sequence[Policy]) -> tuple[float, ...]:
    """The expected payoff of each seat when seat i plays ``policies[i]``.

    ``ValueError`` where a policy gives no distribution over the legal moves.
    """
    graph = _graph(table)
    return _value(graph, _shares(graph, policies, range(graph.seats)))


def win_rates(table: Table[S], policies: Sequence[Policy]) -> tuple[float, ...]:
    """The probability of each seat to get a payoff above 0; see ``value``."""
    graph = _graph(table)
    won = {
        state: replace(node, payoffs=tuple(float(payoff > 0) for payoff in node.payoffs))
        for state, node in graph.nodes.items()
    }
    return _value(replace(graph, nodes=won), _shares(graph, policies, range(graph.seats)))


def best_response(table: Table[S], policies: Sequence[Policy], seat: int) -> BestResponse:
    """The best a seat can do against the others' ``policies``; ``policies[seat]`` is not asked.

    ``ValueError`` where a view forgets: a state that is one of several behind a view has to tell what its seat last saw
    and did, as the search decides at each view for all states behind it.
    """
    graph = _graph(table)
    return _best_response(graph, _shares(graph, policies, set(range(graph.seats)) - {seat}), seat)


def best_response_value(table: Table[S], policies: Sequence[Policy], seat: int) -> float:
    """The expected payoff of ``best_response``."""
    return best_response(table, policies, seat).value


def exploitability(table: Table[S], policies: Sequence[Policy]) -> float:
    """What a seat gains by turning to its best response, averaged over the seats; 0 in equilibrium alone.

    NashConv over the number of seats: for two seats half of it.
    """
    graph = _graph(table)
    shares = _shares(graph, policies, range(graph.seats))
    expected = _value(graph, shares)
    gains = [_best_response(graph, shares, seat).value - expected[seat] for seat in range(graph.seats)]
    return sum(gains) / len(gains)


@dataclass(frozen=True, slots=True)
class _Node(Generic[S]):
    decision: InformationSet | None
    """None at the end."""
    children: tuple[S, ...]
    payoffs: tuple[float, ...]
    """Empty before the end."""


@dataclass(frozen=True, slots=True)
class _Graph(Generic[S]):
    """Every reachable state of a table once, however many ways lead to it."""

    deals: Sequence[tuple[S, float]]
    nodes: Mapping[S, _Node[S]]
    """Parents before children."""
    members: Mapping[InformationSet, Sequence[S]]
    """The states behind each view."""
    seats: int


def _graph(table: Table[S]) -> _Graph[S]:
    children_first: dict[S, _Node[S]] = {}

    def visit(state: S) -> None:
        if state in children_first:
            return
        seat, legal = table.to_move(state), table.legal(state)
        children = tuple(table.move(state, action) for action in legal)
        for child in children:
            visit(child)
        decision = None if seat is None else InformationSet(seat, table.view(state, seat), legal)
        children_first[state] = _Node(decision, children, table.payoffs(state) if seat is None else ())

    deals = table.deals()
    for state, _ in deals:
        visit(state)
    nodes = dict(reversed(children_first.items()))
    members: dict[InformationSet, list[S]] = {}
    for state, node in nodes.items():
        if node.decision:
            members.setdefault(node.decision, []).append(state)
    views = {(decision.seat, decision.view): decision.legal for decision in members}
    for decision in members:
        if views[decision.seat, decision.view] != decision.legal:
            raise ValueError(f"the legal moves differ between states with the view {decision.view!r}")
    return _Graph(deals, nodes, members, len(table.seats))


def _shares(graph: _Graph[S], policies: Sequence[Policy], seats: Container[int]) -> _Shares:
    """What the policies of ``seats`` play at each of their information sets, checked."""
    found: dict[InformationSet, tuple[float, ...]] = {}
    for decision in graph.members:
        if decision.seat in seats:
            given = policies[decision.seat](decision.view, decision.legal, decision.seat)
            shares = found[decision] = tuple(float(share) for share in given)
            in_range = all(share >= 0 for share in shares) and math.isclose(sum(shares), 1, abs_tol=1e-6)
            if len(shares) != len(decision.legal) or not in_range:
                raise ValueError(f"{shares} is no distribution over {decision.legal}, at the view {decision.view!r}")
    return found


def _value(graph: _Graph[S], shares: _Shares) -> tuple[float, ...]:
    values: dict[S, tuple[float, ...]] = {}
    for state, node in reversed(list(graph.nodes.items())):
        if node.decision is None:
            values[state] = node.payoffs
        else:
            outcomes = [
                (share, values[child]) for share, child in zip(shares[node.decision], node.children, strict=True)
            ]
            values[state] = _mean(outcomes, graph.seats)
    return _mean([(probability, values[state]) for state, probability in graph.deals], graph.seats)


def _mean(outcomes: Sequence[tuple[float, tuple[float, ...]]], seats: int) -> tuple[float, ...]:
    """The expected payoffs over outcomes with their probabilities."""
    return tuple(sum(share * payoffs[seat] for share, payoffs in outcomes) for seat in range(seats))


def _best_response(graph: _Graph[S], shares: _Shares, seat: int) -> BestResponse:
    _require_recall(graph, seat)

    # How likely chance and the others let each state be reached when the seat itself plays towards it.
    reach = dict.fromkeys(graph.nodes, 0.0)
    for state, probability in graph.deals:
        reach[state] += probability
    for state, node in graph.nodes.items():
        if node.decision:
            weights = (1.0,) * len(node.children) if node.decision.seat == seat else shares[node.decision]
            for child, weight in zip(node.children, weights, strict=True):
                reach[child] += reach[state] * weight

    @cache
    def worth(state: S) -> float:
        node = graph.nodes[state]
        if node.decision is None:
            return node.payoffs[seat]
        if node.decision.seat == seat:
            return worth(node.children[choice(node.decision)])
        return sum(w * worth(child) for w, child in zip(shares[node.decision], node.children, strict=True))

    @cache
    def choice(decision: InformationSet) -> int:
        states = graph.members[decision]
        worths = [
            sum(reach[state] * worth(graph.nodes[state].children[action]) for state in states)
            for action in range(len(decision.legal))
        ]
        return worths.index(max(worths))

    moves = {own.view: own.legal[choice(own)] for own in graph.members if own.seat == seat}
    return BestResponse(sum(probability * worth(state) for state, probability in graph.deals), moves)


def _require_recall(graph: _Graph[S], seat: int) -> None:
    """Raises where states behind one view differ in what the seat last saw and did."""
    last: dict[S, set[tuple[InformationSet, int] | None]] = {state: set() for state in graph.nodes}
    for state, _ in graph.deals:
        last[state].add(None)
    for state, node in graph.nodes.items():
        for action, child in enumerate(node.children):
            own = node.decision and node.decision.seat == seat
            last[child] |= {(node.decision, action)} if node.decision and own else last[state]
    for decision, states in graph.members.items():
        if decision.seat == seat and len(states) > 1 and len(set.union(*(last[state] for state in states))) > 1:
            raise ValueError(f"the view {decision.view!r} forgets what its seat last saw or did")
