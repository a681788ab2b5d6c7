import numpy as np
import pytest
from algo_helpers import scored
from hypothesis import given
from hypothesis import strategies as st

from piplay.algo.advantages.none import NoneAdvantage
from piplay.algo.losses.nll import NllLoss
from piplay.algo.samples import samples_of
from piplay.algo.updates import splits
from piplay.types import Sample


def batch(groups: list[int]) -> list[Sample]:
    return samples_of([scored(group=("q", group)) for group in groups], NoneAdvantage({}), {"nll": (NllLoss(), 1.0)})


@pytest.mark.slow
@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.integers(1, 6))
def test_a_batch_is_cut_between_groups_and_nothing_is_lost(groups: list[int], updates: int) -> None:
    samples = batch(groups)
    parts = splits(samples, updates)
    assert len(parts) == min(updates, len(set(groups)))
    assert sorted(s.group[1] for part in parts for s in part) == sorted(groups)
    for one, part in enumerate(parts):
        assert part
        for other in parts[one + 1 :]:
            assert not {s.group for s in part} & {s.group for s in other}
    # The loss of the parts is, on average, as large as the batch's.
    total = sum(float(s.terms["nll"].sum()) for part in parts for s in part)
    assert total / len(parts) == pytest.approx(1.0, rel=1e-5)


def test_equal_groups_make_equal_parts_in_order() -> None:
    parts = splits(batch([0, 0, 1, 1, 2, 2, 3, 3]), 2)
    assert [[s.group[1] for s in part] for part in parts] == [[0, 0, 1, 1], [2, 2, 3, 3]]


def test_one_update_is_the_batch_itself() -> None:
    samples = batch([0, 1, 0])
    [part] = splits(samples, 1)
    assert all(one is other for one, other in zip(part, samples, strict=True))
    assert splits([], 3) == []
    with pytest.raises(ValueError, match="at least one"):
        splits(samples, 0)
    assert np.isfinite(part[0].terms["nll"]).all()
