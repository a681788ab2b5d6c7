"""From scored trajectories to samples: the weights that the trainer sums, against the formulas."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from algo_helpers import PREFIX, scored

from piplay.algo.advantages.group import GroupAdvantage
from piplay.algo.advantages.none import NoneAdvantage
from piplay.algo.losses.base import Loss
from piplay.algo.losses.distill import DistillLoss
from piplay.algo.losses.kl import KlLoss
from piplay.algo.losses.nll import NllLoss
from piplay.algo.losses.pg import PgLoss
from piplay.algo.samples import samples_of
from piplay.errors import InputError
from piplay.types import Owner, PolicyRef, Sample, ScoredTrajectory, StopReason

LOSSES: dict[str, Loss] = {"pg": PgLoss(), "distill": DistillLoss("teacher"), "kl": KlLoss("base"), "nll": NllLoss()}


def samples(batch: Sequence[ScoredTrajectory], delta: float = 0.01, **coefficients: float) -> list[Sample]:
    losses = {term: (LOSSES[term], coefficient) for term, coefficient in (coefficients or {"pg": 1.0}).items()}
    return samples_of(batch, GroupAdvantage({}, delta=delta), losses)


def written(sample: Sample) -> np.ndarray:
    return sample.owner_T == Owner.MODEL


def test_the_policy_gradient_is_averaged_over_the_batchs_model_tokens() -> None:
    sizes = (2, 5, 1, 4, 4)
    groups = ("q", "q", "q", "other", "other")
    batch = [scored(reward, (n, n), (group,)) for reward, n, group in zip((1, 0, 0, 3, 1), sizes, groups, strict=True)]
    found = samples(batch, pg=0.5)
    tokens = 2 * sum(sizes)
    third, deviation = 1 / 3, math.sqrt(2 / 9 + 0.01)
    advantage = [(1 - third) / deviation, -third / deviation, -third / deviation, 1 / math.sqrt(1.01)]
    advantage.append(-advantage[-1])
    for sample, value in zip(found, advantage, strict=True):
        np.testing.assert_allclose(sample.terms["pg"][written(sample)], 0.5 * value / tokens, rtol=1e-5)
    # The mean over the batch's model tokens of token-wise advantages, written as a sum of weights.
    total = sum(float(sample.terms["pg"].sum()) for sample in found)
    counted = sum(a * 2 * n for a, n in zip(advantage, sizes, strict=True))
    assert total == pytest.approx(0.5 * counted / tokens, rel=1e-5)


def test_distillation_is_averaged_over_a_rollouts_tokens_then_over_rollouts() -> None:
    found = samples([scored(1.0, (2, 2)), scored(1.0, (5, 5)), scored(1.0, (1, 1))], distill=0.7)
    for sample, tokens in zip(found, (4, 10, 2), strict=True):
        np.testing.assert_allclose(sample.terms["distill"][written(sample)], 0.7 / (tokens * 3), rtol=1e-6)
        assert float(sample.terms["distill"].sum()) == pytest.approx(0.7 / 3)


def test_every_rollout_is_distilled_also_where_the_advantage_is_zero() -> None:
    for sample in samples([scored(1.0), scored(1.0)], pg=1.0, distill=1.0):
        assert not sample.terms["pg"].any()
        assert sample.terms["distill"].any()


@pytest.mark.parametrize("term", ["kl", "nll"])
def test_kl_and_nll_are_averaged_over_the_batchs_model_tokens(term: str) -> None:
    found = samples([scored(1.0, (2, 2)), scored(0.0, (5, 5))], **{term: 0.3})
    assert sum(float(sample.terms[term].sum()) for sample in found) == pytest.approx(0.3)
    assert {float(w) for sample in found for w in sample.terms[term]} == {0.0, float(np.float32(0.3 / 14))}


def test_no_weight_lies_on_a_token_that_the_model_did_not_write() -> None:
    for sample in samples([scored(1.0, (2, 2)), scored(0.0, (5, 5))], pg=1.0, distill=1.0, kl=1.0):
        assert list(sample.terms) == ["pg", "distill", "kl"]
        others = ~written(sample)
        assert others.any()
        for weight_T in sample.terms.values():
            assert weight_T.dtype == np.float32
            assert len(weight_T) == len(sample.ids_T)
            assert not weight_T[others].any()
            assert (weight_T[~others] != 0).all()


def test_a_term_of_coefficient_zero_is_there_to_be_measured() -> None:
    [measured] = samples([scored(1.0)], pg=1.0, distill=0.0)
    assert set(measured.terms) == {"pg", "distill"}
    assert not measured.terms["distill"].any()


def test_a_failed_tool_leaves_no_sample_and_no_trace_in_the_group() -> None:
    rest = [scored(1.0), scored(0.0)]
    failed = scored(9.0, (3, 3), stop=StopReason.TOOL_FAILED)
    with_failure = samples([rest[0], failed, rest[1]], pg=1.0, distill=1.0)
    for one, other in zip(with_failure, samples(rest, pg=1.0, distill=1.0), strict=True):
        for term in ("pg", "distill"):
            np.testing.assert_array_equal(one.terms[term], other.terms[term])


def test_no_trajectories_no_samples() -> None:
    assert samples([]) == []
    assert samples([scored(1.0, stop=StopReason.TOOL_FAILED)]) == []


def test_a_truncated_rollout_is_trained_with_the_reward_it_was_given() -> None:
    cut, _ = samples([scored(0.0, stop=StopReason.TOTAL_TOKENS), scored(1.0)])
    assert (cut.terms["pg"][written(cut)] < 0).all()


def test_a_rollout_whose_prompt_left_no_room_weighs_nothing() -> None:
    silent = scored(0.0, (), stop=StopReason.TOTAL_TOKENS)
    for batch in ([silent], [silent, scored(1.0)]):
        sample = samples(batch, pg=1.0, distill=1.0, kl=1.0)[0]
        for weight_T in sample.terms.values():
            np.testing.assert_array_equal(weight_T, np.zeros(len(silent.trajectory.ids_T), np.float32))


def test_a_sample_is_its_trajectory() -> None:
    one = scored(0.25, group=("q", 1))
    trajectory = one.trajectory
    [sample] = samples([one])
    assert sample.ids_T is trajectory.ids_T
    assert sample.owner_T is trajectory.owner_T
    assert sample.logprobs_T is trajectory.logprobs_T
    assert (sample.key, sample.role, sample.policy) == (trajectory.key, "student", PolicyRef("student"))
    assert (sample.group, sample.reward, sample.prompt_len) == (("q", 1), 0.25, 2)
    np.testing.assert_array_equal(sample.views["privileged"], PREFIX)


def test_masked_tokens_neither_weigh_nor_count() -> None:
    one = scored(1.0, (3, 2))
    mask_T = np.ones(len(one.trajectory.ids_T), bool)
    mask_T[[2, 6]] = False
    masked, other = samples_of(
        [replace(one, mask_T=mask_T), scored(2.0, (1, 1))],
        NoneAdvantage({}),
        {term: (LOSSES[term], 1.0) for term in ("pg", "distill", "kl")},
    )
    kept = written(masked) & mask_T
    for weight_T in masked.terms.values():
        np.testing.assert_array_equal(weight_T != 0, kept)
    np.testing.assert_allclose(masked.terms["pg"][kept], 1 / 5, rtol=1e-6)
    np.testing.assert_allclose(other.terms["pg"][written(other)], 2 / 5, rtol=1e-6)
    np.testing.assert_allclose(masked.terms["distill"][kept], 1 / (3 * 2), rtol=1e-6)
    with pytest.raises(InputError, match=r"token mask of trajectory .* 8 tokens: give one value a token"):
        samples([replace(one, mask_T=mask_T[1:])])


def test_a_weight_multiplies_every_loss() -> None:
    heavy, light = (
        samples([replace(scored(1.0), weight=weight), scored(0.0)], pg=1.0, distill=0.5, kl=0.1)[0]
        for weight in (1.0, 0.25)
    )
    for term, weight_T in heavy.terms.items():
        np.testing.assert_allclose(light.terms[term], 0.25 * weight_T, rtol=1e-6)


def test_rewards_a_turn_add_their_normalised_return_to_the_advantage() -> None:
    rewards = [[1.0, 0.0, 2.0], [0.5, -1.0]]
    batch = [
        scored(1.0, (2, 1, 3), turn_rewards=np.array(rewards[0], np.float32)),
        scored(0.5, (1, 1), turn_rewards=np.array(rewards[1], np.float32)),
        scored(0.0, (2,)),
    ]
    found = samples_of(batch, NoneAdvantage({}), {"pg": (PgLoss(), 1.0)}, turn_weight=0.3, gamma=0.5)
    returns = [[1 + 0.5 * 0 + 0.25 * 2, 0 + 0.5 * 2, 2.0], [0.5 - 0.5, -1.0]]
    every = [value for row in returns for value in row]
    deviation = math.sqrt(statistics.pvariance(every) + 0.01)
    tokens = 6 + 2 + 2
    for sample, row, sizes, reward in zip(
        found, [*returns, [None]], ((2, 1, 3), (1, 1), (2,)), (1, 0.5, 0), strict=True
    ):
        expected = []
        for value, size in zip(row, sizes, strict=True):
            bonus = 0.0 if value is None else (value - statistics.mean(every)) / deviation
            expected += [(reward + 0.3 * bonus) / tokens] * size
        np.testing.assert_allclose(sample.terms["pg"][written(sample)], expected, rtol=1e-5)
    plain = samples_of(batch, NoneAdvantage({}), {"pg": (PgLoss(), 1.0)})
    without = samples_of([replace(one, turn_rewards=None) for one in batch], NoneAdvantage({}), {"pg": (PgLoss(), 1.0)})
    for one, other in zip(plain, without, strict=True):
        np.testing.assert_array_equal(one.terms["pg"], other.terms["pg"])


def test_a_reward_for_a_turn_that_there_is_not_is_named() -> None:
    one = scored(1.0, (2, 2), turn_rewards=np.zeros(3, np.float32))
    with pytest.raises(InputError, match="has 2 turns and 3 rewards a turn: give one each"):
        samples_of([one], NoneAdvantage({}), {"pg": (PgLoss(), 1.0)}, turn_weight=1.0)
