"""How questions are answered: rollouts made by hand, and loops by brute force."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.scripted import told, turn, used

from piplay.envs.search.question import Passage, Question, Step
from piplay.methods.pi_play.conduct import conduct_metrics, ends_in_loop, illusion
from piplay.types import Episode, ScoredTrajectory, StopReason, Trajectory

TASK = Question(
    "q", 2, "Where does the river of Bor rise?", ("Oum", "Mount Oum"), None,
    (Step("Bor", "p1", "river: Tamsin."), Step("Tamsin", "p2", "source: Oum.")),
)  # fmt: skip
BOR = used("Bor", (Passage("p1", "Bor", "Its river is the Tamsin."),))
TAMSIN = used("Tamsin", (Passage("p2", "Tamsin", "It rises in Oum."),))


@pytest.mark.parametrize(
    ("turns", "uses", "expected"),
    [
        ([turn("Bor"), turn("Tamsin"), turn("Oum")], [BOR, TAMSIN], False),  # each name once it was found
        ([turn("Bor"), turn("Tamsin, then Oum"), turn("Oum")], [BOR, TAMSIN], True),  # the answer a search too early
        ([turn("Tamsin"), turn("Oum")], [TAMSIN], True),  # an entity that only the path has
        ([turn("Oum")], [], True),
        ([turn("mount oum.")], [], True),
        ([turn("Oumville")], [], False),  # another word
        ([turn("It is Bor.")], [], False),  # the question names it
        ([turn("Bor"), turn("Quil")], [BOR], False),
    ],
)
def test_an_illusion_is_a_name_before_anything_has_named_it(turns: list, uses: list, expected: bool) -> None:
    assert illusion(TASK, told(turns, uses)) == expected


def repeated(ids: list[int]) -> bool:
    """Every period and every number of copies, tried out."""
    for period in range(1, len(ids) + 1):
        for copies in range(3, len(ids) // period + 1):
            blocks = [ids[len(ids) - (i + 1) * period : len(ids) - i * period] for i in range(copies)]
            if period * copies >= 12 and all(one == other for one, other in pairwise(blocks)):
                return True
    return False


@given(st.lists(st.integers(0, 2), max_size=6), st.lists(st.integers(0, 2), min_size=1, max_size=7), st.integers(0, 15))
def test_loops_are_those_that_brute_force_finds(begin: list[int], block: list[int], copies: int) -> None:
    ids = begin + block * copies
    assert ends_in_loop(np.array(ids, np.int64)) == repeated(ids)


def test_the_numbers_of_a_step() -> None:
    def episode(task: Question, *tries: tuple[Trajectory, float]) -> Episode:
        played = tuple(ScoredTrajectory(one, ("q",), reward) for one, reward in tries)
        return Episode(("e",), task, played, facts={"k": 0.0})

    good = told([turn("Bor"), turn("Tamsin"), turn("Oum")], [BOR, TAMSIN], role="student")
    guess = told([turn("Oum")], role="student")
    broken = told([turn("Oum")], stop=StopReason.TOOL_FAILED, role="student")
    pathless = Question("p", 0, "Who?", ("Zed",))
    row = conduct_metrics(
        [
            episode(TASK, (good, 1.0), (guess, 1.0), (guess, 0.0), (broken, 0.0)),
            episode(pathless, (guess, 0.0), (good, 0.0), (guess, 0.0)),
        ]
    )
    assert row == pytest.approx(
        {
            "student/illusion": 2 / 3,  # of the three whose task has a path
            "student/no_search": 4 / 6,
            "student/loops": 0.0,
            "pass/1": (2 / 3 + 0) / 2,
            "pass/2": (1 + 0) / 2,
            "pass/3": 1 / 2,
        }
    )
