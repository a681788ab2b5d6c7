"""Who plays a question for evaluation, what it is shown, and what comes of it."""

from collections.abc import Callable

import pytest
from toys.scripted import LIMITS, DictSearcher, ScriptedEngine, says, searches

from piplay.chat.base import Chat
from piplay.engine.protocol import Generate
from piplay.methods.pi_play.game import STUDENT, student_view, teacher_view
from piplay.methods.pi_play.play import alone, with_path
from piplay.rollout.stage import Stage
from piplay.types import Passage, PolicyRef, Step, Task

BOR = Passage("p1", "Bor", "Bor lies on the Tamsin.")
PATH = (Step("Bor", "Bor", "river: Tamsin."),)
TASKS = [
    Task("a", 1, "Name the river of Bor.", ("Tamsin",), None, PATH),
    Task("b", 1, "Name the mayor of Bor.", ("Oum",), None, PATH),
]


def stage(chat: Chat, script: Callable[[Generate], str]) -> tuple[Stage, ScriptedEngine]:
    engine = ScriptedEngine(chat, script)
    return Stage(engine, chat, DictSearcher([BOR]), LIMITS, top_k=1), engine


def search_first(request: Generate) -> str:
    return searches("Bor") if request.key[-1] == 0 else says("the Tamsin")


def test_alone_a_policy_sees_the_question_only(tiny_chat: Chat) -> None:
    ground, engine = stage(tiny_chat, search_first)
    episodes = alone(ground, "base", TASKS, ("evaluate", 2))
    assert [[seat.reward for seat in episode.seats] for episode in episodes] == [[1.0], [0.0]]
    assert [call.query for call in episodes[0].seats[0].trajectory.calls] == ["Bor"]
    assert {(request.policy, request.temperature) for request in engine.seen} == {(PolicyRef("base"), 0.0)}
    assert [request.key for request in engine.seen if request.key[-1] == 0] == [
        ("evaluate", 2, i, "student", 0, "turn", 0) for i in range(2)
    ]
    for request, task in zip(engine.seen[:2], TASKS, strict=True):
        assert request.ids_T.tolist() == tiny_chat.prompt(STUDENT, student_view(task.question)).tolist()


def test_samples_of_a_question_draw_on_streams_of_their_own(tiny_chat: Chat) -> None:
    ground, engine = stage(tiny_chat, lambda request: says(["Tamsin", "Oum", "Quil"][request.key[-3]]))
    episodes = alone(ground, "base", TASKS, ("eval",), samples=3, temperature=0.7)
    assert [[seat.reward for seat in episode.seats] for episode in episodes] == [[1, 0, 0], [0, 1, 0]]
    assert len({request.key for request in engine.seen}) == len({request.session for request in engine.seen}) == 6
    assert {request.temperature for request in engine.seen} == {0.7}


def test_with_its_path_a_question_goes_to_the_teacher(tiny_chat: Chat) -> None:
    ground, engine = stage(tiny_chat, search_first)
    episodes = with_path(ground, "slow", TASKS, ("evaluate", 2, "path"))
    assert [episode.seats[0].reward for episode in episodes] == [1.0, 0.0]
    assert {(request.policy, request.temperature) for request in engine.seen} == {(PolicyRef("slow"), 0.0)}
    expected = tiny_chat.prompt(STUDENT, teacher_view(TASKS[0].question, PATH))
    assert engine.seen[0].ids_T.tolist() == expected.tolist()
    assert engine.seen[0].key == ("evaluate", 2, "path", 0, "teacher", 0, "turn", 0)


@pytest.mark.parametrize("count", [0, 1])
def test_a_stage_plays_one_episode_a_task(tiny_chat: Chat, count: int) -> None:
    ground, _ = stage(tiny_chat, search_first)
    assert [episode.task for episode in alone(ground, "base", TASKS[:count], ("a",))] == TASKS[:count]
