"""How sure a number is: 95 % intervals, and the difference between two models on the same questions.

Questions are what is drawn from; a model's answers to them are taken as they are. ``_N``: questions, ``_B``: resamples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from piplay.streams import stream
from piplay.types import Key

Z = 1.959963984540054
"""The normal distribution's 97.5 % quantile."""
RESAMPLES = 10_000
_AT_ONCE = 2**22
"""Draws held in memory at once."""


class Interval(NamedTuple):
    """Where a number lies with 95 % confidence."""

    low: float
    high: float


class Difference(NamedTuple):
    """By how much a first model is better than a second."""

    mean: float
    interval: Interval
    p: float
    """Two-sided; 1 where the two are alike."""


def wilson(successes: int, trials: int) -> Interval:
    """Wilson's score interval for a proportion: the p with |p̂ − p| ≤ z · sqrt(p (1 − p) / n)."""
    share = successes / trials
    middle = share + Z**2 / (2 * trials)
    half = Z * math.sqrt(share * (1 - share) / trials + Z**2 / (4 * trials**2))
    scale = 1 + Z**2 / trials
    return Interval(max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale))


def bootstrap(values_N: Sequence[float], seed: int, key: Key) -> Interval:
    """Percentile bootstrap interval for a mean (Efron and Tibshirani 1993, chapter 13)."""
    return _percentiles(_means(np.asarray(values_N, np.float64), seed, key))


def paired_bootstrap(first_N: Sequence[float], second_N: Sequence[float], seed: int, key: Key) -> Difference:
    """Mean difference of two models' scores on the same questions, by resampling the questions.

    p is twice the smaller share of resamples on one side of 0, 0 itself on both sides, and so falls below 0.05 where
    the interval comes to leave 0 out. With a handful of questions neither says much.
    """
    difference_N = np.asarray(first_N, np.float64) - np.asarray(second_N, np.float64)
    mean_B = _means(difference_N, seed, key)
    smaller = min((mean_B <= 0).sum(), (mean_B >= 0).sum())
    p = min(1.0, 2 * (int(smaller) + 1) / (RESAMPLES + 1))
    return Difference(float(difference_N.mean()), _percentiles(mean_B), p)


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values (1979): of m sorted ascending, the i-th is max_{j ≤ i} min(1, (m − j + 1) p_j)."""
    adjusted, most = [0.0] * len(ps), 0.0
    for rank, i in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        most = max(most, min(1.0, (len(ps) - rank) * ps[i]))
        adjusted[i] = most
    return adjusted


def _means(values_N: npt.NDArray[np.float64], seed: int, key: Key) -> npt.NDArray[np.float64]:
    """Means of as many values drawn with replacement, once a resample."""
    rng, count = stream(seed, key), len(values_N)
    rows = max(1, _AT_ONCE // count)
    parts = []
    for start in range(0, RESAMPLES, rows):
        shape = (min(rows, RESAMPLES - start), count)
        parts.append(values_N[rng.integers(count, size=shape)].mean(axis=1))
    return np.concatenate(parts)


def _percentiles(mean_B: npt.NDArray[Any]) -> Interval:
    low, high = np.quantile(mean_B, (0.025, 0.975))
    return Interval(float(low), float(high))
