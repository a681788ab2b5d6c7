"""From paid seats to samples: the weights that the trainer sums, against the formulas."""

import math

import numpy as np
import pytest
from toys.scripted import told, turn

from piplay.algo.samples import samples_of
from piplay.types import Call, Owner, Seat, StopReason, Trajectory

PREFIX = np.array([7, 8, 9], dtype=np.int64)


def seat(reward: float, tokens: int, group: str = "q", stop: StopReason = StopReason.ANSWERED) -> Seat:
    story = told([turn(query="x"), turn("y")], [Call("x", ())], stop, "student", written=tokens)
    return Seat(story, (group,), reward, PREFIX)


def test_the_policy_gradient_is_averaged_over_the_batchs_model_tokens() -> None:
    seats = [seat(1.0, 2), seat(0.0, 5), seat(0.0, 1), seat(3.0, 4, "other"), seat(1.0, 4, "other")]
    samples = samples_of(seats, pg=0.5, delta=0.01)
    tokens = 2 * (2 + 5 + 1 + 4 + 4)
    third, deviation = 1 / 3, math.sqrt(2 / 9 + 0.01)
    advantage = [(1 - third) / deviation, -third / deviation, -third / deviation, 1 / math.sqrt(1.01)]
    advantage.append(-advantage[-1])
    for sample, value in zip(samples, advantage, strict=True):
        written = sample.owner_T == Owner.MODEL
        np.testing.assert_allclose(sample.terms["pg"][written], 0.5 * value / tokens, rtol=1e-5)
    # The mean over the batch's model tokens of token-wise advantages, written as a sum of weights.
    total = sum(float(sample.terms["pg"].sum()) for sample in samples)
    counted = sum(a * 2 * n for a, n in zip(advantage, (2, 5, 1, 4, 4), strict=True))
    assert total == pytest.approx(0.5 * counted / tokens, rel=1e-5)


def test_distillation_is_averaged_over_a_rollouts_tokens_then_over_rollouts() -> None:
    samples = samples_of([seat(1.0, 2), seat(1.0, 5), seat(1.0, 1)], distill=0.7)
    for sample, tokens in zip(samples, (4, 10, 2), strict=True):
        np.testing.assert_allclose(
            sample.terms["distill"][sample.owner_T == Owner.MODEL], 0.7 / (tokens * 3), rtol=1e-6
        )
        assert float(sample.terms["distill"].sum()) == pytest.approx(0.7 / 3)


def test_every_rollout_is_distilled_also_where_the_advantage_is_zero() -> None:
    for sample in samples_of([seat(1.0, 3), seat(1.0, 3)], distill=1.0):
        assert not sample.terms["pg"].any()
        assert sample.terms["distill"].any()


def test_the_kl_to_the_reference_is_averaged_over_the_batchs_model_tokens() -> None:
    samples = samples_of([seat(1.0, 2), seat(0.0, 5)], kl=True)
    assert sum(float(sample.terms["kl"].sum()) for sample in samples) == pytest.approx(1.0)
    assert {float(w) for sample in samples for w in sample.terms["kl"]} == {0.0, float(np.float32(1 / 14))}


def test_no_weight_lies_on_a_token_that_the_model_did_not_write() -> None:
    for sample in samples_of([seat(1.0, 2), seat(0.0, 5)], distill=1.0, kl=True):
        assert set(sample.terms) == {"pg", "distill", "kl"}
        others = sample.owner_T != Owner.MODEL
        assert others.any()
        for weight_T in sample.terms.values():
            assert weight_T.dtype == np.float32
            assert len(weight_T) == len(sample.ids_T)
            assert not weight_T[others].any()
            assert (weight_T[~others] != 0).all()


def test_a_group_of_one_has_no_policy_gradient() -> None:
    [alone, *_] = samples_of([seat(5.0, 2, "alone"), seat(1.0, 2), seat(0.0, 2)])
    assert not alone.terms["pg"].any()


def test_terms_are_there_only_where_they_are_wanted() -> None:
    [sample] = samples_of([seat(1.0, 2)])
    assert set(sample.terms) == {"pg"}
    [measured] = samples_of([seat(1.0, 2)], distill=0.0)
    assert set(measured.terms) == {"pg", "distill"}
    assert not measured.terms["distill"].any()


def test_a_failed_tool_leaves_no_sample_and_no_trace_in_the_group() -> None:
    rest = [seat(1.0, 2), seat(0.0, 2)]
    with_failure = samples_of([rest[0], seat(9.0, 3, stop=StopReason.TOOL_FAILED), rest[1]], distill=1.0)
    for one, other in zip(with_failure, samples_of(rest, distill=1.0), strict=True):
        for term in ("pg", "distill"):
            np.testing.assert_array_equal(one.terms[term], other.terms[term])


def test_no_seats_no_samples() -> None:
    assert samples_of([]) == []
    assert samples_of([seat(1.0, 2, stop=StopReason.TOOL_FAILED)]) == []


def test_a_truncated_rollout_is_trained_with_the_reward_it_was_given() -> None:
    cut, _ = samples_of([seat(0.0, 2, stop=StopReason.TOTAL_TOKENS), seat(1.0, 2)])
    assert (cut.terms["pg"][cut.owner_T == Owner.MODEL] < 0).all()


def test_a_rollout_whose_prompt_left_no_room_weighs_nothing() -> None:
    full = told([], stop=StopReason.TOTAL_TOKENS, role="student")
    silent = Seat(full, ("q",), 0.0, PREFIX)
    for seats in ([silent], [silent, seat(1.0, 2)]):
        sample = samples_of(seats, distill=1.0, kl=True)[0]
        for weight_T in sample.terms.values():
            np.testing.assert_array_equal(weight_T, np.zeros(len(full.ids_T), np.float32))


def test_a_sample_is_its_seats_trajectory() -> None:
    story: Trajectory = seat(1.0, 2).trajectory
    [sample] = samples_of([Seat(story, ("q", 1), 0.25, PREFIX)])
    assert sample.ids_T is story.ids_T
    assert sample.owner_T is story.owner_T
    assert sample.logprobs_T is story.logprobs_T
    assert (sample.key, sample.role, sample.policy) == (story.key, "student", story.policy)
    assert (sample.group, sample.reward, sample.prompt_len) == (("q", 1), 0.25, 2)
    np.testing.assert_array_equal(sample.teacher_prefix, PREFIX)
