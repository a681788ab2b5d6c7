import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from algo_helpers import scored
from torch import Tensor

from piplay.algo.advantages.group import GroupAdvantage
from piplay.algo.losses.base import Loss, Rows
from piplay.algo.losses.distill import DistillLoss, topk_kl
from piplay.algo.losses.formulas import entropy, log_probs
from piplay.algo.losses.kl import KlLoss, k3_kl
from piplay.algo.losses.nll import NllLoss
from piplay.algo.losses.pg import PgLoss
from piplay.algo.samples import samples_of
from piplay.types import Owner


def random_logits(rows: int, vocabulary: int, seed: int, scale: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(rows, vocabulary, generator=generator, dtype=torch.float64)


def bucketed_kl(student: Tensor, teacher: Tensor, k: int) -> Tensor:
    """Formula 4 by brute force: probabilities, a loop over rows, the tail as what is left."""
    p, q = student.softmax(-1), teacher.softmax(-1)
    rows = []
    for p_V, q_V in zip(p, q, strict=True):
        top = p_V.argsort(descending=True)[:k].tolist()
        rest = [v for v in range(len(p_V)) if v not in top]
        terms = [p_V[v] * (p_V[v] / q_V[v]).log() for v in top]
        if rest:
            terms.append(p_V[rest].sum() * (p_V[rest].sum() / q_V[rest].sum()).log())
        rows.append(torch.stack(terms).sum())
    return torch.stack(rows)


@pytest.mark.parametrize("k", [1, 3, 16, 17, 100])
def test_topk_kl_is_the_bucketed_kl_in_value_and_gradient(k: int) -> None:
    weights = torch.linspace(-1, 1, 6, dtype=torch.float64)
    student, reference = (random_logits(6, 17, 0).requires_grad_() for _ in range(2))
    teacher = random_logits(6, 17, 1).requires_grad_()
    actual, expected = (
        topk_kl(log_probs(student), log_probs(teacher.detach()), k),
        bucketed_kl(reference, teacher.detach(), k),
    )
    torch.testing.assert_close(actual, expected)
    (weights * actual).sum().backward()
    (weights * expected).sum().backward()
    torch.testing.assert_close(student.grad, reference.grad)
    assert teacher.grad is None


def test_with_the_whole_vocabulary_it_is_the_full_kl() -> None:
    student, reference = (random_logits(5, 40, 2).float().requires_grad_() for _ in range(2))
    teacher = random_logits(5, 40, 3).float()
    actual = topk_kl(log_probs(student), log_probs(teacher), 40)
    full = torch.nn.functional.kl_div(
        teacher.log_softmax(-1), reference.log_softmax(-1), reduction="none", log_target=True
    ).sum(-1)
    torch.testing.assert_close(actual, full)
    actual.sum().backward()
    full.sum().backward()
    torch.testing.assert_close(student.grad, reference.grad)


@pytest.mark.parametrize("k", [1, 8, 64])
def test_equal_logits_give_zero_to_the_bit(k: int) -> None:
    logits = random_logits(50, 64, 4, scale=30.0).float().requires_grad_()
    kl_R = topk_kl(log_probs(logits), log_probs(logits.detach().clone()), k)
    assert (kl_R == 0).all()
    kl_R.sum().backward()
    assert logits.grad is not None
    assert (logits.grad == 0).all()


def test_a_tail_below_the_smallest_rounding_stays_finite() -> None:
    student = torch.zeros(1, 100)
    student[0, :2] = 60.0
    teacher = torch.zeros(1, 100)
    teacher[0, 2] = 300.0
    student.requires_grad_()
    assert 1 - student.softmax(-1)[0, :2].sum() == 0, "log(1 − Σp) would be −inf here"
    kl = topk_kl(log_probs(student), log_probs(teacher), 2)
    torch.testing.assert_close(kl.detach(), torch.tensor([300.0 - math.log(2)]))
    kl.sum().backward()
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_half_precision_logits_are_normalised_in_fp32() -> None:
    student, teacher = random_logits(3, 50, 5).bfloat16(), random_logits(3, 50, 6).bfloat16()
    kl = topk_kl(log_probs(student), log_probs(teacher), 8)
    assert kl.dtype == torch.float32
    torch.testing.assert_close(kl, bucketed_kl(student.double(), teacher.double(), 8).float())


def test_k3() -> None:
    logp, ref = random_logits(20, 6, 7).log_softmax(-1), random_logits(20, 6, 8).log_softmax(-1)
    assert (k3_kl(logp, ref) >= 0).all()
    assert (k3_kl(logp, logp) == 0).all()
    expectation = (logp.exp() * k3_kl(logp, ref)).sum(-1)
    torch.testing.assert_close(expectation, (logp.exp() * (logp - ref)).sum(-1))


def rows(logits_R_V: Tensor, sampled_R: Tensor, weight_R: Tensor, others: Sequence[Tensor] = ()) -> Rows:
    """Each row's token is the one of its own number."""
    logp_R_V, target_R = log_probs(logits_R_V), torch.arange(len(logits_R_V))
    none_R = torch.zeros_like(weight_R)
    return Rows(logp_R_V, logp_R_V[target_R, target_R], sampled_R, target_R, none_R, weight_R, others)


@pytest.mark.parametrize(("eps_high", "upper"), [(None, 1.2), (0.5, 1.5)])
def test_clipping_against_the_cases_of_the_formula(eps_high: float | None, upper: float) -> None:
    logp = torch.linspace(-1, 1, 21, dtype=torch.float64, requires_grad=True)
    nothing = torch.zeros(21, dtype=torch.float64)
    for advantage in (1.5, -1.5):
        given = Rows(logp[:, None], logp, nothing, nothing.long(), nothing, torch.full_like(logp, advantage), ())
        loss, reported = PgLoss(0.2, eps_high, old="sampler")(given)
        (gradient,) = torch.autograd.grad(loss, logp)
        expected_loss = 0.0
        for index, ratio in enumerate(logp.exp().tolist()):
            beyond = ratio > upper if advantage > 0 else ratio < 0.8
            bounded = (upper if advantage > 0 else 0.8) if beyond else ratio
            expected_loss -= bounded * advantage
            assert reported["pg_loss"][index].item() == pytest.approx(-bounded * advantage)
            assert reported["clipped"][index].item() == beyond
            assert gradient[index].item() == pytest.approx(0.0 if beyond else -ratio * advantage)
        assert loss.item() == pytest.approx(expected_loss)


def test_strictly_on_policy_is_the_plain_policy_gradient() -> None:
    logp = torch.tensor([-3.0, -0.1, -7.0], requires_grad=True)
    weight, sampled = torch.tensor([0.5, -2.0, 0.0]), torch.tensor([-1.0, -2.0, -3.0])
    loss, reported = PgLoss()(Rows(logp[:, None], logp, sampled, torch.zeros(3).long(), torch.zeros(3), weight, ()))
    loss.backward()
    assert loss.item() == pytest.approx(1.5)
    assert not reported["clipped"].any()
    torch.testing.assert_close(reported["pg_loss"], -weight)
    torch.testing.assert_close(logp.grad, -weight)


@pytest.mark.parametrize(
    ("loss", "others"),
    [
        (PgLoss(), 0),
        (PgLoss(50.0, old="sampler"), 0),
        (NllLoss(), 0),
        (DistillLoss("teacher", top_k=3), 1),
        (KlLoss("b"), 1),
    ],
)
def test_a_loss_reports_what_it_says_it_does(loss: Loss, others: int) -> None:
    """A value a row; the rows' losses are the loss, and weigh nothing where the weight is 0."""
    logits = random_logits(6, 9, 1).float().requires_grad_()
    weight_R = torch.tensor([0.3, -0.2, 0.0, 1.0, 0.5, 0.0])
    asked = [log_probs(random_logits(6, 9, 10 + i).float()) for i in range(others)]
    value, reported = loss(rows(logits, torch.full((6,), -2.0), weight_R, asked))
    assert len(loss.scorings) == others
    assert set(reported) == {"loss", *loss.metrics}
    assert all(value_R.shape == (6,) and not value_R.requires_grad for value_R in reported.values())
    assert value.item() == pytest.approx(reported["loss"].sum().item(), rel=1e-5)
    value.backward()
    assert logits.grad is not None
    assert not logits.grad[[2, 5]].any()
    assert logits.grad[[0, 1, 3, 4]].any(-1).all()


def test_distillation_and_kl_are_their_formulas() -> None:
    logits, others = random_logits(5, 9, 1), random_logits(5, 9, 2)
    weight_R = torch.linspace(-1, 1, 5, dtype=torch.float64)
    value, reported = DistillLoss("t", top_k=4)(rows(logits, torch.zeros(5), weight_R, [log_probs(others)]))
    torch.testing.assert_close(reported["distill_kl"], bucketed_kl(logits, others, 4))
    torch.testing.assert_close(value, (weight_R * bucketed_kl(logits, others, 4)).sum())
    ratio_R = (others.softmax(-1) / logits.softmax(-1)).diagonal()
    value, reported = KlLoss("b")(rows(logits, torch.zeros(5), weight_R, [log_probs(others)]))
    torch.testing.assert_close(reported["kl_ref"], ratio_R - ratio_R.log() - 1)
    value, _ = NllLoss()(rows(logits, torch.zeros(5), weight_R))
    torch.testing.assert_close(value, -(weight_R * logits.softmax(-1).diagonal().log()).sum())


def nft_loss(logp_R: Tensor, old_R: Tensor, right_R: Tensor, p: float) -> Tensor:
    """NFT (arXiv 2505.18116), summed over tokens, with w = 1; the clamp is straight-through, and idle at ρ = 1."""
    ratio_R = torch.exp(logp_R - old_R)
    wrong_R = torch.log((1 - p * ratio_R) / (1 - p))
    return ((1 - p) * torch.where(right_R, -torch.log(ratio_R), -wrong_R)).sum()


def test_on_policy_nft_is_the_group_advantage_without_scale() -> None:
    """Of four answers to one question one is right: p = .25, weights .75 and −.25."""
    batch = [scored(reward, (3,)) for reward in (1.0, 0.0, 0.0, 0.0)]
    samples = samples_of(batch, GroupAdvantage({}, scale="none"), {"pg": (PgLoss(), 12.0)})
    weight_R = torch.from_numpy(np.concatenate([s.terms["pg"][s.owner_T == Owner.MODEL] for s in samples]))
    torch.testing.assert_close(weight_R, torch.tensor([0.75] * 3 + [-0.25] * 9))
    logits, same = (random_logits(12, 15, 3).float().requires_grad_() for _ in range(2))
    loss, _ = PgLoss()(rows(logits, torch.zeros(12), weight_R))
    loss.backward()
    logp_R = log_probs(same)[torch.arange(12), torch.arange(12)]
    nft_loss(logp_R, logp_R.detach(), torch.arange(12) < 3, 0.25).backward()
    torch.testing.assert_close(logits.grad, same.grad)


def test_entropy() -> None:
    assert entropy(log_probs(torch.zeros(1, 8))).item() == pytest.approx(math.log(8))
    logits = random_logits(4, 30, 9)
    torch.testing.assert_close(entropy(log_probs(logits)), torch.distributions.Categorical(logits=logits).entropy())
