"""What a league remembers of its games."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piplay.algo.win_matrix import WinMatrix

NAMES = ["a", "b", "c"]
games = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES), st.integers(-2, 2).map(float)))


def matrix_of(records: list[tuple[str, str, float]]) -> WinMatrix:
    matrix = WinMatrix()
    for record in records:
        matrix = matrix.record(*record)
    return matrix


@given(games)
def test_payoffs_are_means_and_0_where_a_pair_has_not_met(records: list[tuple[str, str, float]]) -> None:
    payoffs = matrix_of(records).payoffs(NAMES)
    for i, first in enumerate(NAMES):
        for j, second in enumerate(NAMES):
            met = [payoff for one, other, payoff in records if (one, other) == (first, second)]
            assert payoffs[i, j] == pytest.approx(sum(met) / len(met) if met else 0)


@pytest.mark.slow
@given(games)
def test_a_state_comes_back_from_json(records: list[tuple[str, str, float]]) -> None:
    matrix = matrix_of(records)
    assert WinMatrix.from_state(json.loads(json.dumps(matrix.state()))) == matrix
    assert sum(matrix.games.values()) == len(records)


def test_recording_leaves_the_old_matrix_as_it_was() -> None:
    before = WinMatrix().record("a", "b", 1)
    after = before.record("a", "b", -1).record("b", "a", 1)
    assert before.games == {("a", "b"): 1}
    assert after.games == {("a", "b"): 2, ("b", "a"): 1}
    assert after.payoffs(["a", "b"]).tolist() == [[0, 0], [1, 0]]


def test_the_mixture_is_nash_and_a_newcomer_is_even() -> None:
    circle = matrix_of([("a", "b", 1), ("b", "c", 1), ("c", "a", 1)])
    assert circle.mixture(NAMES) == pytest.approx([1 / 3] * 3)
    assert WinMatrix().mixture([*NAMES, "new"]) == pytest.approx([1 / 4] * 4)
    assert circle.mixture(["a", "b"]) == pytest.approx([1, 0])
    # As even with all as the circle is: the least norm spreads over all four.
    assert circle.mixture([*NAMES, "new"]) == pytest.approx([1 / 4] * 4)
    # The seat that always wins says nothing about the players in it.
    assert matrix_of([("a", "b", 1), ("b", "a", 1)]).mixture(["a", "b"]) == pytest.approx([1 / 2] * 2)


def test_players_who_left_are_forgotten() -> None:
    kept = matrix_of([("a", "b", 1), ("b", "c", 1), ("c", "a", 1)]).keep({"a", "b"})
    assert kept == matrix_of([("a", "b", 1)])


def test_what_is_no_game_is_refused() -> None:
    with pytest.raises(ValueError, match="finite number"):
        WinMatrix().record("a", "b", float("nan"))
    for entry in (
        ["a", "b", 1],
        ["a", "b", 0, 0.0],
        ["a", 1, 1, 1.0],
        ["a", "b", 1, float("inf")],
        ["a", "b", 1.5, 1.0],
    ):
        with pytest.raises(ValueError, match="of a win matrix"):
            WinMatrix.from_state([entry])
    with pytest.raises(ValueError, match="finite numbers"):
        WinMatrix().mixture([])
