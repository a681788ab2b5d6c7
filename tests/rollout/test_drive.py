"""Many episodes over one engine: no barrier, no shared draws, and no result that depends on the company."""

import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from toys.scripted import DictSearcher, ScriptedEngine, context, says, searching, tools

from piplay.chat.base import Chat
from piplay.engine.local.engine import LocalEngine
from piplay.engine.protocol import Generate
from piplay.envs.search.question import Passage, Question
from piplay.envs.search.tool import query_of
from piplay.errors import InputError
from piplay.methods.pi_play.game import Examine, Study
from piplay.rollout.context import Context, ToolRequest, TurnRequest
from piplay.rollout.driver import drive, watch
from piplay.rollout.tools import ToolError
from piplay.settings import EngineSettings, Limits, Policy
from piplay.training.assemble import load_chat
from piplay.types import Episode, StopReason, Trajectory

PASSAGES = [Passage(f"p{i}", f"Town {i}", f"Town {i} lies on the river R{i}.") for i in range(9)]
TASKS = [Question(f"t{i}", 1 + i % 3, source=passage) for i, passage in enumerate(PASSAGES)]


def play(chat: Chat, engine: object, searcher: object, probes: int = 3, count: int = 9) -> list[Episode]:
    game = Examine({}, probes=probes, gates=())
    coroutines = [game.play(task, context(chat, ("m1", "examine", 0, i))) for i, task in enumerate(TASKS[:count])]
    return drive(coroutines, engine, tools(searcher))


def talk(request: Generate) -> str:
    """An episode's number of turns and its searches follow from its key alone."""
    number, turn = request.key[3], request.key[-1]
    if turn < number % 4:
        return searching(f"Town {(number + turn) % 9}", think=f"turn {turn}")
    if request.policy.name == "examiner":
        return says(f"Question: Which river is {number}? Answer: R{number}", think="done")
    return says(f"R{number if request.key[5] else 0}")


def everything(request: list[Generate]) -> list[Generate]:
    return request


def last_alone(requests: list[Generate]) -> list[Generate]:
    return requests[-1:]


def at_odds(requests: list[Generate]) -> list[Generate]:
    dice = random.Random(len(requests))
    return dice.sample(requests, dice.randint(1, len(requests)))


def flat(episodes: Sequence[Episode]) -> list[tuple[object, ...]]:
    return [
        (e.key, e.written, dict(e.facts), s.reward, s.trajectory.key, s.trajectory.ids_T.tolist())
        for e in episodes
        for s in e.trajectories
    ]


@pytest.mark.parametrize("choose", [last_alone, at_odds])
def test_the_order_in_which_turns_finish_changes_nothing(tiny_chat: Chat, choose) -> None:
    played = [
        play(tiny_chat, ScriptedEngine(tiny_chat, talk, order), DictSearcher(PASSAGES))
        for order in (everything, choose)
    ]
    assert flat(played[0]) == flat(played[1])
    assert {len(e.trajectories[0].trajectory.turns) for e in played[0]} == {1, 2, 3, 4}


def test_no_episode_waits_for_another(tiny_chat: Chat) -> None:
    """The first episode's first turn finishes only when nothing else is left to do."""

    def spare_the_first(requests: list[Generate]) -> list[Generate]:
        return [r for r in requests if r.key[3] != 0] or requests

    engine = ScriptedEngine(tiny_chat, talk, spare_the_first)
    play(tiny_chat, engine, DictSearcher(PASSAGES))
    order = [session[3] for session in engine.closed]
    assert set(order[-4:]) == {0}  # the examiner and three students of episode 0
    assert 0 not in order[:-4]


def test_every_session_is_closed_once(tiny_chat: Chat) -> None:
    engine = ScriptedEngine(tiny_chat, talk)
    play(tiny_chat, engine, DictSearcher(PASSAGES))
    assert Counter(engine.closed) == Counter({request.session for request in engine.seen})


def test_searches_that_are_open_together_are_one_batch(tiny_chat: Chat) -> None:
    searcher = DictSearcher(PASSAGES)
    play(tiny_chat, ScriptedEngine(tiny_chat, talk), searcher, probes=0)
    assert [len(batch) for batch in searcher.batches] == [6, 4, 2]


def test_a_failing_query_stops_only_who_asked(tiny_chat: Chat) -> None:
    def one_asks_down(request: Generate) -> str:
        return searching("down") if request.key[3] == 2 else talk(request)

    whole = play(tiny_chat, ScriptedEngine(tiny_chat, talk), DictSearcher(PASSAGES), probes=0)
    broken = play(tiny_chat, ScriptedEngine(tiny_chat, one_asks_down), DictSearcher(PASSAGES, ["down"]), probes=0)
    assert broken[2].trajectories[0].trajectory.stop is StopReason.TOOL_FAILED
    assert flat(broken[:2] + broken[3:]) == flat(whole[:2] + whole[3:])


def test_no_two_requests_of_a_batch_share_a_key(tiny_chat: Chat) -> None:
    engine = ScriptedEngine(tiny_chat, talk)
    play(tiny_chat, engine, DictSearcher(PASSAGES), probes=5)
    keys = [request.key for request in engine.seen]
    assert len(set(keys)) == len(keys)


def test_students_of_one_question_have_sessions_of_their_own(tiny_chat: Chat) -> None:
    engine = ScriptedEngine(tiny_chat, lambda request: "R1")
    task = Question("t", 1, "Which river?", ("R1",), PASSAGES[0])
    drive([Study(rollouts=5, privilege="none").play(task, context(tiny_chat))], engine, tools(DictSearcher([])))
    assert len({request.session for request in engine.seen}) == 5


async def nested(ctx: Context, depth: int) -> list[object]:
    if depth == 0:
        return list(ctx.key)
    return await ctx.gather(nested(ctx.child(i), depth - 1) for i in range(depth))


def test_watching_tells_every_turn_and_search_once_and_changes_nothing(tiny_chat: Chat) -> None:
    engine, searcher = ScriptedEngine(tiny_chat, talk, last_alone), DictSearcher(PASSAGES, ["Town 1"])
    game = Examine({}, probes=3, gates=())
    coroutines = [game.play(task, context(tiny_chat, ("m1", "examine", 0, i))) for i, task in enumerate(TASKS)]
    watching = watch(coroutines, engine, tools(searcher))
    told: list[tuple[object, object]] = []
    while True:
        try:
            told.append(next(watching))
        except StopIteration as end:
            episodes = end.value
            break
    alone = play(tiny_chat, ScriptedEngine(tiny_chat, talk, last_alone), DictSearcher(PASSAGES, ["Town 1"]))
    assert flat(episodes) == flat(alone)
    turns = {want.generate.key: result.ids.tolist() for want, result in told if isinstance(want, TurnRequest)}
    assert turns.keys() == {request.key for request in engine.seen}
    found = [(query_of(want.call), result) for want, result in told if isinstance(want, ToolRequest)]
    assert len(turns) + len(found) == len(told)
    assert Counter(query for query, _ in found) == Counter(
        json.loads(turn.text.split("<tool_call>")[1].split("</tool_call>")[0])["arguments"]["query"].strip()
        for e in episodes
        for s in e.trajectories
        for turn in s.trajectory.turns
        if turn.call
    )
    for query, result in found:
        assert isinstance(result, ToolError) if query == "Town 1" else [p.title for p in result.data] == [query]


def test_stories_nest_and_an_empty_gathering_is_empty(tiny_chat: Chat) -> None:
    found = drive([nested(context(tiny_chat, ()), 2)], ScriptedEngine(tiny_chat, talk), tools(DictSearcher([])))
    assert found == [[[[0, 0]], [[1, 0]]]]

    async def nobody(ctx: Context) -> list[object]:
        return await ctx.gather(iter(()))

    assert drive([nobody(context(tiny_chat))], ScriptedEngine(tiny_chat, talk), tools(DictSearcher([]))) == [[]]


def test_an_error_in_a_story_is_not_swallowed(tiny_chat: Chat) -> None:
    async def broken(ctx: Context) -> None:
        await ctx.converse("student", "s", "u")
        raise ZeroDivisionError

    with pytest.raises(InputError, match=r"broken raised ZeroDivisionError \(test_drive.py, line \d+\)") as raised:
        drive([broken(context(tiny_chat))], ScriptedEngine(tiny_chat, lambda request: "x"), tools(DictSearcher([])))
    assert isinstance(raised.value.__cause__, ZeroDivisionError)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "protocol"), [("qwen3", "auto"), ("llama", "auto"), ("base", "tags")])
def test_what_an_episode_draws_does_not_depend_on_who_plays_beside_it(
    toy: Callable[[str], Path], kind: str, protocol: str
) -> None:
    chat = load_chat(toy(kind), protocol)
    limits = Limits(turns=2, turn_tokens=16, tokens=1400)

    def played(numbers: Sequence[int], slots: int) -> list[Trajectory]:
        settings = EngineSettings(slots=slots, threads=1, micro_batch_tokens=256)
        engine = LocalEngine.start(toy(kind), {"student": Policy()}, settings, seed=5)
        coroutines = [
            context(chat, ("e", i), limits).converse("student", "Be brief.", PASSAGES[i % 9].text * (1 + i % 3))
            for i in numbers
        ]
        return drive(coroutines, engine, tools(DictSearcher([])))

    together = played(range(12), slots=12)
    crowded = played(range(12), slots=3)
    alone = [played([i], slots=1)[0] for i in range(0, 12, 3)]
    for one, other in [*zip(together[::3], alone, strict=True), *zip(together, crowded, strict=True)]:
        np.testing.assert_array_equal(one.ids_T, other.ids_T)
        np.testing.assert_allclose(one.logprobs_T, other.logprobs_T, atol=1e-5, rtol=0)
    assert len({tuple(trajectory.ids_T[-8:].tolist()) for trajectory in together}) == 12
