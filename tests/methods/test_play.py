"""Who plays a question for evaluation, what it is shown, and what comes of it."""

from collections.abc import Callable

import pytest
from toys.scripted import LIMITS, DictSearcher, ScriptedEngine, says, searching, tools

from piplay.chat.base import Chat
from piplay.engine.protocol import Generate
from piplay.envs.search.question import Passage, Question, Step
from piplay.envs.search.tool import query_of
from piplay.methods.pi_play.evaluation import play_student, play_teacher
from piplay.methods.pi_play.views import STUDENT, student_view, teacher_view
from piplay.rollout.stage import Stage
from piplay.types import PolicyRef

BOR = Passage("p1", "Bor", "Bor lies on the Tamsin.")
PATH = (Step("Bor", "Bor", "river: Tamsin."),)
TASKS = [
    Question("a", 1, "Name the river of Bor.", ("Tamsin",), None, PATH),
    Question("b", 1, "Name the mayor of Bor.", ("Oum",), None, PATH),
]


def stage(chat: Chat, script: Callable[[Generate], str]) -> tuple[Stage, ScriptedEngine]:
    engine = ScriptedEngine(chat, script)
    return Stage(engine, chat, tools(DictSearcher([BOR])), LIMITS), engine


def search_first(request: Generate) -> str:
    return searching("Bor") if request.key[-1] == 0 else says("the Tamsin")


def test_alone_a_policy_sees_the_question_only(tiny_chat: Chat) -> None:
    ground, engine = stage(tiny_chat, search_first)
    episodes = play_student(ground, "base", TASKS, ("evaluate", 2))
    assert [[seat.reward for seat in episode.trajectories] for episode in episodes] == [[1.0], [0.0]]
    assert [query_of(use.call) for use in episodes[0].trajectories[0].trajectory.uses] == ["Bor"]
    assert {(request.policy, request.temperature) for request in engine.seen} == {(PolicyRef("base"), 0.0)}
    assert [request.key for request in engine.seen if request.key[-1] == 0] == [
        ("evaluate", 2, i, "student", 0, "turn", 0) for i in range(2)
    ]
    for request, task in zip(engine.seen[:2], TASKS, strict=True):
        assert request.ids_T.tolist() == tiny_chat.prompt(STUDENT, student_view(task.question)).tolist()


def test_samples_of_a_question_draw_on_streams_of_their_own(tiny_chat: Chat) -> None:
    ground, engine = stage(tiny_chat, lambda request: says(["Tamsin", "Oum", "Quil"][request.key[-3]]))
    episodes = play_student(ground, "base", TASKS, ("eval",), samples=3, temperature=0.7)
    assert [[seat.reward for seat in episode.trajectories] for episode in episodes] == [[1, 0, 0], [0, 1, 0]]
    assert len({request.key for request in engine.seen}) == len({request.session for request in engine.seen}) == 6
    assert {request.temperature for request in engine.seen} == {0.7}


def test_with_its_path_a_question_goes_to_the_teacher(tiny_chat: Chat) -> None:
    ground, engine = stage(tiny_chat, search_first)
    episodes = play_teacher(ground, "slow", TASKS, ("evaluate", 2, "path"))
    assert [episode.trajectories[0].reward for episode in episodes] == [1.0, 0.0]
    assert {(request.policy, request.temperature) for request in engine.seen} == {(PolicyRef("slow"), 0.0)}
    expected = tiny_chat.prompt(STUDENT, teacher_view(TASKS[0].question, PATH))
    assert engine.seen[0].ids_T.tolist() == expected.tolist()
    assert engine.seen[0].key == ("evaluate", 2, "path", 0, "teacher", 0, "turn", 0)


@pytest.mark.parametrize("count", [0, 1])
def test_a_stage_plays_one_episode_a_task(tiny_chat: Chat, count: int) -> None:
    ground, _ = stage(tiny_chat, search_first)
    assert [episode.task for episode in play_student(ground, "base", TASKS[:count], ("a",))] == TASKS[:count]
