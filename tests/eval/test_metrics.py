"""Scores against plain counting, pass@k against every subset of the samples."""

from itertools import combinations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piplay.envs.search.match import normalise
from piplay.eval.metrics import cover_em, cover_em_flashrag, em, f1, f1_flashrag, pass_at_k

WORDS = st.lists(st.sampled_from(["bor", "tamsin", "The", "an", "Oum!", "1201", "..."]), max_size=6).map(" ".join)


def counted_f1(answer: str, gold: str) -> float:
    """Words are struck off one by one."""
    said, left, common = normalise(answer).split(), normalise(gold).split(), 0
    lengths = len(said), len(left)
    for word in said:
        if word in left:
            left.remove(word)
            common += 1
    if not common:
        return 0.0
    precision, recall = common / lengths[0], common / lengths[1]
    return 2 * precision * recall / (precision + recall)


def covered(answer: str, gold: str) -> bool:
    """Every stretch of the answer is held against the gold."""
    said, wanted = normalise(answer).split(), normalise(gold).split()
    stretches = [said[i : i + len(wanted)] for i in range(len(said) - len(wanted) + 1)]
    return bool(wanted) and wanted in stretches


@given(WORDS, st.lists(WORDS, max_size=3))
def test_scores_are_those_of_plain_counting_for_the_best_gold(answer: str, golds: list[str]) -> None:
    assert f1(answer, golds) == pytest.approx(max((counted_f1(answer, gold) for gold in golds), default=0))
    assert cover_em(answer, golds) == any(covered(answer, gold) for gold in golds)
    same = [normalise(answer) == normalise(gold) != "" for gold in golds]
    assert em(answer, golds) == any(same)
    assert em(answer, golds) <= cover_em(answer, golds)
    assert em(answer, golds) <= f1(answer, golds) + 1e-12


@pytest.mark.parametrize(
    ("answer", "gold", "expected"),
    [
        ("The Tamsin.", "tamsin", (1, 1, 1)),
        ("the river Tamsin", "Tamsin", (0, 2 / 3, 1)),
        ("bor bor", "bor", (0, 2 / 3, 1)),
        ("Tamsinia", "Tamsin", (0, 0, 0)),
        ("new york city", "york new", (0, 4 / 5, 0)),
        ("", "Tamsin", (0, 0, 0)),
        ("Tamsin", "the", (0, 0, 0)),
        ("the", "an", (0, 0, 0)),
    ],
)
def test_scores_by_hand(answer: str, gold: str, expected: tuple[float, float, float]) -> None:
    assert (em(answer, [gold]), f1(answer, [gold]), cover_em(answer, [gold])) == pytest.approx(expected)


def test_pass_at_k_is_the_share_of_subsets_with_a_correct_sample() -> None:
    for n in range(1, 8):
        for correct, k in product(range(n + 1), range(1, n + 1)):
            subsets = list(combinations([i < correct for i in range(n)], k))
            assert pass_at_k(n, correct, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


@pytest.mark.parametrize("wrong", [(4, 5, 1), (4, -1, 1), (4, 2, 5), (4, 2, 0)])
def test_pass_at_k_of_what_cannot_be(wrong: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="not defined"):
        pass_at_k(*wrong)


def test_flashrags_variants() -> None:
    # By its definitions, worked out by hand.
    assert f1_flashrag("yes it is", ["yes"]) == 0.0 < f1("yes it is", ["yes"])
    assert f1_flashrag("Yes.", ["yes"]) == 1.0
    assert f1_flashrag("no", ["a river"]) == 0.0
    assert f1_flashrag("the old river", ["river"]) == f1("the old river", ["river"])
    assert cover_em_flashrag("Parisian", ["Paris"]) == 1.0 > cover_em("Parisian", ["Paris"])
    assert cover_em_flashrag("London", ["Paris"]) == 0.0
    assert cover_em_flashrag("in Paris", ["Rome", "paris"]) == 1.0
