"""Which difficulties are worth their rollouts: those at which students are torn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

MEMORY = 0.8
"""How much a count weighs after one more step."""


def remembered(counts: Mapping[str, float], fresh: Mapping[str, float]) -> dict[str, float]:
    """Running counts with those of one more step, the older ones fading."""
    names = sorted({*counts, *fresh})
    return {name: MEMORY * counts.get(name, 0.0) + fresh.get(name, 0.0) for name in names}


def hop_odds(odds: Sequence[float], torn: Mapping[str, float], tried: Mapping[str, float], share: float) -> list[float]:
    """How often each hop count (1, 2, …) is played: (1 − share) · p_h + share · p_h i_h / Σ p i, which sums to 1.

    Args:
        odds: p, up to their sum: how often each is played where nothing is known of the students.
        torn: by hop count, how many of the tasks that students tried had both right and wrong answers.
        tried: by hop count, how many they tried. i is torn/tried, with one more of each before anything is seen.
        share: how much of the tasks goes by i; 0 leaves the odds as they are.
    """
    plain = [odd / sum(odds) for odd in odds]
    informative = [(torn.get(str(h), 0.0) + 1) / (tried.get(str(h), 0.0) + 1) for h in range(1, len(odds) + 1)]
    weighted = [p * i for p, i in zip(plain, informative, strict=True)]
    return [(1 - share) * p + share * w / sum(weighted) for p, w in zip(plain, weighted, strict=True)]
