"""How an answer is scored, and how several samples of one question are summed up.

A published benchmark's questions are scored by SQuAD's rule, others by the values that answers are (``values.py``). All
scores take the best gold; a gold of which the rule leaves nothing matches nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from piplay.envs.search.match import contains, exact_match, folded, normalise
from piplay.envs.search.values import canonical, mentions, same_value

_CLOSED = frozenset(("yes", "no", "noanswer"))


def em(answer: str, golds: Sequence[str], published: bool = True) -> float:
    """Exact match, 0 or 1."""
    return float((exact_match if published else same_value)(answer, golds))


def f1(answer: str, golds: Sequence[str], published: bool = True) -> float:
    """Harmonic mean of precision and recall over words, each counted as often as it occurs (SQuAD).

    1 for a right answer that lists several golds.
    """
    if not published and same_value(answer, golds):
        return 1.0
    form = folded if published else canonical
    return max((_f1(form(answer).split(), form(gold).split()) for gold in golds), default=0.0)


def _f1(said: Sequence[str], gold: Sequence[str]) -> float:
    common = (Counter(said) & Counter(gold)).total()
    return 2 * common / (len(said) + len(gold)) if common else 0.0


def cover_em(answer: str, golds: Sequence[str], published: bool = True) -> float:
    """Whether the answer contains a gold as whole words, 0 or 1."""
    return float(any((contains if published else mentions)(answer, gold) for gold in golds))


def f1_flashrag(answer: str, golds: Sequence[str]) -> float:
    """F1 as FlashRAG has it: 0 where yes, no or noanswer stands against anything else; SQuAD's normalisation."""
    said = normalise(answer)

    def of(gold: str) -> float:
        closed = said != gold and not _CLOSED.isdisjoint((said, gold))
        return 0.0 if closed else _f1(said.split(), gold.split())

    return max((of(normalise(gold)) for gold in golds), default=0.0)


def cover_em_flashrag(answer: str, golds: Sequence[str]) -> float:
    """Cover-EM as FlashRAG has it: whether the answer contains a gold as characters, within a word too, 0 or 1."""
    said = normalise(answer)
    return float(any(gold in said for gold in map(normalise, golds)))


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """Chance that k of the samples, drawn without replacement, hold a correct one: 1 − C(n − c, k) / C(n, k).

    The unbiased estimator of Chen et al., arXiv 2107.03374. For k = 1 it is avg@n, the share that is correct.
    """
    if not 0 <= correct <= samples or not 1 <= k <= samples:
        raise ValueError(f"pass@{k} of {correct} correct in {samples} samples is not defined")
    return 1 - math.comb(samples - correct, k) / math.comb(samples, k)


def squad_em(answer: str | None, golds: Sequence[str]) -> float:
    """Exact match as Search-R1 and FlashRAG compute it, to the letter; None, no answer, is 0.

    Other than ``em`` it has no rule of its own for scripts that SQuAD did not think of, nor for what SQuAD's rule
    leaves nothing of: "The" equals "a".
    """
    return 0.0 if answer is None else float(normalise(answer) in map(normalise, golds))


def squad_f1(answer: str | None, golds: Sequence[str]) -> float:
    """F1 as SQuAD's own script (1.1) computes it, with the best gold; None, no answer, is 0."""
    said = normalise(answer or "").split()
    return max((_f1(said, normalise(gold).split()) for gold in golds), default=0.0)
