"""Which difficulties are worth their rollouts: those at which students' answers differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

FADING = 0.8
"""How much a count weighs after one more step."""


def faded(counts: Mapping[str, float], fresh: Mapping[str, float]) -> dict[str, float]:
    """Running counts with those of one more step, the older ones fading."""
    names = sorted({*counts, *fresh})
    return {name: FADING * counts.get(name, 0.0) + fresh.get(name, 0.0) for name in names}


def hop_shares(
    odds: Sequence[float], informative: Mapping[str, float], tried: Mapping[str, float], curriculum: float
) -> list[float]:
    """How often each hop count (1, 2, …) is played: (1 − c) · p_h + c · p_h i_h / Σ p i, which sums to 1.

    Args:
        odds: p, up to their sum: how often each is played where nothing is known of the students.
        informative: by hop count, how many of the tasks that students tried had both right and wrong answers.
        tried: by hop count, how many they tried. i is informative/tried, with one more of each before anything is seen.
        curriculum: c, how much of the tasks goes by i; 0 leaves the odds as they are.
    """
    plain = [odd / sum(odds) for odd in odds]
    found = [(informative.get(str(h), 0.0) + 1) / (tried.get(str(h), 0.0) + 1) for h in range(1, len(odds) + 1)]
    weighted = [p * i for p, i in zip(plain, found, strict=True)]
    return [(1 - curriculum) * p + curriculum * w / sum(weighted) for p, w in zip(plain, weighted, strict=True)]
