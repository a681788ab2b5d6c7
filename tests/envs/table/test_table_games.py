"""What holds at every table, on random walks through it."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from piplay.envs.table import Kuhn, Nim, RockPaperScissors, Table, TicTacToe
from piplay.streams import stream

TABLES: list[Table[Any]] = [Kuhn(), TicTacToe(), RockPaperScissors(), Nim(), Nim(7)]
each_table = pytest.mark.parametrize("table", TABLES, ids=repr)


@st.composite
def walks(draw: st.DrawFn) -> tuple[Table[Any], list[Any], list[str]]:
    """A table, the states of one whole game at it, and its moves."""
    table = draw(st.sampled_from(TABLES))
    states, moves = [draw(st.sampled_from([state for state, _ in table.deals()]))], []
    while table.to_move(states[-1]) is not None:
        moves.append(draw(st.sampled_from(table.legal(states[-1]))))
        states.append(table.move(states[-1], moves[-1]))
    return table, states, moves


@given(walks())
def test_a_game_ends_with_payoffs_that_sum_to_0_and_no_move(walk: tuple[Table[Any], list[Any], list[str]]) -> None:
    table, states, _ = walk
    assert len(table.payoffs(states[-1])) == len(table.seats) == 2
    assert sum(table.payoffs(states[-1])) == 0
    assert table.legal(states[-1]) == ()
    for state in states[:-1]:
        assert len(set(table.legal(state))) == len(table.legal(state)) > 0
        with pytest.raises(ValueError, match="not over"):
            table.payoffs(state)


@pytest.mark.slow
@given(walks(), st.text())
def test_only_legal_moves_are_taken(walk: tuple[Table[Any], list[Any], list[str]], text: str) -> None:
    table, states, moves = walk
    for state in states:
        for action in {text, *moves, "", "X", "0"} - set(table.legal(state)):
            with pytest.raises(ValueError, match="no legal move"):
                table.move(state, action)


@given(walks())
def test_a_view_says_its_seat_and_its_moves(walk: tuple[Table[Any], list[Any], list[str]]) -> None:
    table, states, _ = walk
    for state in states:
        for seat, role in enumerate(table.seats):
            lines = table.view(state, seat).split("\n")
            assert lines[0].endswith(f"you are {role}.")
            assert lines[-1] == f"Moves: {' '.join(table.legal(state)) if table.to_move(state) == seat else 'none'}"


@given(walks())
def test_the_same_moves_give_the_same_state(walk: tuple[Table[Any], list[Any], list[str]]) -> None:
    table, states, moves = walk
    again = states[0]
    for action in moves:
        again = table.move(again, action)
    assert again == states[-1]
    assert hash(again) == hash(states[-1])


@each_table
def test_a_start_is_one_of_the_deals_as_often_as_they_say(table: Table[Any]) -> None:
    rng, games = stream(0, ("deals",)), 6000
    seen = Counter(table.start(rng) for _ in range(games))
    deals = dict(table.deals())
    assert sum(deals.values()) == pytest.approx(1)
    assert set(seen) == set(deals)
    for state, probability in deals.items():
        assert seen[state] / games == pytest.approx(probability, abs=4 * np.sqrt(0.25 / games))


@each_table
def test_the_rules_name_the_words_that_are_moved(table: Table[Any]) -> None:
    state = table.start(stream(0, ("rules",)))
    assert all(word in table.rules for word in table.legal(state) if not word.isdigit())
