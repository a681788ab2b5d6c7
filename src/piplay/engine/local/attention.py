"""The engine's own attention under Hugging Face's model definitions, registered with transformers as ``piplay``.

transformers builds no mask for an attention it does not know, so the mask is this module's business: without a view
attention is causal over right-padded sequences (padding lies in every real token's future); with a view, the keyword
``view`` of the model's forward, the view attends. A view of the key–value cache travels twice: also as
``past_key_values``, whose ``update`` stores a layer's new keys and values and returns those to attend to.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AutoModelForCausalLM
from transformers.utils import logging

from piplay.engine.local.folders import LOCAL
from piplay.errors import InputError, first_line, out_of_memory
from piplay.types import Ints

# Earlier ones do not share key–value heads.
VARLEN = torch.__version__ >= "2.12"
if VARLEN:
    from torch.nn.attention.varlen import varlen_attn

NAME = "piplay"
_ALIKE = "use Qwen2, Qwen3, Llama or a model alike"

# cuDNN's attention, first in torch's order on the newest GPUs, plans again for each shape that it has not met, and here
# nearly every call has a shape of its own.
torch.backends.cuda.enable_cudnn_sdp(False)


class View(Protocol):
    """Who attends to what in one forward."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float | None) -> Tensor:
        """Attention of ``query`` (B, heads, T, head_dim) over keys and values (B, kv_heads, S, head_dim)."""


def masked(query: Tensor, key: Tensor, value: Tensor, visible: Tensor | None, scale: float | None) -> Tensor:
    """Attention of (B, heads, T, head_dim) to what is ``visible``, (…, T, S); None: to the past, where T = S.

    Fewer key–value heads are shared. On a GPU no fused kernel shares them behind a mask or in fp32, and the one that is
    left holds every score in fp32: there they are repeated.
    """
    times = query.shape[1] // key.shape[1]
    if times > 1 and not query.is_cpu and (visible is not None or query.dtype == torch.float32):
        key, value = key.repeat_interleave(times, 1), value.repeat_interleave(times, 1)
    return scaled_dot_product_attention(
        query, key, value, attn_mask=visible, is_causal=visible is None, scale=scale, enable_gqa=True
    )


def causal(query: Tensor, key: Tensor, value: Tensor, scale: float | None) -> Tensor:
    """Causal attention within a right-padded batch, (B, heads, T, head_dim)."""
    return masked(query, key, value, None, scale)


def key_places(lengths: Sequence[int], parents: Sequence[int | None]) -> tuple[Ints, Ints, Ints]:
    """What each segment of a row attends to: its parent's keys and then its own, one segment after the other.

    A causal mask over them that is aligned at the end, at the last query and the last key, is the segment's.

    Args:
        lengths: of the segments.
        parents: of the segments; see ``piplay.algo.packing.Layout``.

    Returns:
        The places in the row of these keys, and where each segment's queries and each segment's keys begin, with the
        total behind the last: (M,), (segments + 1,), (segments + 1,).
    """
    places = np.split(np.arange(sum(lengths)), np.cumsum(lengths)[:-1])
    keys = [
        places[own] if parent is None else np.concatenate([places[parent], places[own]])
        for own, parent in enumerate(parents)
    ]
    begin_query, begin_key = (np.cumsum([0, *map(len, segments)]) for segments in (places, keys))
    return np.concatenate(keys), begin_query, begin_key


def fused(query: Tensor, key: Tensor, value: Tensor) -> bool:
    """Whether one call can attend within all segments: on a GPU with flash attention, in half precision."""
    if not (VARLEN and query.is_cuda and query.shape[-1] % 8 == 0):
        return False
    asked = torch.backends.cuda.SDPAParams(query, key, value, None, 0.0, True, True)
    return torch.backends.cuda.can_use_flash_attention(asked)


class Packed:
    """Sequences end to end in one row, each attending to itself alone; a segment with a parent attends to that as well.

    No mask over the row exists: where flash attention can be had, one call takes segments of different lengths, and
    elsewhere attention runs segment by segment. All the rest of a layer runs on the row.
    """

    def __init__(self, lengths: Sequence[int], parents: Sequence[int | None], device: torch.device) -> None:
        """``lengths`` and ``parents`` of the segments: see ``piplay.algo.packing.Layout``."""
        self._lengths, self._parents, self._device = list(lengths), list(parents), device

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float | None) -> Tensor:
        """Attention within the row, (1, heads, N, head_dim)."""
        attend = self._at_once if fused(query, key, value) else self._one_by_one
        return attend(query, key, value, scale)

    def _at_once(self, query: Tensor, key: Tensor, value: Tensor, scale: float | None) -> Tensor:
        key_M, begin_query, begin_key, most_queries, most_keys = self._segments
        query_N, key_N, value_N = (whole[0].transpose(0, 1) for whole in (query, key, value))
        attended_N = varlen_attn(
            query_N, key_N.index_select(0, key_M), value_N.index_select(0, key_M),
            begin_query, begin_key, most_queries, most_keys, scale=scale, window_size=(-1, 0), enable_gqa=True,
        )  # fmt: skip
        assert isinstance(attended_N, Tensor)
        return attended_N.transpose(0, 1)[None]

    def _one_by_one(self, query: Tensor, key: Tensor, value: Tensor, scale: float | None) -> Tensor:
        queries, keys, values = (torch.split(whole, self._lengths, dim=2) for whole in (query, key, value))
        begun, mask = self._visible
        parts = []
        for own, parent in enumerate(self._parents):
            if parent is None:
                part = causal(queries[own], keys[own], values[own], scale)
            else:
                behind = torch.cat([keys[parent], keys[own]], 2), torch.cat([values[parent], values[own]], 2)
                visible = mask[: self._lengths[own], begun - self._lengths[parent] :]
                visible = visible[:, : behind[0].shape[2]]
                part = masked(queries[own], *behind, visible, scale)
            parts.append(part.transpose(1, 2))
        return torch.cat(parts, 1).transpose(1, 2)

    @cached_property
    def _segments(self) -> tuple[Tensor, Tensor, Tensor, int, int]:
        """``key_places`` as ``varlen_attn`` takes them, and the most queries and keys of a segment."""
        key_M, *begins = key_places(self._lengths, self._parents)
        begin_query, begin_key = (torch.from_numpy(begin.astype(np.int32)).to(self._device) for begin in begins)
        most_queries, most_keys = (int(np.diff(begin).max()) for begin in begins)
        return torch.from_numpy(key_M).to(self._device), begin_query, begin_key, most_queries, most_keys

    @cached_property
    def _visible(self) -> tuple[int, Tensor]:
        """The longest parent, and the mask of the longest segment behind it: others' masks are parts of it."""
        pairs = [
            (length, self._lengths[parent])
            for length, parent in zip(self._lengths, self._parents, strict=True)
            if parent is not None
        ]
        height, begun = max((length for length, _ in pairs), default=0), max((before for _, before in pairs), default=0)
        return begun, torch.ones(height, begun + height, dtype=torch.bool, device=self._device).tril(begun)


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    view: View | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    if kwargs.get("softcap") is not None or kwargs.get("s_aux") is not None:
        raise NotImplementedError("soft-capped attention and attention sinks are not supported")
    attend = causal if view is None else view.attend
    return attend(query, key, value, scaling).transpose(1, 2).contiguous(), None


AttentionInterface.register(NAME, _attention)


def kv_heads(config: Any) -> int:
    """Key–value heads of a model: as many as heads where its configuration knows no groups of heads."""
    return int(getattr(config, "num_key_value_heads", None) or config.num_attention_heads)


def head_dim(config: Any) -> int:
    """Numbers of a head."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def load_model(path: Path, device: torch.device, dtype: torch.dtype = torch.float32) -> Any:
    """The causal language model in a Hugging Face folder, held in ``dtype``, attending through this module.

    Raises:
        InputError: the folder holds no such model, or one whose layers do not all attend to the whole past.
    """
    model = _read(path, dtype)
    config = model.config
    if config.get_text_config() is not config:
        raise InputError(f"{path} is a model of more than text ({config.model_type}): save its language model alone")
    layer_types = getattr(config, "layer_types", None) or ["full_attention"]
    if getattr(config, "sliding_window", None) is not None or set(layer_types) != {"full_attention"}:
        raise InputError(f"{path} has sliding-window or linear attention layers; use a model with full attention only.")
    model = model.to(device).eval()
    try:
        problem = _unlike(model)
    except Exception as error:  # a model of others raises whatever it likes
        if out_of_memory(error):
            raise
        raise InputError(f"{path} cannot be used: {first_line(error)}") from error
    if problem:
        raise InputError(f"{path} {problem}, which is not supported: {_ALIKE}")
    return model


def _read(path: Path, dtype: torch.dtype) -> Any:
    """The model as transformers reads it, where all of its weights are there."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)  # its reports fill a screen
    try:
        model, told = AutoModelForCausalLM.from_pretrained(
            path, dtype=dtype, attn_implementation=NAME, output_loading_info=True, **LOCAL
        )
    except KeyError as error:
        raise InputError(f"{path} has an attention of its own that cannot be replaced: {_ALIKE}") from error
    except Exception as error:  # a damaged file raises whatever its reader stumbles over
        if out_of_memory(error):
            raise
        raise InputError(f"{path} is not a folder with a Hugging Face language model: {first_line(error)}") from error
    finally:
        logging.set_verbosity(verbosity)
    if lacking := sorted(map(str, (*told["missing_keys"], *told["mismatched_keys"]))):
        raise InputError(
            f"{path} lacks {len(lacking)} of its model's weights, such as {lacking[0]}, or has them in another shape: "
            "config.json and weights are of two models, or files are missing; fetch it again"
        )
    return model


class _Counted:
    """Causal attention that counts the layers which ask for it."""

    layers = 0

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float | None) -> Tensor:
        self.layers += 1
        return causal(query, key, value, scale)


@torch.no_grad()
def _unlike(model: Any) -> str:
    """What of a model this engine would compute otherwise than transformers does; empty where it is nothing.

    Its logits have to be what the head makes of the last hidden states, for the engine takes the two apart, and its
    attention has to be what is asked of this module: a model that adds something of its own, such as ALiBi's biases,
    comes out otherwise than under transformers' plain attention.
    """
    # A padding token's embedding is 0, which no factor changes.
    tokens = [token for token in range(9) if token != model.config.pad_token_id]
    ids = torch.tensor([tokens], device=model.device)
    position_ids = torch.arange(len(tokens), device=model.device)[None]
    given = {"input_ids": ids, "position_ids": position_ids, "use_cache": False}
    whole = model(**given).logits
    counted = _Counted()
    parts = model.get_output_embeddings()(model.base_model(**given, view=counted).last_hidden_state)
    if counted.layers != model.config.num_hidden_layers:
        return f"has an attention of its own ({model.config.model_type})"
    if not whole.isfinite().all():
        raise InputError("its logits are not finite, so its weights are damaged: fetch it again")
    if not torch.allclose(whole, parts, rtol=1e-2, atol=1e-4):
        return "changes its logits behind the head (as models that scale or cap them do)"
    model.set_attn_implementation("eager")
    plain = model(input_ids=ids, use_cache=False).logits
    model.set_attn_implementation(NAME)
    # What half precision rounds away grows with the logits themselves.
    scale = 1.0 if whole.dtype == torch.float32 else max(1.0, float(plain.abs().max()))
    if torch.allclose(whole.float(), plain.float(), rtol=5e-2, atol=5e-2 * scale):
        return ""
    if whole.dtype == torch.float32:
        return f"adds to its attention what this engine does not ({model.config.model_type})"
    # Of ids that training has hardly met it may round away more: fp32 decides, which takes twice the memory.
    halves = [x for x in (*model.parameters(), *model.buffers()) if x.dtype == whole.dtype]
    try:
        for half in halves:
            half.data = half.data.float()
        return _unlike(model)
    finally:
        for half in halves:
            half.data = half.data.to(whole.dtype)
