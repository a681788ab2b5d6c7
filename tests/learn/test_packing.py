from hypothesis import given
from hypothesis import strategies as st

from piplay.learn.packing import packs


@given(st.lists(st.integers(1, 50), max_size=40), st.integers(1, 200))
def test_packs_keep_order_and_budget(length: list[int], budget: int) -> None:
    batches = packs(range(len(length)), length, budget)
    assert [item for batch in batches for item in batch] == list(range(len(length)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(length[item] for item in batch) <= budget
