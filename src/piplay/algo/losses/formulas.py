"""The losses of arXiv 2604.14054, each once, numbered as in docs/method.md.

``_R``: one row per trained token; ``_V``: the vocabulary."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import log_softmax


def clipped_policy_gradient(
    logp_R: Tensor, old_logp_R: Tensor | None, weight_R: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """−Σ_t min(w_t a_t, clip(w_t, 1−ε, 1+ε) a_t) with w_t = exp(logp_t − old_logp_t): formula 3 (and 2, unclipped).

    Args:
        logp_R: log-probability of each sampled token under the policy being trained.
        old_logp_R: the same under the policy that sampled, from the trainer's own forward. None: the step is strictly
            on-policy, so w = exp(l − stopgrad l), which is 1 and never clips.
        weight_R: a, the signed advantage of each token, already averaged.
        eps: ε, half the width of the trusted interval.

    Returns:
        The loss summed over rows, and the share of rows whose gradient the clip removed.
    """
    old_logp_R = logp_R.detach() if old_logp_R is None else old_logp_R
    ratio_R = torch.exp(logp_R - old_logp_R)
    free_R = ratio_R * weight_R
    clipped_R = ratio_R.clamp(1 - eps, 1 + eps) * weight_R
    share = (clipped_R < free_R).float().mean() if len(logp_R) else logp_R.new_zeros(())
    return -torch.minimum(free_R, clipped_R).sum(), share.detach()


def log_probs(logits_R_V: Tensor) -> Tensor:
    """log p of each row, normalised over the whole vocabulary in fp32 (fp64 stays fp64)."""
    return log_softmax(logits_R_V if logits_R_V.dtype == torch.float64 else logits_R_V.float(), dim=-1)


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


def k3_kl(logp_R: Tensor, ref_logp_R: Tensor) -> Tensor:
    """exp(d) − d − 1 with d = ref_logp − logp: the non-negative estimator of KL(π ‖ π_ref) in formulas 2 and 5.

    One value per sampled token; unbiased when the tokens were drawn from π.
    """
    d_R = ref_logp_R - logp_R
    return torch.exp(d_R) - d_R - 1


def entropy(logp_R_V: Tensor) -> Tensor:
    """−Σ_v p_v log p_v of each row of ``log_probs``, in nats."""
    return -(logp_R_V.exp() * logp_R_V).sum(-1)
