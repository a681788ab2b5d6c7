"""How much a baseline for each role narrows advantages (SPIRAL, arXiv 2506.24119), computed without sampling."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from piplay.envs.table import Kuhn, Nim, Table, TicTacToe
from piplay.envs.table.solve import Policy, best_response, uniform


def variance_ratio(table: Table[Any], policies: Sequence[Policy]) -> float:
    """Var(R - b_role) over Var(R - b) with each baseline at its mean: below 1 where the roles' means differ."""
    likely: dict[Any, float] = dict(table.deals())
    ends: dict[tuple[float, ...], float] = defaultdict(float)
    while likely:
        after: dict[Any, float] = defaultdict(float)
        for state, probability in likely.items():
            seat = table.to_move(state)
            if seat is None:
                ends[table.payoffs(state)] += probability
                continue
            legal = table.legal(state)
            shares = policies[seat](table.view(state, seat), legal, seat)
            for action, share in zip(legal, shares, strict=True):
                after[table.move(state, action)] += probability * share
        likely = after
    payoffs_ES, weights_E = np.array(list(ends)), np.array(list(ends.values()))
    means_S = weights_E @ payoffs_ES

    def variance(baseline_S: Any) -> float:
        return float((weights_E @ (payoffs_ES - baseline_S) ** 2).mean())

    return variance(means_S) / variance(means_S.mean())


def improved(table: Table[Any], random: float) -> list[Policy]:
    """Seats that answer random play best, but for a share of random moves."""
    best = [best_response(table, (uniform, uniform), seat) for seat in (0, 1)]

    def policy(view: str, legal: tuple[str, ...], seat: int) -> list[float]:
        pairs = zip(best[seat].policy(view, legal, seat), uniform(view, legal, seat), strict=True)
        return [(1 - random) * good + random * even for good, even in pairs]

    return [policy, policy]


def test_random_play_gains_little() -> None:
    assert variance_ratio(Kuhn(), (uniform, uniform)) == pytest.approx(0.99, abs=0.005)
    assert variance_ratio(TicTacToe(), (uniform, uniform)) == pytest.approx(0.90, abs=0.005)
    # Payoffs are 1 or -1 and the first seat expects 1/4: the variance falls from 1 to 1 - 1/16.
    assert variance_ratio(Nim(4), (uniform, uniform)) == pytest.approx(15 / 16)


def test_in_nim_all_variance_goes_as_play_improves() -> None:
    ratios = [variance_ratio(Nim(4), improved(Nim(4), random)) for random in (1, 0.5, 0.2, 0.05, 0)]
    assert ratios == sorted(ratios, reverse=True)
    assert ratios[0] == pytest.approx(15 / 16)
    assert ratios[-1] == 0
