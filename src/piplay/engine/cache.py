"""The key–value cache of one policy and the three ways a forward looks at it.

Per layer it is two tensors (slots, kv_heads, capacity, head_dim). A session keeps one slot over its turns. ``_S``: one
per slot from the first; ``_R``: one per row of a prefill; ``_N``: one per token written.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from piplay.engine.attention import causal
from piplay.types import Ints

CAPACITY_BUCKET = 128
"""The capacity grows by multiples of this many tokens: each growth copies the cache."""
LENGTH_BUCKET = 64
"""Attention reads up to a multiple of this many tokens: fewer distinct shapes, aligned rows."""


class Cache:
    """Keys and values of up to ``slots`` sessions under one policy's weights."""

    def __init__(self, config: Any, slots: int, device: torch.device, dtype: torch.dtype) -> None:
        head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.device = device
        self.capacity = 0
        # Zeros, not empty: a masked position still takes part as 0 · value, and 0 · NaN is NaN.
        self.layers = [
            torch.zeros((2, slots, config.num_key_value_heads, 0, head_dim), device=device, dtype=dtype)
            for _ in range(config.num_hidden_layers)
        ]

    def reserve(self, length: int) -> None:
        """Make room for ``length`` tokens in every slot."""
        if length > self.capacity:
            grown = -(-length // CAPACITY_BUCKET) * CAPACITY_BUCKET - self.capacity
            self.capacity += grown
            # One after the other, so that no second cache exists meanwhile.
            for index, layer in enumerate(self.layers):
                self.layers[index] = torch.nn.functional.pad(layer, (0, 0, 0, grown))

    def swap(self, one: int, other: int) -> None:
        """Exchange what two slots hold."""
        for layer in self.layers:
            layer[:, [one, other]] = layer[:, [other, one]]

    def to_device(self, array: np.ndarray[Any, Any]) -> Tensor:
        """A tensor of ``array`` on the cache's device; it shares memory where that is the CPU."""
        return torch.from_numpy(array).to(self.device)


class FreshPrefill:
    """A forward of right-padded sequences that start in empty slots: attends to its own keys only."""

    def __init__(self, cache: Cache, slot_R: Ints, start_R: Ints, count_R: Ints) -> None:
        self._cache = cache
        row_N = np.repeat(np.arange(len(slot_R)), count_R)
        column_N = np.concatenate([np.arange(count) for count in count_R])
        self._row_N, self._column_N = cache.to_device(row_N), cache.to_device(column_N)
        self._slot_N = cache.to_device(slot_R[row_N])
        self._position_N = cache.to_device(start_R[row_N] + column_N)

    def update(self, key: Tensor, value: Tensor, layer: int, *_: Any) -> tuple[Tensor, Tensor]:
        keys, values = self._cache.layers[layer]
        for stored, new in ((keys, key), (values, value)):
            # Only real tokens are written: padding could lie beyond the capacity.
            stored[self._slot_N, :, self._position_N] = new[self._row_N, :, self._column_N].to(stored.dtype)
        return key, value

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float | None) -> Tensor:
        return causal(query, key, value, scale)


class Prefill(FreshPrefill):
    """A forward of right-padded suffixes behind what their slots already hold."""

    def __init__(self, cache: Cache, slot_R: Ints, start_R: Ints, count_R: Ints) -> None:
        super().__init__(cache, slot_R, start_R, count_R)
        self._slot_R = cache.to_device(slot_R)
        self._length = int((start_R + count_R).max())
        query_R_T = start_R[:, None] + np.arange(count_R.max())
        self._visible = cache.to_device(np.arange(self._length) <= query_R_T[:, None, :, None])

    def update(self, key: Tensor, value: Tensor, layer: int, *_: Any) -> tuple[Tensor, Tensor]:
        super().update(key, value, layer)
        keys, values = self._cache.layers[layer][:, self._slot_R, :, : self._length]
        return keys, values

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float | None) -> Tensor:
        return scaled_dot_product_attention(
            query.to(key.dtype), key, value, attn_mask=self._visible, scale=scale, enable_gqa=True
        )


class Decode:
    """A forward of one token for each of the first slots, over the cache in place: nothing is gathered or copied.

    A slot that is not decoding takes part too: its token lands in the first position it does not use.
    """

    def __init__(self, cache: Cache, position_S: Ints, length: int) -> None:
        """``position_S``: where each slot's token goes; ``length``: the most tokens any decoding slot attends to."""
        self._cache = cache
        self._slot_S = torch.arange(len(position_S), device=cache.device)
        self._position_S = cache.to_device(position_S)
        self._length = min(-(-length // LENGTH_BUCKET) * LENGTH_BUCKET, cache.capacity)
        _, _, kv_heads, _, _ = cache.layers[0].shape
        hidden_S_L = torch.arange(self._length, device=cache.device) > self._position_S[:, None]
        bias_S_L = torch.zeros(hidden_S_L.shape, device=cache.device, dtype=cache.layers[0].dtype)
        self._bias = bias_S_L.masked_fill_(hidden_S_L, -torch.inf).repeat_interleave(kv_heads, 0)[:, None]

    def update(self, key: Tensor, value: Tensor, layer: int, *_: Any) -> tuple[Tensor, Tensor]:
        keys, values = self._cache.layers[layer]
        keys[self._slot_S, :, self._position_S] = key[:, :, 0].to(keys.dtype)
        values[self._slot_S, :, self._position_S] = value[:, :, 0].to(values.dtype)
        slots = len(self._slot_S)
        return keys[:slots, :, : self._length], values[:slots, :, : self._length]

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float | None) -> Tensor:
        slots, heads, _, head_dim = query.shape
        # The query heads that share a key–value head become rows of one product, so keys and values are read once.
        grouped = query.to(key.dtype).view(slots * key.shape[1], -1, head_dim)
        scale = head_dim**-0.5 if scale is None else scale
        scores = torch.baddbmm(self._bias, grouped, key.flatten(0, 1).transpose(1, 2), alpha=scale)
        return torch.bmm(scores.softmax(-1), value.flatten(0, 1)).view(slots, heads, 1, head_dim)
