"""Splits and questions."""

from collections import Counter

import pytest

from piplay.envs.search.match import contains
from piplay.envs.world.benchmark import questions, split
from piplay.envs.world.generate import encyclopedia
from piplay.envs.world.questions import BENCHMARK_FORMS, EXAMINER_FORM, Solver, Verdict
from piplay.envs.world.records import Entity, Records
from piplay.envs.world.store import default_world

WORLD = default_world(0)
BOTH = [*WORLD.train, *WORLD.heldout]


def test_the_split_is_whole_and_disjoint():
    records = encyclopedia(0)
    train, heldout = split(records, 0)
    assert not set(train) & set(heldout)
    assert set(train) | set(heldout) == set(records.by_name)
    assert len(train) / len(records.entities) == pytest.approx(0.7, abs=0.01)
    assert split(records, 1)[0] != train
    assert WORLD.train_ids == frozenset(train)


def test_an_entity_without_facts_starts_nothing():
    records = Records((Entity("A", "x", {"r": "B"}), Entity("B", "x", {}), Entity("C", "x", {"r": "A"})))
    train, heldout = split(records, 0)
    assert sorted([*train, *heldout]) == ["A", "C"]


def test_heldout_questions_start_elsewhere():
    assert not {q.path[0].query for q in WORLD.heldout} & WORLD.train_ids
    assert {q.path[0].query for q in WORLD.train} <= WORLD.train_ids
    assert not {q.question for q in WORLD.heldout} & {q.question for q in WORLD.train}
    assert len({q.id for q in BOTH}) == len(BOTH)


def test_there_are_as_many_questions_as_asked_for():
    for asked in (WORLD.train, WORLD.heldout):
        assert Counter(q.hops for q in asked) == {1: 100, 2: 100, 3: 100, 4: 100}


def test_a_question_is_the_chain_that_it_says():
    solver = Solver(WORLD.records)
    for question in BOTH:
        value = question.path[0].query
        for hop in question.path:
            assert hop.query == value
            value = WORLD.records.by_name[hop.query].facts[hop.relation]
            assert hop.value == value
        assert len(question.path) == question.hops
        visited = [question.path[0].query, *(hop.value for hop in question.path)]
        assert len(set(visited)) == len(visited)
        entity = WORLD.records.by_name.get(value)
        assert question.answers == (value, *(entity.aliases if entity else ()))
        assert solver.judge(question.question, value) is Verdict.TRUE


def test_no_chain_is_asked_twice():
    for asked in (WORLD.train, WORLD.heldout):
        chains = {(q.path[0].query, tuple(hop.relation for hop in q.path)) for q in asked}
        assert len(chains) == len(asked)


@pytest.mark.slow
def test_no_gold_stands_in_its_question():
    assert any(len(q.answers) > 1 for q in BOTH)
    assert not [q for q in BOTH for answer in q.answers if contains(q.question, answer)]
    records = Records((Entity("New Ulm", "x", {"root": "Ulm", "size": "9", "dash": "?"}), Entity("Ulm", "x", {})))
    asked = questions(records, ["New Ulm"], 0, hops=(1,))
    assert [q.answers for q in asked] == [("9",)]
    known = Entity("Bonn", "x", {}, aliases=("Old Ulm",))
    records = Records((Entity("Old Ulm Bridge", "x", {"end": "Bonn", "size": "9"}), known))
    assert [q.answers for q in questions(records, ["Old Ulm Bridge"], 0, hops=(1,))] == [("9",)]


def test_questions_are_phrased_otherwise_than_the_examiners():
    leads = {form.split("{")[0] for form in BENCHMARK_FORMS}
    assert EXAMINER_FORM.split("{")[0] not in leads
    seen = {lead for q in BOTH for lead in leads if q.question.startswith(lead)}
    assert seen == leads
    assert all(any(q.question.startswith(lead) for lead in leads) for q in BOTH)


def test_starts_and_last_relations_are_balanced():
    ones = [q for q in WORLD.heldout if q.hops == 1]
    assert len({q.path[0].query for q in ones}) == len(ones)
    assert max(Counter(q.path[-1].relation for q in ones).values()) <= 8


def test_a_hub_does_not_own_the_questions():
    """All rows lead to one hub, one in twenty elsewhere: the other relations are asked as often."""
    rows = [Entity(f"row{i}", "x", {"hub": "Hub", "other": f"row{(i * 7 + 1) % 200}"}) for i in range(200)]
    records = Records((*rows, Entity("Hub", "x", {"a": "1", "b": "2", "c": "3", "d": "4"})))
    asked = questions(records, [e.name for e in rows], 0, per_hop=60, hops=(2,))
    lasts = Counter(q.path[-1].relation for q in asked)
    assert len(asked) == 60
    assert max(lasts.values()) <= 2 * min(lasts[r] for r in ("a", "b", "c", "d", "other"))


@pytest.mark.slow
def test_a_world_with_few_chains_gives_all_of_them_and_ends():
    line = [Entity(f"n{i}", "x", {"next": f"n{i + 1}"}) for i in range(5)]
    records = Records(tuple(line))
    asked = questions(records, [e.name for e in line], 0)
    assert Counter(q.hops for q in asked) == {1: 5, 2: 4, 3: 3, 4: 2}
    assert questions(records, [], 0) == []


def test_seeds_and_labels():
    records = encyclopedia(0, 150)
    starts = list(records.by_name)
    assert questions(records, starts, 5, 10) == questions(records, starts, 5, 10)
    assert questions(records, starts, 5, 10) != questions(records, starts, 6, 10)
    assert questions(records, starts, 5, 2, hops=(3,), label="dev")[1].id == "dev-3-2"
