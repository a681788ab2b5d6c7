"""Exact values and exploitability against known numbers and against enumeration written another way."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from math import factorial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from piplay.envs.table import Kuhn, Nim, RockPaperScissors, TicTacToe
from piplay.envs.table.kuhn import KuhnState
from piplay.envs.table.solve import (
    InformationSet,
    Policy,
    best_response,
    best_response_value,
    exploitability,
    information_sets,
    uniform,
    value,
    win_rates,
)

# Kuhn poker by hand: what a seat knows is its card and the letters so far (p: check or fold, b: bet or call).
SHOWDOWNS = {"pp": 1, "bb": 2, "pbb": 2}
FOLDS = {"bp": 1, "pbp": -1}
SITUATIONS = (("", "pb"), ("p", "b"))
LETTERS = {"check": "p", "fold": "p", "bet": "b", "call": "b"}

Bets = Mapping[tuple[str, str], float]
"""How likely a seat bets or calls, by card and letters so far."""


def kuhn_value(first: Bets, second: Bets) -> float:
    """The first seat's expected chips, over the six deals and the five lines of play."""
    total = 0.0
    for a, b in permutations("JQK", 2):
        for line in (*SHOWDOWNS, *FOLDS):
            likely = 1.0
            for place, letter in enumerate(line):
                bet = (second[b, line[:place]]) if place % 2 else first[a, line[:place]]
                likely *= bet if letter == "b" else 1 - bet
            chips = FOLDS[line] if line in FOLDS else SHOWDOWNS[line] * (1 if "JQK".index(a) > "JQK".index(b) else -1)
            total += likely * chips / 6
    return total


def kuhn_policy(seats: Sequence[Bets]) -> Policy:
    """The same play as a policy over views."""

    def policy(view: str, legal: tuple[str, ...], seat: int) -> list[float]:
        facts = dict(line.split(": ") for line in view.split("\n")[1:])
        line = "" if facts["Actions"] == "none" else "".join(LETTERS[action] for action in facts["Actions"].split())
        bet = seats[seat][facts["Card"], line]
        return [bet if LETTERS[action] == "b" else 1 - bet for action in legal]

    return policy


def pure_kuhn(seat: int) -> Iterator[Bets]:
    """All 64 ways to play a seat without chance."""
    knows = list(product("JQK", SITUATIONS[seat]))
    for choice in product((0.0, 1.0), repeat=len(knows)):
        yield dict(zip(knows, choice, strict=True))


def equilibrium_of_kuhn(alpha: float) -> tuple[Bets, Bets]:
    """The equilibria of Kuhn poker, one for each bluffing rate 0 <= alpha <= 1/3 of the first seat."""
    first = {("J", ""): alpha, ("Q", ""): 0, ("K", ""): 3 * alpha}
    first |= {("J", "pb"): 0, ("Q", "pb"): alpha + 1 / 3, ("K", "pb"): 1}
    second = {("J", "p"): 1 / 3, ("Q", "p"): 0, ("K", "p"): 1, ("J", "b"): 0, ("Q", "b"): 1 / 3, ("K", "b"): 1}
    return first, second


random_bets = [
    st.fixed_dictionaries(dict.fromkeys(product("JQK", SITUATIONS[seat]), st.floats(0, 1))) for seat in (0, 1)
]


def test_kuhn_played_at_random() -> None:
    both = (uniform, uniform)
    assert value(Kuhn(), both) == pytest.approx((0.125, -0.125))
    assert exploitability(Kuhn(), both) == pytest.approx(0.9167 / 2, abs=5e-5)
    assert [best_response_value(Kuhn(), both, seat) for seat in (0, 1)] == pytest.approx([1 / 2, 5 / 12])


@pytest.mark.parametrize("alpha", [0, 0.1, 0.2, 1 / 3])
def test_kuhn_in_equilibrium(alpha: float) -> None:
    policy = kuhn_policy(equilibrium_of_kuhn(alpha))
    assert value(Kuhn(), (policy, policy)) == pytest.approx((-1 / 18, 1 / 18))
    assert exploitability(Kuhn(), (policy, policy)) == pytest.approx(0, abs=1e-12)


def test_a_bluffing_rate_above_a_third_is_no_equilibrium() -> None:
    first, second = equilibrium_of_kuhn(1 / 3)
    policy = kuhn_policy(({**first, ("J", ""): 0.5}, second))
    assert exploitability(Kuhn(), (policy, policy)) > 0.01


@pytest.mark.slow
@given(*random_bets)
def test_kuhn_is_what_enumeration_by_hand_gives(first: Bets, second: Bets) -> None:
    policies = [kuhn_policy((first, second))] * 2
    expected = kuhn_value(first, second)
    assert value(Kuhn(), policies) == pytest.approx((expected, -expected))
    best = (
        max(kuhn_value(pure, second) for pure in pure_kuhn(0)),
        max(-kuhn_value(first, pure) for pure in pure_kuhn(1)),
    )
    assert [best_response_value(Kuhn(), policies, seat) for seat in (0, 1)] == pytest.approx(best)
    assert exploitability(Kuhn(), policies) == pytest.approx(sum(best) / 2)


@pytest.mark.slow
@given(*random_bets)
def test_a_best_response_earns_what_it_says(first: Bets, second: Bets) -> None:
    policies = [kuhn_policy((first, second))] * 2
    for seat in (0, 1):
        response = best_response(Kuhn(), policies, seat)
        played = [response.policy if other == seat else policies[other] for other in (0, 1)]
        assert value(Kuhn(), played)[seat] == pytest.approx(response.value)


def test_how_many_information_sets_there_are() -> None:
    assert len(information_sets(Kuhn())) == 12
    assert len(information_sets(RockPaperScissors())) == 2
    # 5,478 boards, of which 958 are over.
    assert len(information_sets(TicTacToe())) == 5478 - 958
    # 4; 3 and 2 before the second; 2 and 1 before the first; 1 before the second.
    assert len(information_sets(Nim(4))) == 6


@pytest.mark.slow
def test_tic_tac_toe_played_at_random() -> None:
    # The games of tic-tac-toe that each seat wins, by their length; a game of n moves has probability (9-n)!/9!.
    first = {5: 1440, 7: 47952, 9: 81792}
    second = {6: 5328, 8: 72576}
    wins, losses = (sum(n * factorial(9 - k) / factorial(9) for k, n in games.items()) for games in (first, second))
    assert (wins, losses) == pytest.approx((0.58492, 0.28810), abs=5e-6)
    assert win_rates(TicTacToe(), (uniform, uniform)) == pytest.approx((wins, losses))
    assert value(TicTacToe(), (uniform, uniform)) == pytest.approx((wins - losses, losses - wins))


@pytest.mark.slow
def test_perfect_tic_tac_toe_is_a_draw_that_nobody_can_exploit() -> None:
    # A magic square: three cells are in line where their numbers sum to 15.
    magic = dict(zip("123456789", (2, 7, 6, 9, 5, 1, 4, 3, 8), strict=True))
    seen: dict[tuple[frozenset[str], frozenset[str]], int] = {}

    def worth(mine: frozenset[str], theirs: frozenset[str]) -> int:
        """What the side to move gets."""
        if (mine, theirs) not in seen:
            if any(sum(magic[cell] for cell in three) == 15 for three in permutations(theirs, 3)):
                seen[mine, theirs] = -1
            else:
                free = set(magic) - mine - theirs
                seen[mine, theirs] = max((-worth(theirs, mine | {cell}) for cell in free), default=0)
        return seen[mine, theirs]

    def perfect(view: str, legal: tuple[str, ...], seat: int) -> list[float]:
        _, mark, *rows, _ = view.split("\n")
        cells = dict(zip("123456789", " ".join(rows).split(), strict=True))
        mine, theirs = (
            frozenset(cell for cell, content in cells.items() if content == wanted)
            for wanted in (mark[-1], "XO".replace(mark[-1], ""))
        )
        best = [-worth(theirs, mine | {cell}) == worth(mine, theirs) for cell in legal]
        return [good / sum(best) for good in best]

    assert value(TicTacToe(), (perfect, perfect)) == pytest.approx((0, 0))
    assert exploitability(TicTacToe(), (perfect, perfect)) == pytest.approx(0, abs=1e-12)
    assert exploitability(TicTacToe(), (perfect, uniform)) > 0.4


@pytest.mark.parametrize("stones", range(1, 9))
def test_nim_is_lost_at_multiples_of_three(stones: int) -> None:
    def leave_a_multiple_of_three(view: str, legal: tuple[str, ...], seat: int) -> list[float]:
        left = int(view.split("Stones: ")[1].split("\n")[0])
        return [float(int(action) == max(1, left % 3)) for action in legal]

    policies = [leave_a_multiple_of_three] * 2
    won = 1 if stones % 3 else -1
    assert value(Nim(stones), policies) == (won, -won)
    assert exploitability(Nim(stones), policies) == 0


@given(st.lists(st.lists(st.integers(1, 9), min_size=3, max_size=3), min_size=2, max_size=2))
def test_rock_paper_scissors_is_its_matrix(weights: list[list[int]]) -> None:
    first, second = (np.array(each) / sum(each) for each in weights)
    matrix = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    policies = [lambda view, legal, seat: (first, second)[seat]] * 2
    assert value(RockPaperScissors(), policies)[0] == pytest.approx(first @ matrix @ second)
    best = [(matrix @ second).max(), (-first @ matrix).max()]
    assert [best_response_value(RockPaperScissors(), policies, seat) for seat in (0, 1)] == pytest.approx(best)


def test_a_policy_is_asked_once_for_each_information_set() -> None:
    asked: list[InformationSet] = []

    def policy(view: str, legal: tuple[str, ...], seat: int) -> Sequence[float]:
        asked.append(InformationSet(seat, view, legal))
        return uniform(view, legal, seat)

    exploitability(Kuhn(), (policy, policy))
    assert asked == information_sets(Kuhn())
    asked.clear()
    best_response(Kuhn(), (policy, policy), 0)
    assert asked == [each for each in information_sets(Kuhn()) if each.seat == 1]


@pytest.mark.parametrize("shares", [(0.5, 0.4), (1.5, -0.5), (1.0,), (float("nan"), 1.0), (0.5, 0.5, 0.0)])
def test_what_is_no_distribution_is_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="no distribution over"):
        value(Kuhn(), [lambda view, legal, seat: shares] * 2)


@dataclass(frozen=True, slots=True)
class ForgetfulKuhn(Kuhn):
    """Whose players forget their card once something was done."""

    def view(self, state: KuhnState, seat: int) -> str:
        return f"{state.cards[seat]}" if not state.actions else f"{state.actions}"


@dataclass(frozen=True, slots=True)
class BlindKuhn(Kuhn):
    """Whose views say nothing at all."""

    def view(self, state: KuhnState, seat: int) -> str:
        return ""


def test_a_view_that_forgets_is_refused_where_it_would_give_a_wrong_answer() -> None:
    assert value(ForgetfulKuhn(), (uniform, uniform)) == pytest.approx((0.125, -0.125))
    # The second seat never saw its card before its one decision.
    assert best_response_value(ForgetfulKuhn(), (uniform, uniform), 1) < 5 / 12
    with pytest.raises(ValueError, match="forgets"):
        best_response(ForgetfulKuhn(), (uniform, uniform), 0)
    with pytest.raises(ValueError, match="legal moves differ"):
        information_sets(BlindKuhn())
