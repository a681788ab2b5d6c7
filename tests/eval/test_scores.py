"""What answers amount to, on episodes made by hand."""

from math import comb

import pytest
from toys.scripted import told, turn, used

from piplay.envs.search.question import Question
from piplay.eval.scores import by_hops, differences, ks, records, summary
from piplay.types import Episode, ScoredTrajectory, StopReason


def answered(answer: str, searches: int = 0, stop: StopReason = StopReason.ANSWERED) -> ScoredTrajectory:
    turns = [turn(query=f"q{i}") for i in range(searches)] + [turn(answer)]
    return ScoredTrajectory(told(turns, [used(f"q{i}", ()) for i in range(searches)], stop, "student"), ("q",))


def played(task: Question, *scored: ScoredTrajectory) -> Episode:
    return Episode((task.id,), task, scored)


ONE = Question("one", 1, "Where is Bor?", ("on the Tamsin", "Tamsin"))
TWO = Question("two", 2, "Who?", ("Oum",))
THREE = Question("three", 2, "When?", ("1201",))
FOUR = Question("four", 0, "Why?", ("no one knows",))
TASKS = (ONE, TWO, THREE, FOUR)
GREEDY = [
    played(ONE, answered("the Tamsin", 1)),
    played(TWO, answered("Oum of Bor", 2)),
    played(THREE, answered("1201", 3, StopReason.TURNS)),
    played(FOUR, answered("no one", 0)),
]
SAMPLED = [
    played(task, *(answered(task.answers[-1] if i < n else "x") for i in range(4))) for n, task in enumerate(TASKS)
]


def test_a_record_is_the_question_its_answer_and_its_samples() -> None:
    row = records(GREEDY, SAMPLED)[1].row("mine")
    samples = row.pop("samples")
    assert row == {
        "model": "mine",
        "id": "two",
        "hops": 2,
        "question": "Who?",
        "golds": ("Oum",),
        "answer": "Oum of Bor",
        "em": 0.0,
        "f1": pytest.approx(0.5),
        "cover_em": 1.0,
        "f1_flashrag": pytest.approx(0.5),
        "cover_em_flashrag": 1.0,
        "queries": ("q0", "q1"),
        "stop": "answered",
    }
    assert [sample["em"] for sample in samples] == [1.0, 0.0, 0.0, 0.0]
    assert records(GREEDY, ())[3].row("mine")["hops"] is None
    assert records(GREEDY, ())[3].row("mine")["samples"] == []


def test_an_answer_that_a_limit_cut_off_is_none() -> None:
    cut = records(GREEDY, ())[2].greedy
    assert (cut.answer, cut.em, cut.f1, cut.cover_em, cut.stop) == ("", 0.0, 0.0, 0.0, "turns")


def test_what_has_no_hop_count_is_under_all_alone() -> None:
    groups = by_hops(records(GREEDY, ()))
    assert {group: [record.task.id for record in members] for group, members in groups.items()} == {
        "1": ["one"],
        "2": ["two", "three"],
        "all": ["one", "two", "three", "four"],
    }


def test_numbers_by_hop_and_over_all() -> None:
    numbers = summary(records(GREEDY, SAMPLED), 0)
    assert list(numbers) == ["1", "2", "all"]
    two, every = numbers["2"], numbers["all"]
    assert (two["n"], two["searches"], two["stops"]) == (2, 2.5, {"answered": 1, "turns": 1})
    assert (two["em"]["mean"], two["f1"]["mean"], two["cover_em"]["mean"]) == (0.0, 0.25, 0.5)
    assert every["em"]["mean"] == 0.25
    assert every["f1"]["mean"] == pytest.approx((1 + 0.5 + 0 + 0.8) / 4)
    # Of 4 samples 0, 1, 2 and 3 are right.
    assert every["avg@4"]["mean"] == every["pass@1"]["mean"] == pytest.approx(6 / 16)
    assert every["pass@2"]["mean"] == pytest.approx(sum(1 - comb(4 - c, 2) / 6 for c in range(4)) / 4)
    assert every["pass@4"]["mean"] == pytest.approx(3 / 4)
    assert every["avg@4"] == every["pass@1"]
    for row in numbers.values():
        for name in ("em", "f1", "cover_em", "avg@4", "pass@2", "pass@4"):
            low, high = row[name]["interval"]
            assert 0 <= low <= row[name]["mean"] + 1e-12 <= high + 1e-9 <= 1 + 1e-9
    assert "avg@4" not in summary(records(GREEDY, ()), 0)["all"]


def test_the_difference_of_two_models() -> None:
    better = [played(task, answered(task.answers[0], 1)) for task in TASKS]
    found = differences(records(better, ()), records(GREEDY, ()), 0)
    assert list(found) == ["1", "2", "all"]
    assert {group: row["em"]["mean"] for group, row in found.items()} == {"1": 0.0, "2": 1.0, "all": 0.75}
    assert found["1"]["em"]["p"] == 1.0
    assert found["all"]["f1"]["mean"] == pytest.approx(1 - (1 + 0.5 + 0 + 0.8) / 4)
    back = differences(records(GREEDY, ()), records(better, ()), 0)
    assert back["all"]["em"]["mean"] == -0.75
    assert back["all"]["em"]["p"] == found["all"]["em"]["p"]


@pytest.mark.parametrize(("samples", "expected"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])])
def test_which_k(samples: int, expected: list[int]) -> None:
    assert ks(samples) == expected


def test_a_worlds_numbers_are_numbers_and_a_benchmarks_are_squads() -> None:
    owed = Question("owed", 1, "How much?", ("-5",))
    listed = Question("tongues", 1, "Which?", ("Dutch", "Sarn"))
    said = records([played(owed, answered("5")), played(owed, answered("-5.0"))], ())
    assert [(one.greedy.em, one.greedy.f1, one.greedy.cover_em) for one in said] == [(0, 0, 0), (1, 1, 1)]
    [both] = records([played(listed, answered("Sarn and Dutch"))], ())
    assert (both.greedy.em, both.greedy.f1) == (1, 1)
    published = Question("owed", 1, "How much?", ("-5",), published=True)
    said = records([played(published, answered("5")), played(published, answered("-5.0"))], ())
    assert [one.greedy.em for one in said] == [1, 0]
