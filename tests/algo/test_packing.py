import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from piplay.algo.packing import fill, lay_out, packs


@given(st.lists(st.integers(1, 50), max_size=40), st.integers(1, 200))
def test_packs_keep_order_and_budget(length: list[int], budget: int) -> None:
    batches = packs(range(len(length)), length, budget)
    assert [item for batch in batches for item in batch] == list(range(len(length)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(length[item] for item in batch) <= budget


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 20)), max_size=40), st.integers(1, 200))
def test_rows_are_filled_in_order_as_far_as_the_budget_goes(sizes: list[tuple[int, int]], budget: int) -> None:
    """A size is what an item adds, and what it costs more where it opens a row."""
    added, whole = [own for own, _ in sizes], [own + more for own, more in sizes]
    rows = fill(range(len(sizes)), whole, added, budget)
    assert [item for row in rows for item in row] == list(range(len(sizes)))
    cost = [whole[row[0]] + sum(added[item] for item in row[1:]) for row in rows]
    assert all(len(row) == 1 or spent <= budget for row, spent in zip(rows, cost, strict=True))
    assert all(spent + added[row[0]] > budget for spent, row in zip(cost, rows[1:], strict=False))


@st.composite
def sequences(draw: st.DrawFn) -> tuple[list[int], list[int], list[int]]:
    """A prompt, one of a few, a response, and which of its tokens are wanted."""
    prompt = draw(st.sampled_from([[3], [3, 4], [5, 5, 5, 5], [6, 7, 8]]))
    response = draw(st.lists(st.integers(0, 9), min_size=1, max_size=8))
    wanted = draw(st.sets(st.integers(0, len(response) - 1), min_size=1))
    return prompt, response, sorted(wanted)


@pytest.mark.slow
@given(st.lists(sequences(), min_size=1, max_size=6))
def test_every_wanted_token_sees_its_own_past_alone(drawn: list[tuple[list[int], list[int], list[int]]]) -> None:
    layout = lay_out(*([np.array(part, dtype=np.int64) for part in column] for column in zip(*drawn, strict=True)))
    ends = np.cumsum(layout.lengths)
    assert len(layout.ids_N) == len(layout.position_N) == ends[-1]
    places = iter(layout.row_R)
    used: set[int] = set()
    for prompt, response, wanted in drawn:
        for token in wanted:
            place = int(next(places))
            segment = int(np.searchsorted(ends, place, side="right"))
            parent = layout.parents[segment]
            seen = list(range(ends[segment] - layout.lengths[segment], place + 1))
            if parent is not None:
                seen = [*range(ends[parent] - layout.lengths[parent], ends[parent]), *seen]
            assert layout.ids_N[seen].tolist() == [*prompt, *response[:token]]
            assert layout.position_N[seen].tolist() == list(range(len(seen)))
            used |= set(seen)
    assert next(places, None) is None
    assert used == set(range(len(layout.ids_N))), "nothing is computed that no wanted token sees"
    prompts = [prompt for prompt, _, _ in drawn]
    unshared = sum(len(prompt) + wanted[-1] for prompt, _, wanted in drawn)
    repeated = sum(len(prompt) for i, prompt in enumerate(prompts) if prompt in prompts[:i])
    assert len(layout.ids_N) == unshared - repeated
