import json
import math
import statistics
from collections.abc import Callable

import numpy as np
import pytest
from algo_helpers import scored
from hypothesis import given
from hypothesis import strategies as st

from piplay.algo.advantages.base import Advantage
from piplay.algo.advantages.batch import BatchAdvantage
from piplay.algo.advantages.group import GroupAdvantage, advantages
from piplay.algo.advantages.leave_one_out import LeaveOneOutAdvantage
from piplay.algo.advantages.none import NoneAdvantage
from piplay.algo.advantages.percentile import PercentileAdvantage
from piplay.algo.advantages.role_ema import RoleEmaAdvantage
from piplay.types import ScoredTrajectory, State

rollouts = st.lists(st.tuples(st.integers(0, 3), st.floats(0, 2, width=32)), min_size=1, max_size=30)


def grouped(*rewards: float, group: str = "q") -> list[ScoredTrajectory]:
    return [scored(reward, group=(group,)) for reward in rewards]


def games(*rewards: float, role: str = "first") -> list[ScoredTrajectory]:
    """One move each."""
    return [scored(reward, group=("game", number), role=role) for number, reward in enumerate(rewards)]


@pytest.mark.slow
@given(rollouts, st.sampled_from([1e-6, 1e-2, 1.0]))
def test_equals_the_plain_loop(rollouts: list[tuple[int, float]], delta: float) -> None:
    batch = [scored(reward, group=("hop", group)) for group, reward in rollouts]
    expected, centred, others = [], [], []
    for group, reward in rollouts:
        rewards = [r for g, r in rollouts if g == group]
        mean = math.fsum(rewards) / len(rewards)
        variance = math.fsum((r - mean) ** 2 for r in rewards) / len(rewards)
        expected.append((reward - mean) / math.sqrt(variance + delta))
        centred.append(reward - mean)
        rest = len(rewards) - 1
        others.append(reward - (math.fsum(rewards) - reward) / rest if rest else 0.0)
    actual = GroupAdvantage({}, delta=delta)(batch)
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(GroupAdvantage({}, scale="none")(batch), centred, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(LeaveOneOutAdvantage({})(batch), others, rtol=1e-5, atol=1e-6)


def test_the_numbers_of_grpo() -> None:
    """Rewards 1, 0, 0, 0, 0."""
    actual = GroupAdvantage({})(grouped(1, 0, 0, 0, 0))
    np.testing.assert_allclose(actual, [1.940, *[-0.485] * 4], atol=5e-4)


def test_a_group_of_one_has_no_advantage() -> None:
    actual = advantages([1.5, 1.0, 0.0], [("hop", 4), ("hop", 1), ("hop", 1)], delta=0.0)
    np.testing.assert_array_equal(actual, np.array([0.0, 1.0, -1.0], np.float32))
    for kind in (GroupAdvantage, LeaveOneOutAdvantage, BatchAdvantage):
        np.testing.assert_array_equal(kind({})([scored(5.0)]), [0.0])


def test_equal_rewards_without_delta_are_zero_not_nan() -> None:
    np.testing.assert_array_equal(advantages([1.0, 1.0], [("q",), ("q",)], delta=0.0), [0.0, 0.0])


def test_unequal_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="2"):
        advantages([1.0], [("a",), ("b",)], delta=0.01)


def test_the_batch_is_one_group() -> None:
    batch = [*grouped(1, 0, group="a"), *grouped(3, 1, 2, group="b")]
    rewards = [one.reward for one in batch]
    deviation = math.sqrt(statistics.pvariance(rewards) + 0.5)
    expected = [(reward - statistics.mean(rewards)) / deviation for reward in rewards]
    np.testing.assert_allclose(BatchAdvantage({}, delta=0.5)(batch), expected, rtol=1e-6)
    np.testing.assert_allclose(
        BatchAdvantage({}, scale="none")(batch), np.array(rewards) - statistics.mean(rewards), rtol=1e-6
    )


def test_none_is_the_reward_itself() -> None:
    np.testing.assert_array_equal(NoneAdvantage({})(grouped(0.5, -2, 1)), np.array([0.5, -2, 1], np.float32))


@pytest.mark.parametrize(("update_first", "expected"), [(False, [1, -1.05]), (True, [0.95, -0.9975])])
def test_the_numbers_of_rae(update_first: bool, expected: list[float]) -> None:
    """SPIRAL with α = .95 and rewards +1, −1: the authors' code, and the paper's algorithm."""
    actual = RoleEmaAdvantage({}, update_first=update_first)(games(1, -1))
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_each_role_has_a_baseline_of_its_own_and_a_key_its_own() -> None:
    ema = RoleEmaAdvantage({}, decay=0.5)
    batch = [*games(1, 1), *games(-1, -1, role="second")]
    np.testing.assert_allclose(ema(batch), [1, 0.5, -1, -0.5])
    named = [scored(1.0, group=("game", number), role="first", baseline=("kuhn", 0)) for number in range(2)]
    np.testing.assert_allclose(ema(named), [1, 0.5])
    np.testing.assert_allclose(ema(games(0)), [-0.75])


def test_a_game_of_many_moves_counts_once() -> None:
    def moves(count: int, reward: float, number: int) -> list[ScoredTrajectory]:
        return [scored(reward, group=("game", number), role="first") for _ in range(count)]

    ema = RoleEmaAdvantage({}, decay=0.9)
    actual = ema([*moves(3, 1.0, 0), *moves(1, 1.0, 1)])
    np.testing.assert_allclose(actual, [1, 1, 1, 0.9], rtol=1e-6)


def test_percentile_is_against_the_median_of_recent_group_means() -> None:
    percentile = PercentileAdvantage({}, window=3)
    first = [*grouped(1, 0, group="a"), *grouped(0, 0, group="b")]
    np.testing.assert_allclose(percentile(first), np.array([1, 0, 0, 0]) - 0.25)
    # Means so far .5 and 0, then 1 and .75: the last three are 0, 1, .75.
    second = [*grouped(1, 1, group="c"), *grouped(1, 0.5, group="d")]
    np.testing.assert_allclose(percentile(second), np.array([1, 1, 1, 0.5]) - 0.75)


@pytest.mark.parametrize(
    "make", [RoleEmaAdvantage, PercentileAdvantage, GroupAdvantage, BatchAdvantage, LeaveOneOutAdvantage, NoneAdvantage]
)
def test_a_state_that_was_json_goes_on_with_the_same_numbers(make: Callable[[State], Advantage]) -> None:
    rng = np.random.default_rng(0)
    batches = [games(*rng.normal(size=7), role=f"role {number % 2}") for number in range(4)]
    straight_state: State = {}
    straight = make(straight_state)
    expected = [straight(batch) for batch in batches]
    state: State = {}
    for batch, numbers in zip(batches, expected, strict=True):
        np.testing.assert_array_equal(make(state)(batch), numbers)
        state = json.loads(json.dumps(state))
    assert state == straight_state
    assert make(state)([]).shape == (0,)
