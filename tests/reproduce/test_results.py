"""What an experiment's runs say: differences, intervals and verdicts against other ways of computing them."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest

from piplay.eval.statistics import Difference, Interval, holm
from piplay.reproduce.experiment import Comparison, read_experiment
from piplay.reproduce.results import FAILS, HOLDS, OPEN, Outcome, _compared, judge, right


def outcome(digits: dict[str, str]) -> Outcome:
    return Outcome(digits, digits, [1.0], [1.0], [0.5], {}, 0.0)


def answers(rng: np.random.Generator, hardness: np.ndarray, shift: float) -> dict[str, str]:
    """Of 2 and 3 hops 60 questions each; what is hard is hard in every run."""
    drawn = (rng.random(120) < np.clip(hardness + shift, 0, 1)).astype(int)
    return {"1": "1" * 7, "2": "".join(map(str, drawn[:60])), "3": "".join(map(str, drawn[60:]))}


@pytest.mark.slow
def test_questions_are_resampled_with_all_their_seeds() -> None:
    """Against a bootstrap that draws questions one by one in plain loops, and counts every seed's answers."""
    rng = np.random.default_rng(0)
    hardness = rng.beta(0.5, 0.5, 120)
    arms = {
        "true": {seed: outcome(answers(rng, hardness, 0.15)) for seed in range(3)},
        "foreign": {seed: outcome(answers(rng, hardness, 0.0)) for seed in range(4)},
    }
    [found] = _compared(read_experiment("privilege"), arms)
    assert found.seeds == [0, 1, 2], "of those that both have"
    digits = {name: ["".join(seeds[s].after[h] for h in "23") for s in range(3)] for name, seeds in arms.items()}
    pairs = [zip(digits["true"][s], digits["foreign"][s], strict=True) for s in range(3)]
    grid = np.array([[int(a) - int(b) for a, b in pair] for pair in pairs])
    assert found.difference.mean == pytest.approx(grid.mean())
    assert list(found.by_seed.values()) == pytest.approx(list(grid.mean(axis=1)))
    means = []
    for _ in range(4000):
        picked = rng.integers(0, 120, 120)
        means.append(np.mean([grid[s][q] for q in picked for s in range(3)]))
    low, high = np.quantile(means, [0.025, 0.975])
    assert found.difference.interval == pytest.approx((low, high), abs=0.012)


def test_digits_are_of_the_hops_that_are_asked_for() -> None:
    assert right({"1": "10", "2": "011", "4": "1"}, [2, 4]).tolist() == [0, 1, 1, 1]
    assert right({"1": "10"}, [3]).tolist() == []


@pytest.mark.parametrize("seed", range(20))
def test_holm_is_the_closed_test_of_bonferroni(seed: int) -> None:
    """p of a hypothesis: the largest, over all sets that hold it, of the set's size times its least p."""
    ps = np.random.default_rng(seed).random(5) ** 3
    sets = [s for size in range(1, 6) for s in combinations(range(5), size)]
    expected = [max(min(1.0, len(s) * min(ps[j] for j in s)) for s in sets if i in s) for i in range(5)]
    assert holm(list(ps)) == pytest.approx(expected)
    assert holm([]) == []


def verdict(
    claim: str, margin: float, mean: float, interval: tuple[float, float], p: float, seeds: Sequence[float]
) -> str:
    asked = Comparison(first="a", second="b", claim=claim, margin=margin, family="f", why="")
    return judge(asked, Difference(mean, Interval(*interval), p), p, dict(enumerate(seeds)))[0]


@pytest.mark.parametrize(
    ("claim", "margin", "mean", "interval", "p", "seeds", "expected"),
    [
        ("above", 0.0, 0.3, (0.2, 0.4), 0.001, (0.2, 0.3, 0.4), HOLDS),
        ("above", 0.2, 0.3, (0.2, 0.4), 0.001, (0.2, 0.3, 0.4), HOLDS),
        ("above", 0.2, 0.1, (0.05, 0.15), 0.001, (0.1, 0.1, 0.1), FAILS),  # there, and too small
        ("above", 0.2, 0.18, (0.1, 0.26), 0.001, (0.2, 0.1, 0.24), OPEN),
        ("above", 0.0, 0.3, (0.2, 0.4), 0.001, (0.3, 0.3), OPEN),  # two seeds
        ("above", 0.0, 0.3, (0.2, 0.4), 0.001, (0.7, -0.1, 0.3), OPEN),  # one seed tells another story
        ("above", 0.0, 0.05, (-0.02, 0.1), 0.2, (0.1, 0.02, 0.03), OPEN),
        ("above", 0.0, 0.05, (0.01, 0.1), 0.08, (0.1, 0.02, 0.03), OPEN),  # p, corrected
        ("above", 0.0, -0.3, (-0.4, -0.2), 0.001, (-0.3, -0.3, -0.3), FAILS),
        ("above", 0.2, 0.0, (-0.05, 0.05), 0.9, (0.0, 0.0, 0.0), FAILS),  # surely not so large
        ("above", 0.0, 0.0, (0.0, 0.0), 1.0, (0.0, 0.0, 0.0), OPEN),
        ("within", 0.05, 0.0, (-0.04, 0.05), 1.0, (0.0, 0.1, -0.1), HOLDS),
        ("within", 0.05, 0.0, (-0.06, 0.05), 1.0, (0.0, 0.1, -0.1), OPEN),
        ("within", 0.05, 0.2, (0.1, 0.3), 0.001, (0.2, 0.2, 0.2), FAILS),
        ("within", 0.05, -0.2, (-0.3, -0.1), 0.001, (-0.2, -0.2, -0.2), FAILS),
        ("within", 0.05, 0.0, (0.0, 0.0), 1.0, (0.0,), OPEN),
    ],
)
def test_verdicts(
    claim: str,
    margin: float,
    mean: float,
    interval: tuple[float, float],
    p: float,
    seeds: Sequence[float],
    expected: str,
) -> None:
    assert verdict(claim, margin, mean, interval, p, seeds) == expected


def test_families_are_corrected_apart() -> None:
    rng = np.random.default_rng(1)
    hardness = rng.random(120)
    names = ("true", "foreign", "none", "half", "answer", "reward", "decaying", "live", "frozen")
    arms = {name: {s: outcome(answers(rng, hardness, 0.1 * (name == "true"))) for s in range(3)} for name in names}
    found = _compared(read_experiment("privilege"), arms)
    for family, size in (("privilege", 5), ("teaching", 3)):
        ps = [one.difference.p for one in found if one.claim.family == family]
        assert len(ps) == size
        assert [one.holm for one in found if one.claim.family == family] == holm(ps)
