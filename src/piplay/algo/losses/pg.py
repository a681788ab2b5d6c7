"""The policy gradient: PPO's clipped ratio (formula 3 of docs/method.md, and 2, where nothing is clipped)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from piplay.algo.losses.base import Batch, Mean, Rows, Scoring
from piplay.types import Floats


@dataclass(frozen=True, slots=True)
class PgLoss:
    """−Σ_t min(w_t a_t, clip(w_t, 1 − ε, 1 + ε) a_t) with w_t = exp(logp_t − old_t), a mean over the batch's tokens."""

    eps: Annotated[float, Field(gt=0)] = 0.2
    """ε, half the width of the trusted interval."""
    eps_high: Annotated[float, Field(gt=0)] | None = None
    """ε above 1, where it is another (DAPO's clip-higher)."""
    old: Literal["current", "sampler"] = "current"
    """``current``: the step is strictly on-policy, so w = exp(l − stopgrad l), which is 1 and never clips. ``sampler``:
    old are the sampler's log-probs, for replayed samples and several updates a batch."""

    @property
    def metrics(self) -> dict[str, Mean]:
        """``pg_loss``; and ``clipped``, the share of tokens whose gradient the clip removed."""
        return {"pg_loss": "sum", "clipped": "mean"}

    @property
    def scorings(self) -> tuple[Scoring, ...]:
        return ()

    def weights(self, batch: Batch, coefficient: float) -> list[Floats]:
        return [
            coefficient * advantage_T / batch.tokens * trained_T
            for advantage_T, trained_T in zip(batch.advantages, batch.trained, strict=True)
        ]

    def __call__(self, rows: Rows) -> tuple[Tensor, dict[str, Tensor]]:
        old_R = rows.logp_R.detach() if self.old == "current" else rows.sampled_R
        high = self.eps if self.eps_high is None else self.eps_high
        ratio_R = torch.exp(rows.logp_R - old_R)
        free_R = ratio_R * rows.weight_R
        clipped_R = ratio_R.clamp(1 - self.eps, 1 + high) * rows.weight_R
        least_R = torch.minimum(free_R, clipped_R)
        loss_R = -least_R.detach()
        return -least_R.sum(), {"loss": loss_R, "pg_loss": loss_R, "clipped": (clipped_R < free_R).float()}
