"""Attention within a row in one call and segment by segment: who attends to what, on tensors of the CPU."""

import numpy as np
import pytest
import torch
from torch import Tensor

from piplay.engine.local import attention
from piplay.engine.local.attention import Packed, key_places

ROWS: dict[str, tuple[list[int], list[int | None]]] = {
    "one sequence": ([5], [None]),
    "no parents": ([3, 1, 6], [None, None, None]),
    "a parent longer than its segments": ([7, 2, 1], [None, 0, 0]),
    "a parent shorter than its segments": ([1, 6, 4], [None, 0, 0]),
    "several parents": ([4, 5, 2, 3, 3, 8, 1], [None, 0, 0, None, None, 4, 4]),
}


def varlen(
    query: Tensor, key: Tensor, value: Tensor, begin_query: Tensor, begin_key: Tensor, most_queries: int,
    most_keys: int, *, scale: float | None, window_size: tuple[int, int], enable_gqa: bool,
) -> Tensor:  # fmt: skip
    """What torch documents of ``varlen_attn``, by a dense mask a sequence; flash attention aligns it at the end."""
    assert window_size == (-1, 0), "causal"
    assert enable_gqa
    assert {begin_query.dtype, begin_key.dtype} == {torch.int32}
    queries, keys, values = (
        whole.split(begin.diff().tolist())
        for whole, begin in ((query, begin_query), (key, begin_key), (value, begin_key))
    )
    assert (max(map(len, queries)), max(map(len, keys))) == (most_queries, most_keys)
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    results = []
    for own_query, own_key, own_value in zip(queries, keys, values, strict=True):
        times = own_query.shape[1] // own_key.shape[1]
        score = torch.einsum("qhd,khd->hqk", own_query, own_key.repeat_interleave(times, 1)) * scale
        last = torch.arange(len(own_query))[:, None] + len(own_key) - len(own_query)
        score = score.masked_fill(torch.arange(len(own_key)) > last, -torch.inf)
        results.append(torch.einsum("hqk,khd->qhd", score.softmax(-1), own_value.repeat_interleave(times, 1)))
    return torch.cat(results)


def drawn(heads: int, count: int) -> Tensor:
    return torch.randn(1, heads, count, 8, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("scale", [None, 0.7])
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize("row", ROWS)
def test_one_call_is_segment_by_segment(
    row: str, kv_heads: int, scale: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths, parents = ROWS[row]
    torch.manual_seed(0)
    given = [drawn(heads, sum(lengths)) for heads in (4, kv_heads, kv_heads)]
    direction = torch.randn(1, 4, sum(lengths), 8, dtype=torch.float64)
    found = []
    for at_once in (False, True):
        with monkeypatch.context() as patch:
            if at_once:
                patch.setattr(attention, "fused", lambda *_: True)
                patch.setattr(attention, "varlen_attn", varlen, raising=False)
            attended = Packed(lengths, parents, torch.device("cpu")).attend(*given, scale)
        found.append([attended, *torch.autograd.grad((attended * direction).sum(), given)])
    for one_by_one, one_call in zip(*found, strict=True):
        assert one_call.shape == one_by_one.shape
        torch.testing.assert_close(one_call, one_by_one, rtol=1e-12, atol=1e-12)


def test_where_keys_stand() -> None:
    places, begin_query, begin_key = key_places([2, 1, 3, 2], [None, 0, 0, None])
    assert places.tolist() == [0, 1, 0, 1, 2, 0, 1, 3, 4, 5, 6, 7]
    assert begin_query.tolist() == [0, 2, 3, 6, 8]
    assert begin_key.tolist() == [0, 2, 5, 10, 12]


def test_a_cpu_attends_segment_by_segment() -> None:
    query = torch.zeros(1, 2, 3, 8, dtype=torch.bfloat16)
    assert not attention.fused(query, query, query)
    row = Packed([1, 2], [None, 0], torch.device("cpu"))
    value = torch.from_numpy(np.eye(3, 8, dtype=np.float32))[None, None].expand(1, 2, 3, 8)
    attended = row.attend(torch.zeros(1, 2, 3, 8), torch.zeros(1, 2, 3, 8), value, None)
    torch.testing.assert_close(attended[0, 0, :, :3], torch.tensor([[1.0, 0, 0], [1 / 2, 1 / 2, 0], [1 / 3] * 3]))
