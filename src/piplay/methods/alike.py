"""How alike questions are: BLEU, and clusters of what is near each other."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from piplay.envs.search.match import folded

APART = 0.5
"""The mean distance up to which two clusters are one (R-Zero, arXiv 2508.05004)."""
_UNSHARED = 0.1
"""What counts as the number of shared n-grams where none is: else one length would make the product 0."""


def bleu(one: str, other: str) -> float:
    """BLEU of two texts, up to four normalised words in a row, from 0 to 1; the mean of both directions."""
    a, b = folded(one).split(), folded(other).split()
    return (_bleu(a, b) + _bleu(b, a)) / 2


def _bleu(said: list[str], reference: list[str]) -> float:
    """BP · (Π_n p_n)^(1/N) for N up to 4, as far as both texts have so many words."""
    longest = min(4, len(said), len(reference))
    if not longest:
        return 0.0
    logs = 0.0
    for n in range(1, longest + 1):
        mine, its = _ngrams(said, n), _ngrams(reference, n)
        logs += math.log(max((mine & its).total(), _UNSHARED) / mine.total())
    return math.exp(min(0.0, 1 - len(reference) / len(said)) + logs / longest)


def _ngrams(words: list[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(words[i:] for i in range(n)), strict=False))


def cluster_shares(questions: Sequence[str]) -> list[float]:
    """By question the share of all that its cluster makes; an empty question is alone.

    Clusters by average linkage: the two with the least mean distance 1 − BLEU become one, up to ``APART``.
    """
    count = len(questions)
    gap_CC = np.full((count, count), np.inf)
    for i in range(count):
        for j in range(i):
            gap_CC[i, j] = gap_CC[j, i] = 1 - bleu(questions[i], questions[j])
    cluster = list(range(count))
    size_C = np.ones(count)
    while count and gap_CC.min() <= APART:
        i, j = map(int, np.unravel_index(gap_CC.argmin(), gap_CC.shape))
        merged_C = (size_C[i] * gap_CC[i] + size_C[j] * gap_CC[j]) / (size_C[i] + size_C[j])
        merged_C[i] = np.inf  # no distance to itself; j is no cluster from here on
        gap_CC[i], gap_CC[:, i] = merged_C, merged_C
        gap_CC[j], gap_CC[:, j] = np.inf, np.inf
        size_C[i] += size_C[j]
        cluster = [i if one == j else one for one in cluster]
    return [float(size_C[one]) / count for one in cluster]
