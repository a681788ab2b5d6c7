"""Intervals and tests against equations solved numerically, exact distributions and simulation."""

from math import comb
from statistics import NormalDist

import numpy as np
import pytest
from scipy import stats

from piplay.eval import statistics
from piplay.eval.statistics import Interval, bootstrap, paired_bootstrap, wilson

Z = NormalDist().inv_cdf(0.975)


def bisect(low: float, high: float, share: float, n: int) -> float:
    """Where (share − p)² = z² p (1 − p) / n between two p's, one within and one outside of the interval."""

    def outside(p: float) -> bool:
        return (share - p) ** 2 > Z**2 * p * (1 - p) / n

    assert outside(low) != outside(high)
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if outside(middle) == outside(low) else (low, middle)
    return low


@pytest.mark.parametrize("n", [1, 10, 100, 4321])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_wilson_solves_its_equation(n: int, share: float) -> None:
    successes = max(1, round(share * n)) if n > 1 else 1
    share = successes / n
    interval = wilson(successes, n)
    assert interval.low == pytest.approx(bisect(1e-12, share, share, n), abs=1e-9)
    assert interval.high == pytest.approx(bisect(share, 1 - 1e-12, share, n) if share < 1 else 1, abs=1e-9)


def test_wilson_at_the_ends() -> None:
    """With no success the equation is linear: p = z² / (n + z²)."""
    assert wilson(0, 20) == pytest.approx((0, Z**2 / (20 + Z**2)), abs=1e-12)
    assert wilson(20, 20) == pytest.approx((1 - Z**2 / (20 + Z**2), 1), abs=1e-12)


def test_the_bootstrap_of_a_proportion_is_binomial() -> None:
    """The mean of n resampled zeros and ones is a binomial share; its quantiles are known."""
    n, ones = 50, 15
    cumulative = np.cumsum([comb(n, k) * 0.3**k * 0.7 ** (n - k) for k in range(n + 1)])
    exact = [np.searchsorted(cumulative, q) / n for q in (0.025, 0.975)]
    assert bootstrap([1.0] * ones + [0.0] * (n - ones), 0, ("a",)) == pytest.approx(exact, abs=1 / n + 1e-9)


def test_the_bootstrap_covers_the_mean_as_often_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """200 samples of 60 from a skewed distribution with mean 1/3: the standard error of the coverage is 0.015."""
    monkeypatch.setattr(statistics, "RESAMPLES", 2000)
    rng = np.random.default_rng(0)
    intervals = [bootstrap(rng.beta(1, 2, 60).tolist(), 0, ("cover", i)) for i in range(200)]
    assert 0.90 <= np.mean([low <= 1 / 3 <= high for low, high in intervals]) <= 0.99


def test_draws_do_not_depend_on_how_many_fit_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).random(33).tolist()
    whole = bootstrap(values, 3, ("a",))
    assert bootstrap(values, 4, ("a",)) != whole != bootstrap(values, 3, ("b",))
    monkeypatch.setattr(statistics, "_AT_ONCE", 1000)
    assert bootstrap(values, 3, ("a",)) == whole


def test_the_paired_difference_is_symmetric() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.integers(0, 2, 40).astype(float), rng.random(40)
    here, there = paired_bootstrap(first, second, 0, ("a",)), paired_bootstrap(second, first, 0, ("a",))
    assert here.mean == pytest.approx(np.mean(first) - np.mean(second))
    assert there.mean == -here.mean
    assert there.interval == pytest.approx((-here.interval.high, -here.interval.low))
    assert there.p == here.p


def test_no_difference() -> None:
    assert paired_bootstrap([1.0, 0.0, 1.0], [1.0, 0.0, 1.0], 0, ("a",)) == (0, Interval(0, 0), 1)


def test_pairing_finds_what_the_spread_of_questions_hides() -> None:
    hard = np.random.default_rng(2).random(50)
    found = paired_bootstrap(hard + 0.05, hard, 0, ("a",))
    assert found.mean == pytest.approx(0.05)
    assert found.interval == pytest.approx((0.05, 0.05))
    assert found.p == pytest.approx(2 / (statistics.RESAMPLES + 1))


def test_alike_models_differ_as_often_as_the_level_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """200 pairs of models that are right by chance: p < 0.05 in about 5 % of them, as often as 0 is left out."""
    monkeypatch.setattr(statistics, "RESAMPLES", 2000)
    rng = np.random.default_rng(3)
    pairs = [(rng.integers(0, 2, 60), rng.integers(0, 2, 60)) for _ in range(200)]
    found = [paired_bootstrap(a, b, 0, ("null", i)) for i, (a, b) in enumerate(pairs)]
    rejected = [difference.p < 0.05 for difference in found]
    left_out = [not difference.interval.low <= 0 <= difference.interval.high for difference in found]
    assert 0.01 <= np.mean(rejected) <= 0.10
    assert np.mean(np.array(rejected) != np.array(left_out)) <= 0.01


def test_wilson_is_scipys() -> None:
    for n in (1, 2, 7, 125, 14_267):
        for k in sorted({0, 1, n // 3, n // 2, n - 1, n}):
            known = stats.binomtest(k, n).proportion_ci(0.95, method="wilson")
            assert wilson(k, n) == pytest.approx((known.low, known.high), abs=1e-12)


def test_the_bootstrap_is_scipys_but_for_its_draws() -> None:
    """Over many resamples two percentile intervals differ by some hundredths of their width."""
    values = np.random.default_rng(4).beta(1, 3, 80)
    known = stats.bootstrap((values,), np.mean, n_resamples=10_000, method="percentile", rng=5).confidence_interval
    found = bootstrap(values.tolist(), 0, ("scipy",))
    assert found == pytest.approx((known.low, known.high), abs=0.06 * (known.high - known.low))


def test_p_is_near_that_of_scipys_permutations() -> None:
    """Both test a mean difference of pairs: by resampling them, and by flipping their signs."""
    rng = np.random.default_rng(6)
    first = rng.integers(0, 2, 120).astype(float)
    second = np.where(rng.random(120) < 0.2, 0.0, first)
    known = stats.permutation_test(
        (first, second), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=5_000, rng=7
    )
    found = paired_bootstrap(first, second, 0, ("scipy",))
    assert found.mean == pytest.approx(known.statistic)
    assert abs(found.p - known.pvalue) < 0.01
