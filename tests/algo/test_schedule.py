import pytest

from piplay.algo.schedules import decayed


def test_decay_starts_with_the_second_iteration() -> None:
    assert [decayed(0.8, 0.5, m) for m in (1, 2, 3)] == [0.8, 0.4, 0.2]
    with pytest.raises(ValueError, match="from 1"):
        decayed(0.8, 0.5, 0)
