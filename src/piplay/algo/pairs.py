"""Losses of whole sequences and of pairs of them, through two things that every engine has: ``score`` and ``nll``.

Such a loss L depends on the policy through each sequence's score s = Σ_t (log π_t − log π_ref_t) alone. So its gradient
is Σ_n ∂L/∂s_n Σ_t ∇ log π_t: score once, give every token of sequence n the weight w_n = −∂L/∂s_n, and take one step on
``NllLoss``. At the weights that were scored this is exact. ``_N``: a sequence or a pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from piplay.types import Floats, Owner, Sample

Doubles = npt.NDArray[np.float64]


def sequence_scores(policy: Sequence[Floats], reference: Sequence[Floats]) -> Doubles:
    """s_N of samples, from the log-probabilities of their tokens under both policies: what ``Engine.score`` gives."""
    return np.array(
        [float((p_T.astype(np.float64) - q_T).sum()) for p_T, q_T in zip(policy, reference, strict=True)], np.float64
    )


def dpo(chosen_N: npt.ArrayLike, rejected_N: npt.ArrayLike, beta: float) -> tuple[Doubles, Doubles]:
    """w of the chosen and of the rejected sequence of each pair, for DPO (arXiv 2305.18290).

    L = mean over pairs of −log σ(β (s_chosen − s_rejected)), so w = ±β σ(−β (s_chosen − s_rejected)) / N.
    """
    margin_N = beta * (np.asarray(chosen_N, np.float64) - np.asarray(rejected_N, np.float64))
    # σ(−m) as exp(−log(1 + exp m)), which neither overflows nor loses what is left of a large margin.
    weight_N = beta * np.exp(-np.logaddexp(0.0, margin_N)) / max(len(margin_N), 1)
    return weight_N, -weight_N


def sppo(score_N: npt.ArrayLike, win_rate_N: npt.ArrayLike, beta: float) -> Doubles:
    """w of each sequence, for SPPO (arXiv 2405.00675).

    L = mean over sequences of (s − (P − ½) / β)², P the rate at which it wins against the policy's own samples; so
    w = −2 (s − (P − ½) / β) / N.
    """
    score_N = np.asarray(score_N, np.float64)
    target_N = (np.asarray(win_rate_N, np.float64) - 0.5) / beta
    return -2 * (score_N - target_N) / max(len(score_N), 1)


def weighted(samples: Sequence[Sample], weight_N: npt.ArrayLike, term: str = "nll") -> list[Sample]:
    """The samples with one term, whose weight is each sample's own on all tokens that the model wrote."""
    return [
        replace(sample, terms={term: np.float32(weight) * (sample.owner_T == Owner.MODEL)})
        for sample, weight in zip(samples, np.asarray(weight_N, np.float32), strict=True)
    ]
