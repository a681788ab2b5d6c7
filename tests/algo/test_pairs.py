"""Pair and sequence losses by scores and a weighted negative log-likelihood, against autograd of the loss itself."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from algo_helpers import scored
from torch import Tensor
from torch.nn.functional import logsigmoid

from piplay.algo.advantages.none import NoneAdvantage
from piplay.algo.losses.base import Rows
from piplay.algo.losses.nll import NllLoss
from piplay.algo.pairs import dpo, sequence_scores, sppo, weighted
from piplay.algo.samples import samples_of
from piplay.types import Floats, Owner, Sample

VOCABULARY, WIDTH = 30, 6


class Toy(torch.nn.Module):
    """The next token from the last one."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.embedding = torch.nn.Parameter(torch.randn(VOCABULARY, WIDTH, generator=generator))
        self.head = torch.nn.Parameter(torch.randn(WIDTH, VOCABULARY, generator=generator))

    def rows(self, sample: Sample) -> tuple[Tensor, Tensor]:
        """Log-probabilities of the model tokens: (R, V), and the tokens."""
        places = np.flatnonzero(sample.owner_T == Owner.MODEL)
        ids_T = torch.from_numpy(sample.ids_T)
        return (torch.tanh(self.embedding[ids_T[places - 1]]) @ self.head).log_softmax(-1), ids_T[places]

    def score(self, sample: Sample) -> Tensor:
        logp_R_V, target_R = self.rows(sample)
        return logp_R_V[torch.arange(len(target_R)), target_R].sum()

    def logprobs(self, samples: list[Sample]) -> list[Floats]:
        """As ``Engine.score`` gives them."""
        found = []
        for sample in samples:
            logp_R_V, target_R = self.rows(sample)
            array_T = np.zeros(len(sample.ids_T), np.float32)
            chosen_R = logp_R_V[torch.arange(len(target_R)), target_R]
            array_T[sample.owner_T == Owner.MODEL] = chosen_R.detach().numpy()
            found.append(array_T)
        return found


def nll_gradient(model: Toy, samples: list[Sample]) -> list[Tensor]:
    total = torch.zeros(())
    for sample in samples:
        logp_R_V, target_R = model.rows(sample)
        logp_R = logp_R_V[torch.arange(len(target_R)), target_R]
        weight_R = torch.from_numpy(sample.terms["nll"][sample.owner_T == Owner.MODEL])
        loss, _ = NllLoss()(Rows(logp_R_V, logp_R, logp_R.detach(), target_R, torch.zeros_like(weight_R), weight_R, ()))
        total = total + loss
    return list(torch.autograd.grad(total, list(model.parameters())))


def dpo_loss(scores: list[Tensor]) -> Tensor:
    margins = torch.stack([scores[i] - scores[i + 1] for i in range(0, len(scores), 2)])
    return -logsigmoid(0.7 * margins).mean()


def dpo_weights(score_N: np.ndarray) -> np.ndarray:
    return np.stack(dpo(score_N[::2], score_N[1::2], 0.7), axis=1).ravel()


RATES = np.array([0.9, 0.1, 0.6, 0.4, 0.55, 0.2])


def sppo_loss(scores: list[Tensor]) -> Tensor:
    return ((torch.stack(scores) - torch.from_numpy((RATES - 0.5) / 0.2)) ** 2).mean()


@pytest.mark.parametrize(
    ("loss", "weights"), [(dpo_loss, dpo_weights), (sppo_loss, lambda score_N: sppo(score_N, RATES, 0.2))]
)
def test_the_gradient_is_that_of_the_loss(
    loss: Callable[[list[Tensor]], Tensor], weights: Callable[[np.ndarray], np.ndarray]
) -> None:
    model, reference = Toy(0), Toy(1)
    batch = [scored(turns=turns) for turns in ((2, 3), (4,), (1, 1, 2), (3,), (5, 2), (2,))]
    samples = samples_of(batch, NoneAdvantage({}), {})
    score_N = sequence_scores(model.logprobs(samples), reference.logprobs(samples))
    actual = nll_gradient(model, weighted(samples, weights(score_N)))
    scores = [model.score(sample) - reference.score(sample).detach() for sample in samples]
    np.testing.assert_allclose(score_N, [float(score.detach()) for score in scores], rtol=1e-5)
    expected = torch.autograd.grad(loss(scores), list(model.parameters()))
    for one, other in zip(actual, expected, strict=True):
        assert (one - other).norm() <= 1e-5 * other.norm()


def test_a_margin_of_any_size_gives_finite_weights() -> None:
    chosen, rejected = dpo([1e4, -1e4], [0.0, 0.0], 1.0)
    np.testing.assert_allclose(chosen, [0.0, 0.5])
    np.testing.assert_allclose(rejected, [0.0, -0.5])
