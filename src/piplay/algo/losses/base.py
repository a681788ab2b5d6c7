"""What a loss is: how much each token weighs in it, whom it asks, and what it is.

One class in one file, a frozen dataclass whose fields are its settings; a recipe names it under ``losses`` of a role
that learns. ``_T``: one value a token of a trajectory; ``_N``: one a trajectory; ``_R``: one a trained token of a row;
``_V``: the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from piplay.types import Floats, ScoredTrajectory

if TYPE_CHECKING:
    from torch import Tensor

Mean = Literal["sum", "mean", "rollout"]
"""How a metric of tokens becomes one number: their sum, their mean, or the mean over rollouts of a rollout's mean."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One role's trajectories of one step, and what is known of them when token weights are made."""

    scored: Sequence[ScoredTrajectory]
    trained: Sequence[Floats]
    """By trajectory and token (T,): how much the token counts; 0 where the model did not write or it is masked."""
    advantages: Sequence[Floats]
    """By trajectory and token (T,)."""

    @property
    def tokens(self) -> float:
        """Trained tokens of the batch, at least 1."""
        return max(sum(float(np.count_nonzero(trained_T)) for trained_T in self.trained), 1.0)


@dataclass(frozen=True, slots=True)
class Scoring:
    """Another policy's reading of the same response."""

    policy: str
    view: str = ""
    """Behind which of a sample's views; empty: behind its own prompt."""


@dataclass(frozen=True, slots=True)
class Rows:
    """What a loss gets of some trained tokens."""

    logp_R_V: Tensor
    """The trained policy's log-probabilities, with a gradient."""
    logp_R: Tensor
    """Those of the tokens that were written."""
    sampled_R: Tensor
    """The same as the sampler stored them: the old ones of a ratio, without a gradient."""
    target_R: Tensor
    """The tokens that were written."""
    advantage_R: Tensor
    """Those of their trajectories, or of their turns."""
    weight_R: Tensor
    """This loss's weights."""
    others: Sequence[Tensor]
    """(R, V) log-probabilities, without a gradient, one for each of ``Loss.scorings``, in order."""


class Loss(Protocol):
    """One term of an objective."""

    @property
    def metrics(self) -> dict[str, Mean]:
        """What ``__call__`` reports, and how it becomes one number."""
        ...

    @property
    def scorings(self) -> tuple[Scoring, ...]:
        """Whom it asks about the same tokens."""
        ...

    def weights(self, batch: Batch, coefficient: float) -> list[Floats]:
        """Weight of each token, averaged as the loss wants it, one array (T,) a trajectory."""
        ...

    def __call__(self, rows: Rows) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum of weight times loss over the rows; and by name what each row reports, a value (R,) a row.

        Among what it reports is ``loss``: each row's weight times loss, without a gradient.
        """
        ...


def over_tokens(batch: Batch, value: float) -> list[Floats]:
    """The same weight for each trained token: the mean over the batch's tokens."""
    return [trained_T * np.float32(value / batch.tokens) for trained_T in batch.trained]
