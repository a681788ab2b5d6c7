"""What a student and its teacher make of each token that the student wrote: what diagnostics are computed from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from piplay.algo.losses.base import Batch, Mean, Rows, Scoring
from piplay.algo.losses.formulas import chosen
from piplay.types import Floats


@dataclass(frozen=True, slots=True)
class Reading:
    """A ``Loss`` that is read and never trained on. s is the student's distribution, q the teacher's behind a view.

    - ``kl``: KL(s ‖ q) over the whole vocabulary, in nats.
    - ``g``: log q(y) − log s(y) of the token y that was written.
    - ``student_mass``, ``teacher_mass``: Σ_{v∈K} s_v and Σ_{v∈K} q_v, K the student's ``top_k`` likeliest tokens.
    - ``overlap``: the share of K that is among the teacher's ``top_k`` likeliest.
    - ``tail``: the part of ``kl`` that stands outside K, Σ_{v∉K} s_v (log s_v − log q_v).
    """

    policy: str
    """The teacher's."""
    view: str
    top_k: int

    @property
    def metrics(self) -> dict[str, Mean]:
        """What it reports."""
        names = "kl", "g", "student_mass", "teacher_mass", "overlap", "tail"
        return dict.fromkeys(names, "mean")

    @property
    def scorings(self) -> tuple[Scoring, ...]:
        return (Scoring(self.policy, self.view),)

    def weights(self, batch: Batch, coefficient: float) -> list[Floats]:
        """None: it is no loss to train on."""
        return [0 * trained_T for trained_T in batch.trained]

    def __call__(self, rows: Rows) -> tuple[Tensor, dict[str, Tensor]]:
        (logq_R_V,) = rows.others
        logs_R_V = rows.logp_R_V.detach()
        k = min(self.top_k, logs_R_V.shape[-1])
        top_R_K = logs_R_V.topk(k, dim=-1).indices
        ours_R_V, theirs_R_V = _among(logs_R_V, top_R_K), _among(logq_R_V, logq_R_V.topk(k, dim=-1).indices)
        kl_R_V = logs_R_V.exp() * (logs_R_V - logq_R_V)
        kl_R = kl_R_V.sum(-1)
        return rows.weight_R.new_zeros(()), {
            "loss": torch.zeros_like(kl_R),
            "kl": kl_R,
            "g": chosen(logq_R_V, rows.target_R) - rows.logp_R.detach(),
            "student_mass": logs_R_V.gather(-1, top_R_K).exp().sum(-1),
            "teacher_mass": logq_R_V.gather(-1, top_R_K).exp().sum(-1),
            "overlap": (ours_R_V & theirs_R_V).sum(-1).float() / k,
            "tail": torch.where(ours_R_V, 0.0, kl_R_V).sum(-1),
        }


def _among(like_R_V: Tensor, index_R_K: Tensor) -> Tensor:
    """Whether each token (R, V) is among some."""
    return torch.zeros_like(like_R_V, dtype=torch.bool).scatter(-1, index_R_K, value=True)
