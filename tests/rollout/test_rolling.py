"""Coroutines that join while others are played, fail alone, and are dropped without a trace."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
from toys.scripted import DictSearcher, ScriptedEngine, context, says, searching, tools

from piplay.chat.base import Chat
from piplay.engine.protocol import EngineLost, Generate
from piplay.envs.search.question import Passage, Question
from piplay.methods.pi_play.game import Study
from piplay.rollout.context import Context
from piplay.rollout.rolling import Event, Rolling
from piplay.rollout.tools import Tool
from piplay.types import Episode

BOR = Passage("p1", "Bor", "Bor lies on the Tamsin.")


def script(request: Generate) -> str:
    return searching("Bor") if request.key[-1] == 0 else says(f"answer {request.key[1]}")


def never() -> bool:
    return False


def study(chat: Chat, number: int) -> Any:
    return Study(rollouts=2, privilege="none").play(Question("q", question="Where?"), context(chat, ("ask", number)))


def answers(episode: Episode) -> list[str]:
    return [scored.trajectory.answer for scored in episode.trajectories]


def rolling(chat: Chat, write: Callable[[Generate], str] = script) -> tuple[Rolling, ScriptedEngine]:
    engine = ScriptedEngine(chat, write, choose=lambda requests: requests[:1])
    return Rolling(engine, tools(DictSearcher([BOR]))), engine


def ends(playing: Rolling) -> dict[int, Any]:
    found: dict[int, Any] = {}
    while events := playing.step(never):
        found |= {event.number: event.result for event in events if event.request is None}
    return found


def test_what_joins_while_others_are_played_is_played_as_alone(tiny_chat: Chat) -> None:
    playing, _ = rolling(tiny_chat)
    first = playing.begin(study(tiny_chat, 1))
    events = [event for _ in range(2) for event in playing.step(never)]
    second = playing.begin(study(tiny_chat, 2))
    found = ends(playing)
    assert all(isinstance(event, Event) and event.number == first for event in events)
    assert {number: answers(episode) for number, episode in found.items()} == {
        first: ["answer 1"] * 2,
        second: ["answer 2"] * 2,
    }


def test_what_is_dropped_leaves_no_turn_no_session_and_no_warning(tiny_chat: Chat) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        playing, engine = rolling(tiny_chat)
        first, second, unbegun = (playing.begin(study(tiny_chat, number)) for number in (1, 2, 3))
        playing.drop(unbegun)
        playing.step(never)
        assert {request.key[1] for request in engine.pending} == {1, 2}
        playing.drop(first)
        assert {request.key[1] for request in engine.pending} == {2}
        assert {key[1] for key in engine.closed} == {1}
        assert {number: answers(episode) for number, episode in ends(playing).items()} == {second: ["answer 2"] * 2}
        playing.drop(second)
        playing.begin(study(tiny_chat, 4))
        playing.step(never)
        playing.close()


def test_one_that_fails_ends_alone(tiny_chat: Chat) -> None:
    async def broken(context: Context) -> None:
        await context.gather([context.child(0).converse("student", "s", "u"), failing()])

    async def failing() -> None:
        raise KeyError("mine")

    playing, _ = rolling(tiny_chat)
    bad, good = playing.begin(broken(context(tiny_chat, ("ask", 1)))), playing.begin(study(tiny_chat, 2))
    found = ends(playing)
    assert "mine" in str(found[bad])
    assert answers(found[good]) == ["answer 2"] * 2


def test_a_lost_engine_ends_all(tiny_chat: Chat) -> None:
    def lost(request: Generate) -> str:
        raise EngineLost("gone")

    playing, _ = rolling(tiny_chat, lost)
    playing.begin(study(tiny_chat, 1))
    with pytest.raises(EngineLost):
        playing.step(never)


def test_a_tool_that_takes_long_does_not_hold_up_who_comes(tiny_chat: Chat) -> None:
    import threading

    go = threading.Event()

    class Slow(DictSearcher):
        def search(self, queries: Any, k: int) -> Any:
            assert go.wait(20)
            return super().search(queries, k)

    engine = ScriptedEngine(tiny_chat, script)
    there: dict[str, Tool] = tools(Slow([BOR]))
    playing = Rolling(engine, there)
    playing.begin(study(tiny_chat, 1))
    for _ in range(3):
        playing.step(never)
    playing.begin(study(tiny_chat, 2))
    assert {event.number for event in playing.step(never)} == {2}
    go.set()
    while not (found := ends(playing)):
        pass
    assert len(found) + len(ends(playing)) == 2
