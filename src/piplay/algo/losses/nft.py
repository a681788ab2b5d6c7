"""Negative-aware fine-tuning (NFT, arXiv 2505.18116): wrong answers teach through the policy that would give them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from piplay.algo.losses.base import Batch, Mean, Rows, Scoring, over_tokens
from piplay.types import Floats

SHARES = 0.02, 0.98
"""The bounds of p, as in the authors' code."""


@dataclass(frozen=True, slots=True)
class NftLoss:
    """(1−p) [−r log ρ − (1−r) ω log max((1−pρ)/(1−p), 1)], a mean over the batch's tokens.

    p is the share of right answers of the trajectory's group, r whether this one is right, ρ the ratio to the sampler's
    probability; the maximum lets the gradient through. A group that is all right or all wrong teaches nothing. At ρ = 1
    the gradient is that of ``pg``.

    It reads r and p off the advantage, which has to be ``group`` with ``scale = "none"`` over rewards of 0 and 1: that
    is r − p.
    """

    wrong: Annotated[float, Field(ge=0)] = 1.0
    """ω, the weight of wrong answers; 0 is rejection fine-tuning."""

    @property
    def metrics(self) -> dict[str, Mean]:
        """``nft_loss``; and ``ratio``, the mean of ρ."""
        return {"nft_loss": "sum", "ratio": "mean"}

    @property
    def scorings(self) -> tuple[Scoring, ...]:
        return ()

    def weights(self, batch: Batch, coefficient: float) -> list[Floats]:
        return over_tokens(batch, coefficient)

    def __call__(self, rows: Rows) -> tuple[Tensor, dict[str, Tensor]]:
        right_R = rows.advantage_R > 0
        p_R = torch.where(right_R, 1 - rows.advantage_R, -rows.advantage_R).clamp(*SHARES)
        ratio_R = torch.exp(rows.logp_R - rows.sampled_R)
        positive_R = -torch.log(ratio_R)
        wrong_R = (1 - p_R * ratio_R) / (1 - p_R)
        negative_R = -self.wrong * torch.log(wrong_R + (wrong_R.clamp(min=1) - wrong_R).detach())
        weight_R = torch.where(rows.advantage_R == 0, 0, rows.weight_R) * (1 - p_R)
        loss_R = weight_R * torch.where(right_R, positive_R, negative_R)
        said_R = loss_R.detach()
        return loss_R.sum(), {"loss": said_R, "nft_loss": said_R, "ratio": ratio_R.detach()}
