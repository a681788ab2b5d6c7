"""The KL to a reference policy (the last term of formulas 2 and 5 of docs/method.md)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from piplay.algo.losses.base import Batch, Mean, Rows, Scoring, over_tokens
from piplay.algo.losses.formulas import chosen
from piplay.types import Floats


@dataclass(frozen=True, slots=True)
class KlLoss:
    """β KL(π ‖ π_ref) by the estimator k3, a mean over the batch's tokens."""

    policy: str
    """π_ref, which reads what the trained policy reads."""

    @property
    def metrics(self) -> dict[str, Mean]:
        """``kl_ref``: k3."""
        return {"kl_ref": "mean"}

    @property
    def scorings(self) -> tuple[Scoring, ...]:
        return (Scoring(self.policy),)

    def weights(self, batch: Batch, coefficient: float) -> list[Floats]:
        return over_tokens(batch, coefficient)

    def __call__(self, rows: Rows) -> tuple[Tensor, dict[str, Tensor]]:
        (ref_R_V,) = rows.others
        k3_R = k3_kl(rows.logp_R, chosen(ref_R_V, rows.target_R))
        return (rows.weight_R * k3_R).sum(), {"loss": rows.weight_R * k3_R.detach(), "kl_ref": k3_R.detach()}


def k3_kl(logp_R: Tensor, ref_logp_R: Tensor) -> Tensor:
    """exp(d) − d − 1 with d = ref_logp − logp: the non-negative estimator of KL(π ‖ π_ref) in formulas 2 and 5.

    One value per sampled token; unbiased when the tokens were drawn from π.
    """
    d_R = ref_logp_R - logp_R
    return torch.exp(d_R) - d_R - 1
