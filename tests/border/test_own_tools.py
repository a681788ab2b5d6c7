"""What a tool, an environment or an engine of one's own does wrong is one sentence that names it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from border_helpers import ADD, Add, Guess, Sums, loop_of, settings
from toys.models import toy_tokenizer
from toys.scripted import says

from piplay.border.code import name_of, own
from piplay.border.play import tasks_of
from piplay.chat.base import Chat
from piplay.chat.native import Native
from piplay.engine.protocol import EngineLost, Generate
from piplay.errors import InputError, Unavailable
from piplay.rollout.context import Context
from piplay.rollout.tools import ToolError
from piplay.training.assemble import check_parts, load_engine, load_environment
from piplay.training.sources import WrittenSource
from piplay.types import Episode, ScoredTrajectory, StopReason, Task, ToolCall, ToolResult

HERE = Path(__file__).name


@pytest.fixture(scope="module")
def adding() -> Chat:
    """A chat whose models are told of ``add``."""
    return Native(toy_tokenizer("qwen3"), (ADD,))


def calls(request: Generate) -> str:
    """Each role calls once, then answers."""
    if request.key[-1]:
        return says("5")
    return f"<tool_call>{json.dumps({'name': 'add', 'arguments': {'a': 2, 'b': 3}})}</tool_call>"


class Calls(Guess):
    async def play(self, task: Task, context: Context) -> Episode:
        trajectory = await context.converse("guesser", "Add.", "2 + 3 =")
        return Episode(context.key, task, (ScoredTrajectory(trajectory, ("all",), float(trajectory.answer == "5")),))


def sums(answer: Any) -> Sums:
    environment = Sums()
    environment.tools = (type("Wrong", (Add,), {"answer": answer})(),)  # type: ignore[misc]
    return environment


ROOM = {"limits": {"tokens": 2000, "turn_tokens": 200}}


def test_a_tool_that_is_right_is_used(adding: Chat, tmp_path: Path) -> None:
    loop = loop_of(settings(f"{__name__}:Calls", **ROOM), adding, tmp_path / "run", script=calls)
    loop.train()
    assert [row["guesser/reward"] for row in loop.run.rows()] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda self, asked: 1 / 0, rf":Wrong.answer raised ZeroDivisionError.*\({HERE}, line \d+\)"),
        (lambda self, asked: [], r":Wrong.answer gave 0 results for 2 calls: give one each, in their order"),
        (lambda self, asked: ["5"] * len(asked), r":Wrong.answer gave '5' for a call: give a ToolResult\(text\)"),
        (lambda self, asked: None, r":Wrong.answer gave None: give a list of ToolResult"),
        (lambda self, asked: [ToolResult(5)] * len(asked), r":Wrong.answer: a result's text is 5"),
    ],
)
@pytest.mark.parametrize("deterministic", [True, False])
def test_a_tool_that_is_wrong_is_named(
    adding: Chat, tmp_path: Path, answer: Any, sentence: str, deterministic: bool
) -> None:
    loop = loop_of(settings(f"{__name__}:Calls", **ROOM), adding, tmp_path / "run", sums(answer), calls)
    loop.engine.deterministic = deterministic
    with pytest.raises(InputError, match=sentence):
        loop.train()


def test_a_step_whose_tools_fail_is_not_learnt_from(adding: Chat, tmp_path: Path) -> None:
    def down(self: Any, asked: Any) -> Any:
        raise ToolError("down")

    loop = loop_of(settings(f"{__name__}:Calls", **ROOM), adding, tmp_path / "run", sums(down), calls)
    with pytest.raises(Unavailable, match=r"the tool add failed in 2 of 2 trajectories \(down\).*piplay resume"):
        loop.train()
    assert loop.run.rows() == []
    assert loop.run.state().commits == 2, "before training, and again before it ended"


def test_a_failure_that_is_tolerated_is_left_out_with_its_reason(
    adding: Chat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("piplay.training.loop.TOLERATED", 1.0)

    def down(self: Any, asked: Any) -> Any:
        raise ToolError("down")

    loop = loop_of(settings(f"{__name__}:Calls", **ROOM), adding, tmp_path / "run", sums(down), calls)
    loop.train()
    assert [row[f"guesser/stop/{StopReason.TOOL_FAILED}"] for row in loop.run.rows()] == [1.0, 1.0]
    assert set(loop.run.rollouts["failure"].to_pylist()) == {"down"}


def test_a_tools_failure_that_a_game_raises_is_the_games(
    adding: Chat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Raising(Guess):
        async def play(self, task: Task, context: Context) -> Episode:
            raise ToolError("down")

    monkeypatch.setitem(globals(), "Now", Raising)
    with pytest.raises(InputError, match=r"game raised ToolError: down \(test_own_tools.py, line \d+\), as tools"):
        loop_of(settings(f"{__name__}:Now", **ROOM), adding, tmp_path / "run").train()


def using(call: Any) -> type[Guess]:
    class Using(Guess):
        async def play(self, task: Task, context: Context) -> Episode:
            line = context.open("guesser", "Add.", "2 + 3 =")
            await line.say()
            await line.use(call)
            return Episode(context.key, task, (ScoredTrajectory(await line.close(), ("all",)),))

    return Using


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (ToolCall("ad", {"a": 1, "b": 2}), r"there is no tool 'ad' \(did you mean 'add'\?\): there are add"),
        (ToolCall("add", {"a": 1}), r"do not fit the tool 'add': 'b' is a required property"),
        (ToolCall("add", {"a": 1, "b": "two"}), r"do not fit the tool 'add': 'two' is not of type 'integer'"),
        (None, r"a tool used after a turn of the role 'guesser' that calls none"),
    ],
)
def test_a_games_own_call_has_to_fit_the_tool(
    adding: Chat, tmp_path: Path, call: Any, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "Now", using(call))
    with pytest.raises(InputError, match=sentence):
        loop_of(settings(f"{__name__}:Now", **ROOM), adding, tmp_path / "run").train()


def test_a_games_own_call_that_fits_is_answered(adding: Chat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "Now", using(ToolCall("add", {"a": 1, "b": 2})))
    loop = loop_of(settings(f"{__name__}:Now", **ROOM), adding, tmp_path / "run")
    loop.train()
    assert loop.run.rows()[0]["guesser/tool_calls"] == 1


class Specless(Add):
    spec = "add"  # type: ignore[assignment]


ENVIRONMENTS: dict[str, tuple[dict[str, Any], str]] = {
    "tools": ({"tools": ...}, r":Now has no 'tools': an environment needs tools, heldout, audit and describe"),
    "heldout": ({"heldout": ...}, r":Now has no 'heldout'"),
    "audit": ({"audit": ...}, r":Now has no 'audit'"),
    "describe": ({"describe": ...}, r":Now has no 'describe'"),
    "one tool": ({"tools": Add()}, r":Now.tools is a Add: give a tuple of tools"),
    "a class": ({"tools": (Add,)}, r":Now.tools holds the class border_helpers:Add: make an object of it"),
    "no answer": ({"tools": (object(),)}, r"object has no method 'answer': a tool needs answer"),
    "no spec": ({"tools": (Specless(),)}, r":Specless.spec is 'add': give a ToolSpec"),
}


@pytest.mark.parametrize("case", ENVIRONMENTS)
def test_an_environment_that_lacks_a_part_is_refused_when_it_is_made(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes, sentence = ENVIRONMENTS[case]
    parts = {key: value for key, value in vars(Sums).items() if not key.startswith("__")} | changes
    kind = type("Now", (), {key: value for key, value in parts.items() if value is not ...})
    monkeypatch.setitem(globals(), "Now", kind)
    with pytest.raises(InputError, match=sentence):
        load_environment(settings("border_helpers:Guess", environment=f"{__name__}:Now"))


def test_an_environment_that_raises_is_named_with_file_and_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Sums):
        def __init__(self) -> None:
            raise FileNotFoundError("no map")

    monkeypatch.setitem(globals(), "Now", Broken)
    with pytest.raises(InputError, match=rf"Broken raised FileNotFoundError: no map \({HERE}, line \d+\)"):
        load_environment(settings("border_helpers:Guess", environment=f"{__name__}:Now"))


def test_an_engine_needs_start_and_its_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    config = settings("border_helpers:Guess", engine={"kind": "border_helpers:Rounds"})
    with pytest.raises(InputError, match=r"border_helpers:Rounds has no method 'start'|needs start"):
        check_parts(config, Sums())
    half = type("Half", (), {"start": classmethod(lambda cls, *given, seed: cls())})
    monkeypatch.setitem(globals(), "Now", half)
    with pytest.raises(InputError, match=r":Half has no method 'submit': an engine needs submit, ready"):
        load_engine(settings("border_helpers:Guess", engine={"kind": f"{__name__}:Now"}))
    with pytest.raises(InputError, match=r"IdleEngine.start raised AssertionError.*line \d+\)"):
        load_engine(settings("border_helpers:Guess", engine={"kind": "border_helpers:IdleEngine"}))


@pytest.mark.parametrize("error", [InputError("one"), EngineLost("two"), MemoryError("three"), KeyboardInterrupt()])
def test_what_means_something_to_the_package_passes(error: BaseException) -> None:
    with pytest.raises(type(error)) as raised, own("mine:Game.play"):
        raise error
    assert raised.value is error


def test_an_error_of_the_package_itself_is_no_one_elses() -> None:
    with pytest.raises(ZeroDivisionError):
        tasks_of(WrittenSource({}, 0), ("m1", "play", 0), 2)


def test_names_are_those_of_a_recipe() -> None:
    assert name_of(Guess) == name_of(Guess()) == "border_helpers:Guess"
    assert name_of(Guess().play) == "border_helpers:Guess.play"
    assert name_of(calls) == f"{__name__}:calls"
