"""How alike questions are, against values computed by hand and a clustering by definition."""

import itertools
import math
import random

import pytest

from piplay.methods.alike import APART, bleu, cluster_shares

ONE, OTHER = "What is the river of the capital of Bor?", "What is the mayor of the capital of Quil?"


def test_bleu_is_the_geometric_mean_of_shared_n_grams() -> None:
    # Without the articles, seven words each: 5 of 7 words are shared, 2 of 6 pairs (what is, of capital, capital of are
    # three), 1 of 5 triples (of capital of) and none of 4 quadruples, which counts as a tenth.
    expected = (5 / 7 * 3 / 6 * 1 / 5 * 0.1 / 4) ** 0.25
    assert bleu(ONE, OTHER) == pytest.approx(expected)
    assert bleu(OTHER, ONE) == pytest.approx(expected)


def test_a_shorter_text_pays_the_brevity_penalty_in_one_direction() -> None:
    # "a b c" in "a b c d e f": all its n-grams are found, at exp(1 - 6/3); the other way round 3/6, 2/5, 1/4.
    there, back = math.exp(1 - 2), (3 / 6 * 2 / 5 * 1 / 4) ** (1 / 3)
    assert bleu("x b c", "x b c d e f") == pytest.approx((there + back) / 2)


@pytest.mark.parametrize("text", [ONE, "Who", "b c"])
def test_a_text_is_as_itself(text: str) -> None:
    assert bleu(text, text) == pytest.approx(1)
    assert bleu(text, "") == bleu("", text) == bleu("", "") == 0


def by_definition(questions: list[str]) -> list[float]:
    """Average linkage with every mean taken anew over the pairs."""
    clusters = [[i] for i in range(len(questions))]
    while len(clusters) > 1:
        gaps = {
            (a, b): sum(1 - bleu(questions[i], questions[j]) for i in clusters[a] for j in clusters[b])
            / (len(clusters[a]) * len(clusters[b]))
            for a, b in itertools.combinations(range(len(clusters)), 2)
        }
        (a, b), gap = min(gaps.items(), key=lambda item: item[1])
        if gap > APART:
            break
        clusters[a] += clusters.pop(b)
    size = {i: len(cluster) for cluster in clusters for i in cluster}
    return [size[i] / len(questions) for i in range(len(questions))]


def test_clusters_are_those_of_average_linkage() -> None:
    rng = random.Random(0)
    words = ["river", "capital", "mayor", "museum", "founder", "school"]
    for _ in range(15):
        questions = [
            f"What is the {rng.choice(words)} of the {rng.choice(words)} of {rng.choice(['Bor', 'Oum', 'Quil'])}?"
            for _ in range(9)
        ]
        assert cluster_shares(questions) == pytest.approx(by_definition(questions))


def test_the_same_question_is_one_cluster_and_no_question_is_alone() -> None:
    assert cluster_shares([ONE, ONE, "Who founded the school that burnt in 1836?", "", ""]) == [0.4, 0.4, 0.2, 0.2, 0.2]
    assert cluster_shares([ONE]) == [1.0]
    assert cluster_shares([]) == []
