"""Negative-aware fine-tuning against its formula, and against the policy gradient that it is while ρ = 1."""

import math

import numpy as np
import pytest
import torch
from algo_helpers import scored

from piplay.algo.advantages.group import GroupAdvantage
from piplay.algo.losses.base import Rows
from piplay.algo.losses.nft import NftLoss
from piplay.algo.losses.pg import PgLoss
from piplay.algo.samples import samples_of
from piplay.types import Owner, Sample


def rows(logp: list[float], sampled: list[float], advantages: list[float]) -> tuple[Rows, torch.Tensor]:
    """Rows of weight 1, and the log-probabilities that have a gradient."""
    logp_R = torch.tensor(logp, dtype=torch.float64, requires_grad=True)
    sampled_R, advantage_R = (torch.tensor(values, dtype=torch.float64) for values in (sampled, advantages))
    target_R = torch.zeros(len(logp), dtype=torch.long)
    return Rows(logp_R[:, None], logp_R, sampled_R, target_R, advantage_R, torch.ones_like(logp_R), ()), logp_R


def test_while_the_ratio_is_one_the_weights_are_the_reward_less_the_mean() -> None:
    """A group of which one in four is right: .75 for the right one, −.25 for each other."""
    given, logp_R = rows([-1.0] * 4, [-1.0] * 4, [0.75, -0.25, -0.25, -0.25])
    loss, reported = NftLoss()(given)
    (gradient_R,) = torch.autograd.grad(loss, logp_R)
    assert (-gradient_R).tolist() == pytest.approx([0.75, -0.25, -0.25, -0.25])
    assert loss.item() == pytest.approx(0)
    assert reported["ratio"].tolist() == [1.0] * 4


@pytest.mark.parametrize("shift", [-0.7, -0.1, 0.0, 0.1, 0.9])
@pytest.mark.parametrize("share", [0.25, 0.5, 0.9])
def test_value_and_gradient_are_the_formulas(share: float, shift: float) -> None:
    given, logp_R = rows([shift - 2, shift - 2], [-2.0, -2.0], [1 - share, -share])
    loss, reported = NftLoss(wrong=0.5)(given)
    (gradient_R,) = torch.autograd.grad(loss, logp_R)
    ratio, scale = math.exp(shift), 1 - share
    inner = (1 - share * ratio) / scale
    assert reported["nft_loss"].tolist() == pytest.approx([-scale * shift, -scale * 0.5 * math.log(max(inner, 1))])
    # The maximum lets the gradient of what is below 1 through, divided by 1.
    assert gradient_R.tolist() == pytest.approx([-scale, scale * 0.5 * share * ratio / scale / max(inner, 1)])


def test_a_group_that_is_all_right_or_all_wrong_teaches_nothing() -> None:
    given, logp_R = rows([-1.0, -3.0], [-2.0, -2.0], [0.0, 0.0])
    loss, _ = NftLoss()(given)
    (gradient_R,) = torch.autograd.grad(loss, logp_R)
    assert loss.item() == 0
    assert gradient_R.tolist() == [0, 0]


def test_the_share_is_bounded() -> None:
    """One in a hundred right: p is .02 and not .01."""
    given, logp_R = rows([-1.0], [-1.0], [-0.01])
    (gradient_R,) = torch.autograd.grad(NftLoss()(given)[0], logp_R)
    assert gradient_R.tolist() == pytest.approx([0.02])


def test_on_policy_it_is_the_policy_gradient_of_the_centred_reward() -> None:
    """From trajectories on: each token's gradient is that of ``pg`` with the advantage ``group``, scale ``none``."""
    groups = {"a": (1, 0, 0, 0), "b": (1, 1, 0), "c": (1, 1)}
    played = [scored(reward, group=(group,)) for group, rewards in groups.items() for reward in rewards]
    losses = {"nft": (NftLoss(), 1.0), "pg": (PgLoss(), 1.0)}
    samples = samples_of(played, GroupAdvantage({}, scale="none"), losses)
    gradients = {
        name: np.concatenate([_gradient(loss, name, one) for one in samples]) for name, (loss, _) in losses.items()
    }
    np.testing.assert_allclose(gradients["nft"], gradients["pg"], atol=1e-7)
    assert np.abs(gradients["pg"]).max() > 0.01


def _gradient(loss: NftLoss | PgLoss, term: str, sample: Sample) -> np.ndarray:
    """Of the loss by the log-probability of each token that the model wrote."""
    written_T = sample.owner_T == Owner.MODEL
    assert sample.advantage_T is not None
    logp_R = torch.from_numpy(sample.logprobs_T[written_T]).requires_grad_()
    advantage_R, weight_R = (torch.from_numpy(v[written_T]) for v in (sample.advantage_T, sample.terms[term]))
    given = Rows(logp_R[:, None], logp_R, logp_R.detach(), torch.zeros(len(logp_R)).long(), advantage_R, weight_R, ())
    (gradient_R,) = torch.autograd.grad(loss(given)[0], logp_R)
    return gradient_R.numpy()
