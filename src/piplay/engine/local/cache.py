"""The key–value cache of one policy, in pages, and the one forward that looks at it.

Per layer it is a tensor (keys or values, pages, kv_heads, PAGE, head_dim). A session keeps one slot over its turns; a
slot holds as many pages as its tokens fill. ``_S``: one per slot; ``_P``: one per page; ``_N``: one per token of a
forward; ``_M``: one per token written; ``_R``: one per row that is decoded; ``_B_T``: a padded batch of chunks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from piplay.algo.packing import packs
from piplay.engine.local.attention import head_dim, kv_heads, masked
from piplay.engine.local.freed import give_back
from piplay.types import Ints

PAGE = 32
"""Tokens in a page. Attention reads whole pages."""
POOL_BUCKET = 256
"""The pool grows by a quarter of its pages, and at least by so many: each growth copies it."""

Count = TypeVar("Count", int, Ints)


def pages(tokens: Count) -> Count:
    """How many pages so many tokens fill."""
    return -(-tokens // PAGE)


def bucket(count: int) -> int:
    """``count``, at least 1, rounded up to 2ⁿ or 3·2ⁿ: few sizes, and less than half of one is padding."""
    step = 1 << max(0, (count - 1).bit_length() - 2)
    return -(-count // step) * step


class Cache:
    """Keys and values of up to ``slots`` sessions under one policy's weights."""

    def __init__(self, config: Any, slots: int, most: int | None, device: torch.device, dtype: torch.dtype) -> None:
        """``most``: pages that all slots hold together, which is the caller's to see to; None: as many as they need."""
        self.device = device
        self.layers = [
            torch.zeros((2, 0, kv_heads(config), PAGE, head_dim(config)), device=device, dtype=dtype)
            for _ in range(config.num_hidden_layers)
        ]
        self.page_S_P: Ints = np.zeros((slots, 0), dtype=np.int64)
        """The pages of each slot in the order of its tokens; where it holds none, page 0, which is masked."""
        self.held_S: Ints = np.zeros(slots, dtype=np.int64)
        """How many pages each slot holds."""
        self.most = most
        # The lowest page first: what is in use stays together, so that attention can read it in place.
        self._free: list[int] = []

    def reserve(self, slot_R: Ints, length_R: Ints) -> None:
        """Give slots the pages that so many tokens fill."""
        for slot, wanted in zip(slot_R, pages(length_R), strict=True):
            for place in range(self.held_S[slot], wanted):
                if place == self.page_S_P.shape[1]:
                    self.page_S_P = np.pad(self.page_S_P, ((0, 0), (0, max(1, place))))
                if not self._free:
                    self._grow()
                self.page_S_P[slot, place] = heappop(self._free)
                self.held_S[slot] = place + 1

    def release(self, slot: int, kept: int = 0) -> None:
        """Take a slot's pages back, but the first ``kept``."""
        for page in self.page_S_P[slot, kept : self.held_S[slot]]:
            heappush(self._free, int(page))
        self.page_S_P[slot, kept:], self.held_S[slot] = 0, min(kept, self.held_S[slot])

    def copy(self, source: int, target: int, length: int) -> None:
        """Give ``target`` the first ``length`` tokens of ``source``, in whole pages."""
        self.reserve(np.array([target]), np.array([length]))
        from_P, to_P = (self.to_device(self.page_S_P[slot, : pages(length)]) for slot in (source, target))
        for layer in self.layers:
            layer[:, to_P] = layer[:, from_P]

    def to_device(self, array: np.ndarray[Any, Any]) -> Tensor:
        """A tensor of ``array`` on the cache's device; it shares memory where that is the CPU."""
        return torch.from_numpy(array).to(self.device)

    def _grow(self) -> None:
        there = self.layers[0].shape[1]
        more = max(there // 4, POOL_BUCKET)
        if self.most is not None:
            more = min(more, self.most - there)
        # Zeros, not empty: a masked position still takes part as 0 · value, and 0 · NaN is NaN. One layer after the
        # other, so that no second cache exists meanwhile.
        for index, layer in enumerate(self.layers):
            self.layers[index] = torch.nn.functional.pad(layer, (0, 0, 0, 0, 0, 0, 0, more))
        self._free = list(range(there, there + more))
        give_back()


@dataclass(frozen=True, slots=True)
class Chunk:
    """Tokens that are new to the cache, the same for one or more slots that hold the same before them."""

    slots: Ints
    start: int
    """How many tokens these slots hold already."""
    count: int


class Batch:
    """The tokens of one forward, (1, N): the next one of each decoding slot, then chunk after chunk, then padding.

    Attention differs between the two: a decoded token reads its own pages in place, a chunk is a padded row of a batch.
    """

    def __init__(
        self,
        cache: Cache,
        slot_R: Ints,
        position_R: Ints,
        chunks: Sequence[Chunk],
        budget: int,
        padded: int | None = None,
    ) -> None:
        """``slot_R``, ``position_R``: what is decoded, and where; ``budget``: padded tokens in a batch of chunks;
        ``padded``: where there are no chunks, the tokens with their padding; then shapes follow from it and a bucket of
        pages alone."""
        self._cache = cache
        self._rows = padded or len(slot_R)
        slots, positions, tokens = [slot_R], [position_R], [np.arange(len(slot_R))]
        if padded:
            # What padding stores is the first token's, once more.
            again = np.zeros(padded - len(slot_R), dtype=np.int64)
            slots, positions, tokens = [*slots, slot_R[again]], [*positions, position_R[again]], [*tokens, again]
        self.first = np.cumsum([len(slot_R), *(chunk.count for chunk in chunks)])
        """Where each chunk begins among the tokens; at the end, how many tokens there are."""
        for chunk, first in zip(chunks, self.first, strict=False):
            cache.reserve(chunk.slots, np.full(len(chunk.slots), chunk.start + chunk.count))
            slots.append(np.repeat(chunk.slots, chunk.count))
            positions.append(np.tile(np.arange(chunk.start, chunk.start + chunk.count), len(chunk.slots)))
            tokens.append(np.tile(np.arange(first, first + chunk.count), len(chunk.slots)))
        cache.reserve(slot_R, position_R + 1)
        position_M = np.concatenate(positions)
        page_M = cache.page_S_P[np.concatenate(slots), position_M // PAGE]
        # A layer seen as rows of head_dim numbers: one row for each token and key–value head.
        kv_heads = cache.layers[0].shape[2]
        row_M_H = (page_M[:, None] * kv_heads + np.arange(kv_heads)) * PAGE + (position_M % PAGE)[:, None]
        self._row_MH = cache.to_device(row_M_H.ravel())
        self._token_M = cache.to_device(np.concatenate(tokens))
        self._decode = _Decode(cache, slot_R, position_R, padded) if self._rows else None
        counts = [chunk.count for chunk in chunks]
        self._packs: list[_Pack] = []
        for pack in packs(sorted(range(len(chunks)), key=counts.__getitem__), counts, budget):
            # What a batch attends to is gathered: no more than the cache may hold.
            longest = max(pages(chunks[i].start + chunks[i].count) for i in pack)
            rows = len(pack) if cache.most is None else max(1, cache.most // longest)
            for part in (pack[at : at + rows] for at in range(0, len(pack), rows)):
                self._packs.append(_Pack(cache, [chunks[i] for i in part], self.first[part]))

    @property
    def inputs(self) -> list[Tensor]:
        """Without chunks: the tensors in which batches of the same shapes differ."""
        assert self._decode is not None
        return [self._row_MH, self._token_M, *self._decode.inputs]

    @property
    def pages(self) -> int:
        """The pages of the cache, whose layers are others when it has grown."""
        return self._cache.layers[0].shape[1]

    def update(self, key: Tensor, value: Tensor, layer: int, *_: Any) -> tuple[Tensor, Tensor]:
        """Store the new keys and values (1, kv_heads, N, head_dim); the whole layer is what ``attend`` reads."""
        keys, values = self._cache.layers[layer]
        for stored, new in ((keys, key), (values, value)):
            new_M_H = new[0].transpose(0, 1).index_select(0, self._token_M).to(stored.dtype)
            stored.view(-1, stored.shape[-1]).index_copy_(0, self._row_MH, new_M_H.flatten(0, 1))
        return keys, values

    def get_seq_length(self, layer: int = 0) -> int:
        """0: what transformers would count positions from; here they are given."""
        return 0

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float | None) -> Tensor:
        query_N = query[0].transpose(0, 1).to(key.dtype)
        scale = query_N.shape[-1] ** -0.5 if scale is None else scale
        attended_N = torch.zeros_like(query_N, memory_format=torch.contiguous_format)
        if self._decode is not None:
            attended_N[: self._rows] = self._decode.attend(query_N[: self._rows], key, value, scale)
        for pack in self._packs:
            pack.attend(attended_N, query_N, key, value, scale)
        return attended_N.transpose(0, 1)[None]


class _Decode:
    """Attention of one token a row: a page at a time, and each row's pages put together again."""

    def __init__(self, cache: Cache, slot_R: Ints, position_R: Ints, padded: int | None = None) -> None:
        """``padded``: see ``Batch``."""
        kv_heads = cache.layers[0].shape[2]
        count_R = position_R // PAGE + 1
        row_P, place_P = np.nonzero(np.arange(count_R.max()) < count_R[:, None])
        page_P = cache.page_S_P[slot_R[row_P], place_P]
        top = int(page_P.max()) + 1
        self._rows = padded or len(slot_R)
        in_place = top <= 2 * len(page_P)
        count = top if in_place else len(page_P)
        if padded:
            count = min(bucket(count), cache.layers[0].shape[1]) if in_place else bucket(count)
        self._page_P = slice(0, count) if in_place else cache.to_device(np.pad(page_P, (0, count - len(page_P))))
        where_P = page_P if in_place else np.arange(len(page_P))
        owner_P = np.zeros(count, dtype=np.int64)
        owner_P[where_P] = row_P
        self._owner_P = cache.to_device(owner_P)
        # A page of no row, between those of others, is read too, and weighs nothing in the first row.
        bias_P_C = np.full((len(owner_P), PAGE), -np.inf, dtype=np.float32)
        bias_P_C[where_P] = 0
        last_R = where_P[np.cumsum(count_R) - 1]
        bias_P_C[last_R] = np.where(np.arange(PAGE) > (position_R % PAGE)[:, None], -np.inf, 0)
        self._bias = cache.to_device(bias_P_C).repeat_interleave(kv_heads, 0)[:, None]

    @property
    def inputs(self) -> list[Tensor]:
        """The tensors in which steps of the same shapes differ."""
        gathered = [] if isinstance(self._page_P, slice) else [self._page_P]
        return [self._owner_P, self._bias, *gathered]

    def attend(self, query_R: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        key_P, value_P = key[self._page_P], value[self._page_P]
        count, kv_heads, _, head_dim = key_P.shape
        heads, owner_P = query_R.shape[1], self._owner_P
        # The query heads that share a key–value head become rows of one product, so keys and values are read once.
        grouped_P = query_R.index_select(0, owner_P).view(count * kv_heads, -1, head_dim)
        score_P = _scores(grouped_P, key_P.flatten(0, 1).transpose(1, 2), self._bias, scale)
        top_P = score_P.amax(-1).view(count, heads)
        top_R = top_P.new_full((self._rows, heads), -torch.inf)
        top_R.scatter_reduce_(0, owner_P[:, None].expand(-1, heads), top_P, "amax")
        weight_P = score_P.sub_(top_R.index_select(0, owner_P).view(count * kv_heads, -1, 1)).exp_()
        total_R = torch.zeros_like(top_R).index_add_(0, owner_P, weight_P.sum(-1).view(count, heads))
        part_P = torch.bmm(weight_P.to(value_P.dtype), value_P.flatten(0, 1)).view(count, heads, head_dim)
        sum_R = top_R.new_zeros(self._rows, heads, head_dim).index_add_(0, owner_P, part_P.float())
        # At least 1, the weight of the highest score; 0 in a row of padding, which has no page.
        return (sum_R / total_R[..., None].clamp_(min=1)).to(query_R.dtype)


def _scores(query_P: Tensor, key_P: Tensor, bias_P: Tensor, scale: float) -> Tensor:
    """scale · query key + bias, in fp32 whatever the factors are: in bf16 a score of 100 would be off by up to 0.25."""
    if query_P.dtype == torch.float32:
        return torch.baddbmm(bias_P, query_P, key_P, alpha=scale)
    if query_P.is_cuda:
        product_P = torch.bmm(query_P, key_P, out_dtype=torch.float32)
    else:
        product_P = torch.bmm(query_P.float(), key_P.float())
    return product_P.mul_(scale).add_(bias_P)


class _Pack:
    """Attention of chunks of like length, right-padded."""

    def __init__(self, cache: Cache, chunks: Sequence[Chunk], first_B: Ints) -> None:
        start_B, count_B = (np.array([getattr(chunk, name) for chunk in chunks]) for name in ("start", "count"))
        column_T = np.arange(count_B.max())
        longest = pages(int((start_B + count_B).max()))
        self._page_B_P = cache.to_device(cache.page_S_P[[chunk.slots[0] for chunk in chunks], :longest])
        # Padding repeats a row's last token: its result is left where it is.
        token_B_T = first_B[:, None] + np.minimum(column_T, count_B[:, None] - 1)
        self._token_B_T = cache.to_device(token_B_T)
        position_B_T = start_B[:, None] + column_T
        self._visible = cache.to_device(np.arange(longest * PAGE) <= position_B_T[:, None, :, None])
        real_B_T = column_T < count_B[:, None]
        self._real_BT, self._real_N = cache.to_device(np.flatnonzero(real_B_T)), cache.to_device(token_B_T[real_B_T])

    def attend(self, attended_N: Tensor, query_N: Tensor, key: Tensor, value: Tensor, scale: float) -> None:
        key_B, value_B = (kept[self._page_B_P].transpose(1, 2).flatten(2, 3) for kept in (key, value))
        query_B = query_N[self._token_B_T].transpose(1, 2)
        done_B = masked(query_B, key_B, value_B, self._visible, scale)
        attended_N.index_copy_(0, self._real_N, done_B.transpose(1, 2).flatten(0, 1).index_select(0, self._real_BT))
