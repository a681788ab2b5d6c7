"""Lessons in every chat: what is taught is, token for token, what a rollout plays; and what hints teach."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toys.models import toy_model
from toys.scripted import DictSearcher, ScriptedEngine, context, tools

from piplay.algo.losses.nll import NllLoss
from piplay.chat.base import Chat
from piplay.engine.local.engine import LocalEngine
from piplay.envs.search.tool import SEARCH, query_of, searches
from piplay.envs.world.generate import encyclopedia, varied
from piplay.envs.world.questions import Solver
from piplay.envs.world.render import passage
from piplay.errors import InputError
from piplay.methods.pi_play.views import EXAMINER, examiner_view
from piplay.rollout.driver import drive
from piplay.settings import Limits, Policy
from piplay.training.assemble import load_chat
from piplay.types import Owner, PolicyRef, Sample, StopReason, Trajectory
from piplay.warm_up.classroom import HINTS, Classroom
from piplay.warm_up.game import Teach
from piplay.warm_up.lesson import Lesson
from piplay.warm_up.mixtures import MIXTURES
from piplay.warm_up.source import Lessons

LEARNER = {"learner": PolicyRef("student")}


def classroom(goes_on: float = 0.0, records: object = None) -> Classroom:
    known = records or varied(5, simple=True)
    texts = {entity.name: passage(known, entity, 5, plain=True) for entity in known.entities}
    return Classroom(known, texts, np.random.default_rng(0), goes_on)


def put_down(lesson: Lesson, chat: Chat) -> Trajectory:
    [episode] = drive([Teach().play(lesson, replace(context(chat), seats=LEARNER))], ScriptedEngine(chat, str), {})
    return episode.trajectories[0].trajectory


def learnt_by_heart(engine: LocalEngine, lesson: Trajectory) -> None:
    """Fifty steps on one lesson."""
    weights = (lesson.owner_T == Owner.MODEL).astype(np.float32)
    sample = Sample(
        ("a",), "student", PolicyRef("student"), ("a",), lesson.ids_T, lesson.owner_T, lesson.logprobs_T, 0.0,
        {"nll": weights / weights.sum()}, lesson.prompt_len,
    )  # fmt: skip
    for _ in range(50):
        engine.train("student", [sample], {"nll": NllLoss()}, 0.01)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "protocol"),
    [
        ("qwen3", "native"),
        pytest.param("qwen2", "native", marks=pytest.mark.long),
        pytest.param("llama", "native", marks=pytest.mark.long),
        pytest.param("qwen3", "chat", marks=pytest.mark.long),
        ("base", "tags"),
    ],
)
def test_a_lesson_learnt_by_heart_is_played_token_for_token(tmp_path: Path, kind: str, protocol: str) -> None:
    """In every family's shape and in all chats: the tool is called, answers, and a question is written."""
    model = toy_model(kind, tmp_path / "model")
    chat = load_chat(model, protocol, (SEARCH,))
    room = classroom()
    start, relations = next(chain for chain in iter(lambda: room.chain(2), 0) if chain)
    lesson = put_down(room.examine((start, relations)), chat)
    engine = LocalEngine(model, {"student": Policy()}, seed=0, slots=2, threads=1, micro_batch_tokens=4096)
    learnt_by_heart(engine, lesson)
    alone = replace(context(chat, temperature=0.0), seats={"examiner": PolicyRef("student")})
    played_alone = alone.converse("examiner", EXAMINER, examiner_view(room.passages[start], 2))
    [played] = drive([played_alone], engine, tools(DictSearcher(list(room.passages.values()))))
    assert played.stop is StopReason.ANSWERED
    assert [query_of(use.call) for use in searches(played)] == [room.records.by_name[start].facts[relations[0]]]
    assert played.answer.startswith("Question: ")
    np.testing.assert_array_equal(played.ids_T, lesson.ids_T)
    np.testing.assert_array_equal(played.owner_T, lesson.owner_T)


def test_before_each_search_a_student_says_what_is_still_asked() -> None:
    room = classroom()
    solver = Solver(room.records)
    chains = [found for _ in range(60) if (found := room.chain(3))]
    assert len(chains) > 20
    for chain in chains:
        lesson, values = room.study(chain, "true"), room.values(chain)
        assert [query_of(said.call) for said in lesson.said if said.call] == values[:-1]
        for hop, said in enumerate(lesson.said[:-1]):
            read = solver.solve(f"What is the {said.think.split('. ')[-1].strip()}?")
            assert (read.start, read.relations) == (values[hop], chain[1][hop:])
        assert (lesson.said[-1].think, lesson.said[-1].content) == (f"{chain[1][-1]}: {values[-1]}.", values[-1])


@pytest.mark.slow
@pytest.mark.parametrize("hint", HINTS)
@pytest.mark.parametrize("hops", [2, 3, 4])
def test_a_student_goes_on_only_where_its_hint_names_what_it_has_found(hint: str, hops: int) -> None:
    """Read off the text of the view alone: a query of the path is what stands before " > "."""
    room = classroom(records=encyclopedia(9, 60))
    ends = Counter[int]()
    for _ in range(150):
        chain = room.chain(hops)
        if chain is None:
            continue
        lesson, values = room.study(chain, hint), room.values(chain)
        shown = lesson.view.partition(" Path:")[2]
        named = {step.rpartition(". ")[2].strip() for step in shown.split(" > ")[:-1]}
        searched = [query_of(said.call) for said in lesson.said if said.call]
        expected = 1
        while expected < hops and values[expected] in named:
            expected += 1
        assert searched == values[:expected]
        assert lesson.said[-1].content == values[expected]
        assert len(lesson.found) == expected
        ends[expected] += 1
        if hint != "foreign":  # in a small world there may be no other path
            assert (" Path:" in lesson.view) == (hint != "alone")
    assert ends.total() > 50
    if hint == "true":
        assert set(ends) == {hops}
    elif hint == "half":
        assert set(ends) > {1}, "the first steps are not always those that are left out"
    else:
        assert set(ends) == {1}


def test_a_reader_is_shown_all_that_it_needs_and_no_path() -> None:
    room = classroom(records=encyclopedia(9, 60))
    for chain in [chain for _ in range(50) if (chain := room.chain(2))]:
        lesson, values = room.answer(chain), room.values(chain)
        assert all(room.passages[value].text in lesson.view for value in values[:-1])
        assert (lesson.said[0].content, lesson.found) == (values[-1], ())
        assert values[-1] in lesson.view
        assert " > " not in lesson.view


@pytest.mark.slow
def test_how_often_an_unaided_student_goes_on_is_what_is_asked() -> None:
    room = classroom(goes_on=0.3, records=encyclopedia(9, 60))
    lessons = [room.study(chain, "alone") for _ in range(3000) if (chain := room.chain(3))]
    counts = Counter(len(lesson.found) for lesson in lessons)
    for searches_made, share in {1: 0.7, 2: 0.3 * 0.7, 3: 0.3 * 0.3}.items():
        assert counts[searches_made] / len(lessons) == pytest.approx(share, abs=0.03)


@pytest.mark.slow
def test_a_chain_in_order_prefers_what_a_passage_says_first() -> None:
    room = classroom()
    places: dict[bool, Counter[int]] = {True: Counter(), False: Counter()}
    for in_order, counts in places.items():
        for start, (relation,) in (room.chain(1, in_order) for _ in range(3000)):
            text, facts = room.passages[start].text, list(room.records.by_name[start].facts)
            if len(facts) == 6:
                counts[sorted(facts, key=text.find).index(relation)] += 1
    total = places[True].total()
    assert [round(places[True][i] / total, 1) for i in range(3)] == [0.5, 0.3, 0.1]
    assert max(places[False].values()) < 0.3 * places[False].total()


@pytest.mark.slow
def test_lessons_come_by_their_mixture_and_the_same_key_draws_the_same() -> None:
    source = Lessons(None, {}, 3, hints=("alone", "true"))
    lessons = source.draw(("m1", "learn", 0), 1500)
    assert lessons == Lessons(None, {}, 3, hints=("alone", "true")).draw(("m1", "learn", 0), 1500)
    assert lessons[0] != source.draw(("m1", "learn", 1), 1)[0]
    counts = Counter(lesson.teaches for lesson in lessons)
    odds = {
        k: v for k, v in MIXTURES["language_model"].items() if not k.startswith(("half", "foreign", "false", "none"))
    }
    assert set(counts) <= set(odds)
    # Some worlds have no long chains, so only what every world has keeps its odds.
    both, share = counts["read"] + counts["check"], odds["read"] / (odds["read"] + odds["check"])
    assert abs(counts["read"] / both - share) < 4 * (share * (1 - share) / both) ** 0.5
    assert len({lesson.id for lesson in lessons}) == 1500


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mixture": "rols"}, "there is no mixture 'rols' (did you mean 'roles'?)"),
        ({"hints": ("true", "foriegn")}, "there is no hint 'foriegn'"),
        ({"goes_on": 1.5}, "goes_on = 1.5"),
        ({"strange": 0.5}, "name a folder in pieces_of"),
    ],
)
def test_what_lessons_cannot_be_drawn(options: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        Lessons(None, {}, 0, **options)


def test_a_lesson_longer_than_a_trajectory_is_cut_where_its_limit_is(tiny_chat: Chat) -> None:
    room = classroom()
    lesson = next(room.study(chain, "true") for chain in iter(lambda: room.chain(3), 0) if chain)
    assert put_down(lesson, tiny_chat).stop is StopReason.ANSWERED
    short = replace(context(tiny_chat, limits=Limits(turns=2, turn_tokens=200, tokens=4000)), seats=LEARNER)
    [episode] = drive([Teach().play(lesson, short)], ScriptedEngine(tiny_chat, str), {})
    cut = episode.trajectories[0].trajectory
    assert (cut.stop, len(cut.turns)) == (StopReason.TURNS, 2)
