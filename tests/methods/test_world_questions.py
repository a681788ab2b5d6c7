"""Ready-made questions: by the odds, each once before any twice, the same for every run of a seed."""

from collections import Counter
from pathlib import Path

import pytest

from piplay.envs.search.environment import SearchEnvironment
from piplay.errors import InputError
from piplay.methods.pi_play import WorldQuestions


@pytest.fixture(scope="module")
def place(small_world: Path) -> SearchEnvironment:
    """A world with ten questions of each hop count."""
    return SearchEnvironment(world=small_world)


def test_no_question_comes_twice_before_all_of_its_hops_came_once(place: SearchEnvironment) -> None:
    source = WorldQuestions(place, 0, hop_odds=(1, 3, 0, 2))
    drawn = [task for step in range(40) for task in source.draw(("m1", "study", step), 6)]
    for hops in (1, 2, 4):
        ids = [task.id for task in drawn if task.hops == hops]
        for begin in range(0, len(ids) - 10, 10):
            assert len(set(ids[begin : begin + 10])) == 10
        assert ids[:10] != ids[10:20], "each round has an order of its own"
    counts = Counter(task.hops for task in drawn)
    assert set(counts) == {1, 2, 4}
    assert counts[2] == pytest.approx(120, abs=25)
    assert counts[4] == pytest.approx(80, abs=25)


def test_a_step_is_the_same_whatever_was_drawn_before(place: SearchEnvironment) -> None:
    played = [WorldQuestions(place, 3).draw(("m1", "study", step), 5) for step in range(9)]
    assert played == [WorldQuestions(place, 3).draw(("m1", "study", step), 5) for step in reversed(range(9))][::-1]
    assert played != [WorldQuestions(place, 4).draw(("m1", "study", step), 5) for step in range(9)]
    assert played[0] != WorldQuestions(place, 3).draw(("m2", "study", 0), 5)


def test_none_is_held_out_and_all_have_their_paths(place: SearchEnvironment) -> None:
    source = WorldQuestions(place, 0)
    assert {task.id for task in source.tasks} == {task.id for task in place.labelled}
    assert not {task.question for task in source.tasks} & {task.question for task in place.heldout}
    assert all(len(task.path) == task.hops for task in source.tasks)
    assert len({task.hops for task in source.tasks[:12]}) > 1, "hop counts are mixed"


def test_where_there_are_none(place: SearchEnvironment, towns: Path) -> None:
    with pytest.raises(InputError, match="take a world"):
        WorldQuestions(SearchEnvironment(corpus=towns), 0)
    with pytest.raises(InputError, match="no question of 5 hops in this world"):
        WorldQuestions(place, 0, hop_odds=(1, 1, 1, 1, 1))
    with pytest.raises(InputError, match="hop_odds"):
        WorldQuestions(place, 0, hop_odds=(0,))
