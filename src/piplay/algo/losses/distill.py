"""Privileged self-distillation: a teacher reads the same response behind another prompt (arXiv 2604.14054)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from piplay.algo.losses.base import Batch, Mean, Rows, Scoring
from piplay.algo.losses.formulas import chosen, entropy
from piplay.types import Floats


@dataclass(frozen=True, slots=True)
class DistillLoss:
    """Σ_t λ_t KL(student ‖ teacher) over the student's top-K tokens and one bucket for the rest."""

    policy: str
    """The teacher's."""
    view: str = "privileged"
    """The view that the teacher reads; empty: what the student reads."""
    top_k: Annotated[int, Field(ge=1)] = 32

    @property
    def metrics(self) -> dict[str, Mean]:
        """``distill_kl``, and of the teacher ``teacher_entropy`` and ``teacher_nll``, all in nats."""
        return {"distill_kl": "rollout", "teacher_entropy": "mean", "teacher_nll": "mean"}

    @property
    def scorings(self) -> tuple[Scoring, ...]:
        return (Scoring(self.policy, self.view),)

    def weights(self, batch: Batch, coefficient: float) -> list[Floats]:
        """λ averaged over a rollout's trained tokens, then over rollouts."""
        found = []
        for trained_T in batch.trained:
            # A prompt that left no room for a word has no token: its weights are all 0.
            tokens = max(float(np.count_nonzero(trained_T)), 1.0)
            found.append(np.float32(coefficient / (tokens * len(batch.scored))) * trained_T)
        return found

    def __call__(self, rows: Rows) -> tuple[Tensor, dict[str, Tensor]]:
        (logq_R_V,) = rows.others
        kl_R = topk_kl(rows.logp_R_V, logq_R_V, self.top_k)
        return (rows.weight_R * kl_R).sum(), {
            "loss": rows.weight_R * kl_R.detach(),
            "distill_kl": kl_R.detach(),
            "teacher_entropy": entropy(logq_R_V),
            "teacher_nll": -chosen(logq_R_V, rows.target_R),
        }


def topk_kl(logp_R_V: Tensor, logq_R_V: Tensor, k: int) -> Tensor:
    """KL(student ‖ teacher) of each row over the student's top-k tokens and one bucket for the rest: formula 4.

        D = Σ_{v∈K} p_v (log p_v − log q_v) + p_tail (log p_tail − log q_tail)

    The tail is a logsumexp over the complement, never log(1 − Σp), which underflows to −inf. With k = V the tail is
    empty and contributes 0.

    Args:
        logp_R_V: the student's ``log_probs``, normalised over the whole vocabulary.
        logq_R_V: the teacher's, which get no gradient.
        k: size of the top-k set.

    Returns:
        One value a row. The value is D itself; its gradient, exact for D, is that of the surrogate
        Σ_{v∈K} stopgrad[p_v (r_v − r_tail)] log p_v with r = log p − log q, so backward keeps k log-probs' weights
        instead of the whole KL's graph. Equal log-probs give exactly 0.
    """
    k = min(k, logp_R_V.shape[-1])
    logp_R_K, top_R_K = logp_R_V.topk(k, dim=-1)
    with torch.no_grad():
        p_R_K = logp_R_K.exp()
        r_R_K = logp_R_K - logq_R_V.gather(-1, top_R_K)
        kl_R = (p_R_K * r_R_K).sum(-1)
        if k < logp_R_V.shape[-1]:
            tail_logp_R = logp_R_V.scatter(-1, top_R_K, -torch.inf).logsumexp(-1)
            tail_logq_R = logq_R_V.scatter(-1, top_R_K, -torch.inf).logsumexp(-1)
            tail_r_R = tail_logp_R - tail_logq_R
            kl_R += tail_logp_R.exp() * tail_r_R
            r_R_K -= tail_r_R[:, None]
        weight_R_K = p_R_K * r_R_K
    surrogate_R = (weight_R_K * logp_R_K).sum(-1)
    return kl_R + (surrogate_R - surrogate_R.detach())
