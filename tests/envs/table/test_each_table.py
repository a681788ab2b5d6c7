"""The rules of each table, and what its views show and withhold."""

from itertools import permutations

import pytest

from piplay.envs.table import Kuhn, Nim, RockPaperScissors, TicTacToe
from piplay.envs.table.kuhn import KuhnState
from piplay.envs.table.nim import NimState

LINES_OF_PLAY = [
    (),
    ("check",),
    ("bet",),
    ("check", "bet"),
    ("check", "check"),
    ("bet", "call"),
    ("check", "bet", "fold"),
]


@pytest.mark.parametrize(
    ("actions", "chips"),
    [("check check", 1), ("check bet call", 2), ("bet call", 2), ("bet fold", None), ("check bet fold", None)],
)
def test_kuhn_pays_the_higher_card_or_who_did_not_fold(actions: str, chips: int | None) -> None:
    table = Kuhn()
    for first, second in permutations("JQK", 2):
        state = KuhnState((first, second))
        for action in actions.split():
            state = table.move(state, action)
        if chips is None:
            expected = 1 if actions == "bet fold" else -1
        else:
            expected = chips if "JQK".index(first) > "JQK".index(second) else -chips
        assert table.payoffs(state) == (expected, -expected)


def test_kuhn_shows_card_pot_actions_and_moves() -> None:
    table = Kuhn()
    state = KuhnState(("Q", "K"), ("check", "bet"))
    assert table.view(state, 0) == ("Kuhn poker, you are first.\nCard: Q\nPot: 3\nActions: check bet\nMoves: call fold")
    assert table.view(state, 1) == "Kuhn poker, you are second.\nCard: K\nPot: 3\nActions: check bet\nMoves: none"
    assert table.hidden(state, 0) == "The other player's card: K"
    assert table.view(KuhnState(("J", "K")), 0).split("\n")[2:] == ["Pot: 2", "Actions: none", "Moves: check bet"]


@pytest.mark.parametrize("actions", LINES_OF_PLAY)
@pytest.mark.parametrize("seat", [0, 1])
def test_kuhn_shows_a_seat_nothing_of_the_other_card(actions: tuple[str, ...], seat: int) -> None:
    table = Kuhn()
    for own in "JQK":
        others = [card for card in "JQK" if card != own]
        deals = [(own, other) if seat == 0 else (other, own) for other in others]
        states = [KuhnState(deal, actions) for deal in deals]
        assert len({table.view(state, seat) for state in states}) == 1
        assert [table.hidden(state, seat)[-1] for state in states] == others


def test_rock_paper_scissors_hides_the_first_move_from_the_second() -> None:
    table = RockPaperScissors()
    states = [(move,) for move in ("rock", "paper", "scissors")]
    assert {table.view(state, 1) for state in states} == {
        "Rock-paper-scissors, you are second.\nMoves: rock paper scissors"
    }
    assert [table.hidden(state, 1) for state in states] == [
        f"The other player chose: {move}" for move in ("rock", "paper", "scissors")
    ]
    assert table.hidden((), 0) == table.hidden(("rock",), 0) == ""
    assert len({table.view(("rock", second), 0) for second in ("rock", "paper", "scissors")}) == 1


@pytest.mark.parametrize(
    ("first", "second", "payoff"),
    [
        ("rock", "scissors", 1),
        ("scissors", "paper", 1),
        ("paper", "rock", 1),
        ("rock", "paper", -1),
        ("rock", "rock", 0),
    ],
)
def test_rock_paper_scissors_pays_the_winner(first: str, second: str, payoff: int) -> None:
    assert RockPaperScissors().payoffs((first, second)) == (payoff, -payoff)


def test_tic_tac_toe_shows_the_board() -> None:
    table = TicTacToe()
    state = "123456789"
    for action in "519":
        state = table.move(state, action)
    assert table.view(state, 1) == ("Tic-tac-toe, you are second.\nMark: O\nO 2 3\n4 X 6\n7 8 X\nMoves: 2 3 4 6 7 8")
    assert table.hidden(state, 0) == ""


@pytest.mark.parametrize(
    ("moves", "payoff"), [("14253", 1), ("142596", -1), ("51327", 1), ("123547698", 0), ("142567893", 1)]
)
def test_tic_tac_toe_ends_with_a_line_or_a_full_board(moves: str, payoff: int) -> None:
    table, state = TicTacToe(), "123456789"
    for action in moves:
        assert table.to_move(state) is not None
        state = table.move(state, action)
    assert table.payoffs(state) == (payoff, -payoff)


def test_nim_is_won_by_the_last_stone() -> None:
    table = Nim(3)
    assert table.payoffs(table.move(table.move(NimState(3, 0), "1"), "2")) == (-1, 1)
    assert table.payoffs(table.move(table.move(table.move(NimState(3, 0), "1"), "1"), "1")) == (1, -1)
    assert table.legal(NimState(1, 0)) == ("1",)
    assert table.view(NimState(3, 1), 1) == "Nim, you are second.\nStones: 3\nMoves: 1 2"
    with pytest.raises(ValueError, match="at least 1 stone"):
        Nim(0)
