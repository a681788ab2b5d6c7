"""The solver against an independent walk, and what it says of questions that are not true."""

import itertools

import numpy as np
import pytest

from piplay.envs.world.generate import encyclopedia, varied
from piplay.envs.world.questions import BENCHMARK_FORMS, EXAMINER_FORM, Solver, Verdict, ask, chain_phrase
from piplay.envs.world.records import Entity, Records


def walk(entities, start, relations):
    """The end of a chain, by scanning the entities for each step."""
    value = start
    for relation in relations:
        [value] = [e.facts[relation] for e in entities if e.name == value]
    return value


def awkward():
    """Names and relations that hold the words a question is made of."""
    return Records(
        (
            Entity("Bank of Dor", "bank", {"date of birth": "1900", "head of state": "O'Brien's of the Sea"}),
            Entity("O'Brien's of the Sea", "pub", {"owner": "libfoo-1.2", "date of birth": "1901"}, ("The Sea",)),
            Entity("libfoo-1.2", "package", {"state": "The Hague", "section": "utils", "owner": "Bank of Dor"}),
            Entity("The Hague", "city", {"head": "Dor", "bank": "Bank of Dor"}),
            Entity("Dor", "city", {"bank": "libfoo-1.2", "head of state": "James'"}),
            Entity("James'", "person", {"owner": "Mr. D.", "the end": "Dor"}),
            Entity("Mr. D.", "person", {"date": "May of 1900", "owner": "What is it?"}),
            Entity("What is it?", "book", {"owner": "Dor"}),
        )
    )


@pytest.mark.slow
@pytest.mark.parametrize("records", [encyclopedia(0, 150), varied(1), varied(2), varied(3), awkward()])
@pytest.mark.parametrize("form", [*BENCHMARK_FORMS, EXAMINER_FORM])
def test_the_solver_agrees_with_a_walk(records, form):
    rng = np.random.default_rng(0)
    checked = 0
    solver = Solver(records)
    for entity, hops in itertools.product(records.entities, (1, 2, 3, 4)):
        chains = list(itertools.islice(records.chains(entity.name, hops), 6))
        for start in (entity.name, *entity.aliases):
            for relations in chains:
                expected = walk(records.entities, entity.name, relations)
                solution = solver.solve(ask(rng, start, relations, (form,)))
                assert solution.verdict is Verdict.TRUE
                assert solution.answers[0] == expected
                assert solution.relations == relations
                assert solution.start == entity.name
                checked += 1
    assert checked > 20


def test_a_possessive_question_is_read():
    records = awkward()
    chains = [
        ("O'Brien's of the Sea", ("owner", "section")),
        ("James'", ("the end", "bank")),
        ("Dor", ("bank", "state")),
    ]
    for start, relations in chains:
        question = f"Which is the {chain_phrase(start, relations, possessive=True)}?"
        assert f"{start}'s {relations[0]}" in question
        assert Solver(records).solve(question).answers == (walk(records.entities, start, relations),)


def test_case_spaces_and_curly_apostrophes_do_not_matter():
    solver = Solver(awkward())
    for question in (
        "what is the OWNER of  the state of libfoo-1.2 's?",
        "Hello",
    ):
        assert solver.solve(question).verdict is not Verdict.TRUE
    assert solver.solve("  tell me the Date Of Birth\n of bank of DOR ").answers == ("1900",)
    assert solver.solve("Name the owner of O’Brien’s of the Sea.").answers == ("libfoo-1.2",)
    assert solver.solve("What is the owner of the sea?").answers == ("libfoo-1.2",)


def test_aliases_are_answers():
    assert Solver(awkward()).solve("Name the head of state of Bank of Dor.").answers == (
        "O'Brien's of the Sea",
        "The Sea",
    )


def test_the_reading_that_exists_wins():
    """ "state of X" of "head", or "head of state" of "X": only the second chain exists, then only the first."""
    facts = {"head of state": "Ann", "state": "Ulm", "head": "Bo"}
    x = Entity("X", "thing", {"head of state": "Ann"})
    words = Entity("Y", "thing", {k: v for k, v in facts.items() if k != "head of state"})
    ulm = Entity("Ulm", "thing", {"head": "Cy"})
    solver = Solver(Records((x, words, ulm)))
    assert solver.solve("What is the head of state of X?").answers == ("Ann",)
    assert solver.solve("What is the head of state of Y?").answers == ("Cy",)
    both = Solver(Records((Entity("Z", "thing", facts), ulm)))
    assert both.solve("What is the head of state of Z?").answers == ("Ann",)


@pytest.mark.parametrize(
    ("question", "answer", "verdict"),
    [
        ("What is the owner of Dor's bank?", "the BANK of Dor!", Verdict.TRUE),
        ("What is the head of state of Bank of Dor?", "Sea", Verdict.TRUE),
        ("What is the owner of Dor's bank?", "Dor", Verdict.FALSE),
        ("What is the owner of Dor's bank?", "", Verdict.FALSE),
        ("What is the section of Dor?", "utils", Verdict.ILL_TYPED),
        ("What is the colour of Dor?", "red", Verdict.ILL_TYPED),
        ("What is the bank of Nowhere?", "Dor", Verdict.ILL_TYPED),
        ("What is the owner of the colour of Dor's bank?", "Dor", Verdict.ILL_TYPED),
        ("What is the bank?", "Dor", Verdict.UNKNOWN),
        ("What is Dor?", "a city", Verdict.UNKNOWN),
        ("Is Dor a city?", "yes", Verdict.UNKNOWN),
        ("", "", Verdict.UNKNOWN),
    ],
)
def test_verdicts(question, answer, verdict):
    assert Solver(awkward()).judge(question, answer) is verdict


def test_a_very_long_question_is_judged_in_time():
    solver = Solver(awkward())
    assert solver.judge("What is the " + "owner of the " * 3000 + "Dor?", "x") is Verdict.ILL_TYPED
    assert solver.judge("What is the " + " of " * 3000, "x") is Verdict.ILL_TYPED
