"""Nash mixtures against linear programmes, games solved by hand, and what the least norm promises."""

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from piplay.algo.nash import equilibrium, nash_conv, symmetric_mixture
from piplay.streams import stream

ROCK_PAPER_SCISSORS = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])

matrices = arrays(float, array_shapes(min_dims=2, max_dims=2, max_side=8), elements=st.integers(-100, 100).map(float))
squares = st.integers(1, 8).flatmap(lambda n: arrays(float, (n, n), elements=st.integers(-100, 100).map(float)))


def value_by_linear_programme(payoffs: Any) -> float:
    """max v over mixtures x with xᵀA >= v."""
    optimize = pytest.importorskip("scipy.optimize")
    M, N = payoffs.shape
    result = optimize.linprog(
        [0] * M + [-1],
        A_ub=np.hstack([-payoffs.T, np.ones((N, 1))]),
        b_ub=np.zeros(N),
        A_eq=[[1] * M + [0]],
        b_eq=[1],
        bounds=[(0, None)] * M + [(None, None)],
    )
    assert result.success
    return float(-result.fun)


def is_mixture(x: Any) -> bool:
    return bool((x >= 0).all() and abs(x.sum() - 1) < 1e-12)


@pytest.mark.parametrize(
    ("payoffs", "row", "column", "value"),
    [
        ([[2, -1], [-1, 1]], [0.4, 0.6], [0.4, 0.6], 0.2),
        ([[1, -1], [-1, 1]], [0.5, 0.5], [0.5, 0.5], 0),
        ([[3, 1], [2, 0]], [1, 0], [0, 1], 1),
        ([[5]], [1], [1], 5),
        ([[4, 4, 4]], [1], [1 / 3] * 3, 4),
        (ROCK_PAPER_SCISSORS, [1 / 3] * 3, [1 / 3] * 3, 0),
        # Rock pays double when it wins: paper, which beats it, is played most.
        ([[0, -1, 2], [1, 0, -1], [-2, 1, 0]], [1 / 4, 1 / 2, 1 / 4], [1 / 4, 1 / 2, 1 / 4], 0),
    ],
)
def test_games_solved_by_hand(payoffs: Any, row: Any, column: Any, value: float) -> None:
    found = equilibrium(payoffs)
    assert found.row_M == pytest.approx(row, abs=1e-9)
    assert found.column_N == pytest.approx(column, abs=1e-9)
    assert found.value == pytest.approx(value, abs=1e-9)


@pytest.mark.slow
@given(matrices)
def test_neither_side_gains_by_leaving(payoffs: Any) -> None:
    found = equilibrium(payoffs)
    assert is_mixture(found.row_M)
    assert is_mixture(found.column_N)
    assert nash_conv(payoffs, found.row_M, found.column_N) <= 1e-6
    assert found.value == pytest.approx(value_by_linear_programme(payoffs), abs=1e-6)


@pytest.mark.slow
@given(squares)
def test_no_strategy_beats_the_mixture_of_a_symmetric_game(payoffs: Any) -> None:
    mixture = symmetric_mixture(payoffs)
    assert is_mixture(mixture)
    assert (mixture @ (payoffs - payoffs.T) / 2).min() >= -1e-6


@pytest.mark.slow
@given(squares, st.randoms(use_true_random=False))
def test_the_order_of_the_strategies_does_not_matter(payoffs: Any, random: Any) -> None:
    order = random.sample(range(len(payoffs)), len(payoffs))
    shuffled = symmetric_mixture(payoffs[np.ix_(order, order)])
    assert shuffled == pytest.approx(symmetric_mixture(payoffs)[order], abs=1e-6)


@pytest.mark.slow
@given(squares, st.integers(1, 1000))
def test_only_the_antisymmetric_part_counts_and_not_its_unit(payoffs: Any, scale: int) -> None:
    shifted = scale * payoffs + 7 * np.add.outer(np.arange(len(payoffs)), np.arange(len(payoffs)))
    assert symmetric_mixture(shifted) == pytest.approx(symmetric_mixture(payoffs), abs=1e-6)


def test_equal_strategies_get_equal_shares() -> None:
    copies = [0, 0, 0, 1, 2]
    game = ROCK_PAPER_SCISSORS[np.ix_(copies, copies)]
    assert symmetric_mixture(game) == pytest.approx([1 / 9, 1 / 9, 1 / 9, 1 / 3, 1 / 3])
    assert symmetric_mixture(np.zeros((4, 4))) == pytest.approx([1 / 4] * 4)


def test_a_strategy_that_beats_all_is_played_alone() -> None:
    game = np.array([[0, 1, -1, -1], [-1, 0, 1, -1], [1, -1, 0, -1], [1, 1, 1, 0]])
    assert symmetric_mixture(game) == pytest.approx([0, 0, 0, 1])


def test_the_norm_is_the_least_among_equilibria() -> None:
    optimize = pytest.importorskip("scipy.optimize")
    rng = stream(0, ("least norm",))
    for _ in range(20):
        game = np.triu(rng.integers(-1, 2, (6, 6)), 1).astype(float)
        game -= game.T
        mixture = symmetric_mixture(game)
        constraints = [{"type": "eq", "fun": lambda x: x.sum() - 1}, {"type": "ineq", "fun": lambda x, A=game: x @ A}]
        found = optimize.minimize(
            lambda x: x @ x, np.ones(6) / 6, method="SLSQP", bounds=[(0, 1)] * 6, constraints=constraints
        )
        assert mixture @ mixture == pytest.approx(found.fun, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("size", [8, 32])
@pytest.mark.parametrize("kind", ["normal", "ternary", "win rates", "low rank"])
def test_random_games_of_a_league_are_exact_and_quick(size: int, kind: str) -> None:
    rng = stream(1, ("nash", size, kind))
    games = {
        "normal": lambda: rng.normal(size=(size, size)),
        "ternary": lambda: rng.integers(-1, 2, (size, size)).astype(float),
        "win rates": lambda: rng.binomial(100, 0.5, (size, size)) / 50 - 1,
        "low rank": lambda: rng.normal(size=(size, 2)) @ rng.normal(size=(2, size)),
    }
    start = time.process_time()
    for _ in range(5):
        payoffs = games[kind]()
        found = equilibrium(payoffs)
        assert nash_conv(payoffs, found.row_M, found.column_N) <= 1e-8
        mixture = symmetric_mixture(payoffs)
        assert (mixture @ (payoffs - payoffs.T) / 2).min() >= -1e-8
        assert (mixture == symmetric_mixture(payoffs.copy())).all()
    assert time.process_time() - start < 15


@pytest.mark.parametrize("payoffs", [[], [[]], [1.0, 2.0], [[float("nan")]], [[0.0, float("inf")], [0.0, 0.0]]])
def test_what_is_no_matrix_of_finite_numbers_is_refused(payoffs: Any) -> None:
    for solve in (equilibrium, symmetric_mixture):
        with pytest.raises(ValueError, match="matrix of finite numbers"):
            solve(payoffs)


def test_a_symmetric_game_is_square() -> None:
    with pytest.raises(ValueError, match="as many rows as columns"):
        symmetric_mixture([[1.0, 2.0]])
