import math

import pytest
import torch
from torch import Tensor

from piplay.algo.losses.formulas import clipped_policy_gradient, entropy, k3_kl, log_probs, topk_kl


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


def test_clipping_against_the_cases_of_the_formula() -> None:
    logp = torch.linspace(-1, 1, 21, dtype=torch.float64, requires_grad=True)
    for advantage in (1.5, -1.5):
        loss, share = clipped_policy_gradient(logp, torch.zeros_like(logp), torch.full_like(logp, advantage), 0.2)
        (gradient,) = torch.autograd.grad(loss, logp)
        expected_loss, stopped = 0.0, 0
        for index, ratio in enumerate(logp.exp().tolist()):
            beyond = ratio > 1.2 if advantage > 0 else ratio < 0.8
            bounded = (1.2 if advantage > 0 else 0.8) if beyond else ratio
            expected_loss -= bounded * advantage
            stopped += beyond
            assert gradient[index].item() == pytest.approx(0.0 if beyond else -ratio * advantage)
        assert loss.item() == pytest.approx(expected_loss)
        assert share.item() == pytest.approx(stopped / 21)


def test_strictly_on_policy_is_the_plain_policy_gradient() -> None:
    logp = torch.tensor([-3.0, -0.1, -7.0], requires_grad=True)
    weight = torch.tensor([0.5, -2.0, 0.0])
    loss, share = clipped_policy_gradient(logp, None, weight, 0.2)
    loss.backward()
    assert loss.item() == pytest.approx(1.5)
    assert share == 0
    torch.testing.assert_close(logp.grad, -weight)


def test_entropy() -> None:
    assert entropy(log_probs(torch.zeros(1, 8))).item() == pytest.approx(math.log(8))
    logits = random_logits(4, 30, 9)
    torch.testing.assert_close(entropy(log_probs(logits)), torch.distributions.Categorical(logits=logits).entropy())
