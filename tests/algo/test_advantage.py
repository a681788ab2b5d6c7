import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from piplay.algo.advantages.group import advantages

rollouts = st.lists(st.tuples(st.integers(0, 3), st.floats(0, 2, width=32)), min_size=1, max_size=30)


@given(rollouts, st.sampled_from([1e-6, 1e-2, 1.0]))
def test_equals_the_plain_loop(rollouts: list[tuple[int, float]], delta: float) -> None:
    expected = []
    for group, reward in rollouts:
        rewards = [r for g, r in rollouts if g == group]
        mean = math.fsum(rewards) / len(rewards)
        variance = math.fsum((r - mean) ** 2 for r in rewards) / len(rewards)
        expected.append((reward - mean) / math.sqrt(variance + delta))
    actual = advantages([reward for _, reward in rollouts], [("hop", group) for group, _ in rollouts], delta=delta)
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_a_group_of_one_has_no_advantage() -> None:
    actual = advantages([1.5, 1.0, 0.0], [("hop", 4), ("hop", 1), ("hop", 1)], delta=0.0)
    np.testing.assert_array_equal(actual, np.array([0.0, 1.0, -1.0], np.float32))


def test_equal_rewards_without_delta_are_zero_not_nan() -> None:
    np.testing.assert_array_equal(advantages([1.0, 1.0], [("q",), ("q",)], delta=0.0), [0.0, 0.0])


def test_no_rollouts() -> None:
    assert advantages([], [], delta=0.01).shape == (0,)


def test_unequal_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="2"):
        advantages([1.0], [("a",), ("b",)], delta=0.01)
