"""What several losses compute of rows of logits (arXiv 2604.14054, docs/method.md).

``_R``: one row per trained token; ``_V``: the vocabulary."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import log_softmax


def log_probs(logits_R_V: Tensor) -> Tensor:
    """log p of each row, normalised over the whole vocabulary in fp32 (fp64 stays fp64)."""
    return log_softmax(logits_R_V if logits_R_V.dtype == torch.float64 else logits_R_V.float(), dim=-1)


def chosen(logp_R_V: Tensor, target_R: Tensor) -> Tensor:
    """log p of one token of each row."""
    return logp_R_V.gather(-1, target_R[:, None])[:, 0]


def entropy(logp_R_V: Tensor) -> Tensor:
    """−Σ_v p_v log p_v of each row of ``log_probs``, in nats."""
    return -(logp_R_V.exp() * logp_R_V).sum(-1)
