"""What a teacher is shown: each setting against the text written out, and a foreign path against a search by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toys.scripted import DictSearcher, ScriptedEngine, context, tools

from piplay.chat.base import Chat
from piplay.envs.search.environment import SearchEnvironment
from piplay.envs.search.question import Question, Step
from piplay.errors import InputError
from piplay.methods.pi_play.game import PrivilegedStudy, Study
from piplay.methods.pi_play.privilege import LIKE, foreign, shown
from piplay.methods.pi_play.views import STUDENT
from piplay.protocols import make_game
from piplay.recipes import load_config
from piplay.rollout.context import Context
from piplay.rollout.driver import drive
from piplay.types import Episode

QUESTION = "Where does the river of Bor rise?"
PATH = (Step("Bor", "Bor", "river: Tamsin."), Step("Tamsin", "Tamsin", "source: Oum."), Step("Oum", "Oum", "age: 9."))
TASK = Question("q", 3, QUESTION, ("9", "nine"), None, PATH)
OTHER = Question("o", 2, "What is the mayor of Quil?", ("Zed",), None, (Step("Quil", "Quil", "mayor: Zed."),))


def at(chat: Chat, batch: tuple[Question, ...] = (TASK, OTHER), key: int = 0) -> Context:
    return replace(context(chat, ("m1", "study", 0, key)), batch=batch)


def viewed(chat: Chat, game: Study | PrivilegedStudy, task: Question = TASK) -> tuple[Episode, ScriptedEngine]:
    engine = ScriptedEngine(chat, lambda request: "9")
    [episode] = drive([game.play(task, at(chat))], engine, tools(DictSearcher([])))
    return episode, engine


@pytest.mark.parametrize(
    ("privilege", "slot"),
    [
        ("true", " Bor > river: Tamsin. Tamsin > source: Oum. Oum > age: 9."),
        ("answer", " 9"),
        ("evidence", " river: Tamsin. source: Oum. age: 9."),
        ("foreign", " Quil > mayor: Zed."),
        ("none", ""),
    ],
)
def test_a_setting_fills_the_slot_of_one_prompt(tiny_chat: Chat, privilege: str, slot: str) -> None:
    prompt = tiny_chat.prompt(STUDENT, f"{QUESTION} Path:{slot}").tolist()
    episode, _ = viewed(tiny_chat, Study(rollouts=2, privilege=privilege))
    assert [one.views["privileged"].tolist() for one in episode.trajectories] == [prompt, prompt]
    _, engine = viewed(tiny_chat, PrivilegedStudy(privilege=privilege))
    assert [request.ids_T.tolist() for request in engine.seen] == [prompt]


def test_half_a_path_is_a_random_half_of_its_steps_in_order(tiny_chat: Chat) -> None:
    halves = {" ".join(f"{s.query} > {s.evidence}" for s in (PATH[i], PATH[j])) for i, j in [(0, 1), (0, 2), (1, 2)]}
    drawn = [shown(TASK, "half", at(tiny_chat, key=key)) for key in range(60)]
    assert set(drawn) == halves
    assert drawn == [shown(TASK, "half", at(tiny_chat, key=key)) for key in range(60)]
    assert all(drawn.count(half) >= 8 for half in halves), "each of three, 20 times of 60 on average"
    assert shown(replace(TASK, path=PATH[:1]), "half", at(tiny_chat)) == "Bor > river: Tamsin."


def test_a_foreign_path_is_drawn_among_those_of_like_length(tiny_chat: Chat, small_world: Path) -> None:
    """Against every question of a world by hand, where the rule can be read off the steps and the tokens."""
    tasks = tuple(SearchEnvironment(world=small_world).labelled)

    def text(task: Question) -> str:
        return " ".join(f"{step.query} > {step.evidence}" for step in task.path)

    tokens = {task.id: len(tiny_chat.tokenizer.encode(text(task), add_special_tokens=False)) for task in tasks}
    for task in tasks[::4]:
        allowed = {
            other.id: abs(tokens[other.id] - tokens[task.id])
            for other in tasks
            if not any(step in task.path for step in other.path)
            and not any(f" {answer.lower()}." in f" {text(other).lower()}" for answer in task.answers)
        }
        assert task.id not in allowed
        near = {name for name, gap in allowed.items() if gap <= LIKE * tokens[task.id]}
        near = near or {name for name, gap in allowed.items() if gap == min(allowed.values())}
        drawn = {foreign(task, at(tiny_chat, tasks, key)).id for key in range(30)}
        assert drawn <= near
        assert len(drawn) > 1 or len(near) == 1


def test_paths_that_would_tell_are_not_foreign(tiny_chat: Chat) -> None:
    twin = replace(TASK, id="twin", question="Whence?")
    part = replace(OTHER, id="part", path=PATH[1:2])
    telling = replace(OTHER, id="telling", path=(Step("Quil", "Quil", "age: nine."),))
    assert shown(TASK, "foreign", at(tiny_chat, (TASK, twin, part, telling, OTHER))) == "Quil > mayor: Zed."
    drawn = {shown(TASK, "foreign", at(tiny_chat, (TASK, twin, part, telling), key)) for key in range(20)}
    assert drawn <= {"Tamsin > source: Oum.", "Quil > age: nine."}, "where every other tells, any other"
    with pytest.raises(InputError, match=r"no other question's path for the task q among the 3 .* phase's episodes"):
        shown(TASK, "foreign", at(tiny_chat, (TASK, twin, replace(OTHER, path=()))))


@pytest.mark.parametrize("privilege", ["true", "half", "evidence", "foreign"])
def test_a_missing_path_is_an_error(tiny_chat: Chat, privilege: str) -> None:
    bare = replace(TASK, path=())
    for game in (Study(privilege=privilege), PrivilegedStudy(privilege=privilege)):
        with pytest.raises(InputError, match=r"the task q has no path, .* options.privilege to \"none\""):
            viewed(tiny_chat, game, bare)
    assert shown(bare, "none", at(tiny_chat)) == ""
    assert shown(bare, "answer", at(tiny_chat)) == "9"
    with pytest.raises(InputError, match="the task q has no answer"):
        shown(replace(bare, answers=()), "answer", at(tiny_chat))


@pytest.mark.parametrize("given", ["true", "none", "half"])
def test_the_command_line_names_a_privilege(given: str) -> None:
    """The word ``true`` is a boolean in TOML."""
    config = load_config("smoke", {"phases.study.options.privilege": given})
    game = make_game(config.phases[-1], {})
    assert isinstance(game, Study)
    assert game.privilege == given


@pytest.mark.parametrize("given", ["false", "whole", "1"])
def test_another_word_is_refused_with_those_that_there_are(given: str) -> None:
    config = load_config("smoke", {"phases.study.options.privilege": given})
    with pytest.raises(InputError, match=r"privilege of the game pi_play:Study: .*'true', 'half', 'answer'"):
        make_game(config.phases[-1], {})


def test_an_empty_slot_is_not_the_students_prompt(tiny_chat: Chat) -> None:
    episode, _ = viewed(tiny_chat, Study(privilege="none"))
    own = episode.trajectories[0].trajectory
    assert not np.array_equal(episode.trajectories[0].views["privileged"], own.ids_T[: own.prompt_len])
