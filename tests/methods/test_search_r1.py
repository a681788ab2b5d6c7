"""Where labelled questions come from, and what a solver gets for them."""

import json
from pathlib import Path

import pytest
from systems import BOR, play
from toys.scripted import says

from piplay.chat.base import Chat
from piplay.engine.protocol import Generate
from piplay.envs.search.environment import SearchEnvironment
from piplay.envs.search.question import Question
from piplay.errors import InputError
from piplay.methods.search_r1 import HINT, LabelledQuestions, Solve
from piplay.types import Owner, StopReason

TASK = Question("t", 1, "Where does it rise?", ("Oum",), BOR)
BROKEN = "<tool_call>{</tool_call>"


@pytest.fixture(scope="module")
def world(small_world: Path) -> SearchEnvironment:
    return SearchEnvironment(world=small_world)


def test_labelled_questions_are_true_and_none_is_held_out(world: SearchEnvironment) -> None:
    assert world.audit is not None
    assert {world.audit(task) for task in world.labelled} == {"true"}
    asked = {task.question for task in world.labelled}
    assert not asked & {task.question for task in world.heldout}
    starts = {task.path[0].query for task in world.labelled}
    assert starts <= {passage.title for passage in world.seeds}
    assert not starts & {task.path[0].query for task in world.heldout}


def test_every_question_comes_once_before_any_comes_twice(world: SearchEnvironment) -> None:
    source = LabelledQuestions(world, 0, hops=(2, 3))
    assert {task.hops for task in source.tasks} == {2, 3}
    count = len(source.tasks)
    drawn = [task.id for step in range(count) for task in source.draw(("m1", "solve", step), 2)]
    assert sorted(drawn[:count]) == sorted(drawn[count:]) == sorted(task.id for task in source.tasks)
    assert drawn[:count] != drawn[count:]
    assert drawn[:2] == [task.id for task in LabelledQuestions(world, 0, hops=(2, 3)).draw(("m1", "solve", 0), 2)]
    assert drawn[:2] != [task.id for task in LabelledQuestions(world, 1, hops=(2, 3)).draw(("m1", "solve", 0), 2)]


def test_questions_of_ones_own_are_read_from_a_file(towns: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text(json.dumps({"id": "a", "question": "Who?", "golden_answers": ["Oum"]}) + "\n", encoding="utf-8")
    corpus = SearchEnvironment(corpus=towns)
    [task] = LabelledQuestions(corpus, 0, file=file).draw(("m1", "solve", 0), 1)
    assert (task.question, task.answers) == ("Who?", ("Oum",))
    with pytest.raises(InputError, match="finds no questions with answers: take a world, or give a file"):
        LabelledQuestions(corpus, 0)


def test_a_hop_count_without_questions_is_named(world: SearchEnvironment) -> None:
    with pytest.raises(InputError, match="finds no questions with answers of 9 hops"):
        LabelledQuestions(world, 0, hops=(9,))


def test_only_the_exact_answer_is_rewarded(tiny_chat: Chat) -> None:
    said = ["the Oum", "Oum, I think", "Bor"]
    episode, _ = play(tiny_chat, Solve(rollouts=3), lambda request: says(said[int(request.key[-3])]), TASK)
    assert [one.reward for one in episode.trajectories] == [1.0, 0.0, 0.0]
    assert len({one.group for one in episode.trajectories}) == 1
    assert episode.facts == {"k": 1.0}


def stumble(request: Generate) -> str:
    return BROKEN if request.key[-1] == 0 else says("Oum")


def test_a_turn_that_cannot_be_read_gets_a_hint_and_the_solver_goes_on(tiny_chat: Chat) -> None:
    game = Solve(rollouts=1)
    episode, engine = play(tiny_chat, game, stumble, TASK)
    [one] = episode.trajectories
    assert (one.reward, len(one.trajectory.turns)) == (1.0, 2)
    assert HINT in tiny_chat.tokenizer.decode(engine.seen[1].ids_T)
    assert Owner.USER in one.trajectory.owner_T
    assert game.metrics([episode], None)["student/malformed"] == 1.0


def test_without_a_hint_it_ends_there(tiny_chat: Chat) -> None:
    episode, _ = play(tiny_chat, Solve(rollouts=1, hint=""), stumble, TASK)
    [one] = episode.trajectories
    assert (one.reward, one.trajectory.stop) == (0.0, StopReason.MALFORMED)
