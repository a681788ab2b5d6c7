"""The weighted negative log-likelihood: imitation, and by its weights a loss of whole sequences (``algo/pairs.py``)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from piplay.algo.losses.base import Batch, Mean, Rows, Scoring, over_tokens
from piplay.types import Floats


@dataclass(frozen=True, slots=True)
class NllLoss:
    """Σ_t weight_t · −log π_t; by default a mean over the batch's tokens."""

    @property
    def metrics(self) -> dict[str, Mean]:
        """``nll``: −log π_t, in nats."""
        return {"nll": "mean"}

    @property
    def scorings(self) -> tuple[Scoring, ...]:
        return ()

    def weights(self, batch: Batch, coefficient: float) -> list[Floats]:
        return over_tokens(batch, coefficient)

    def __call__(self, rows: Rows) -> tuple[Tensor, dict[str, Tensor]]:
        nll_R = -rows.logp_R
        return (rows.weight_R * nll_R).sum(), {"loss": rows.weight_R * nll_R.detach(), "nll": nll_R.detach()}
