"""The engine's own attention under Hugging Face's model definitions, registered with transformers as ``piplay``.

transformers builds no mask for an attention it does not know, so the mask is this module's business: without a view
attention is causal over right-padded sequences (padding lies in every real token's future); with a view of the
key–value cache the view attends. The view travels twice through the model's forward, as ``past_key_values``, which the
layers call ``update`` on, and as the keyword ``view``, which reaches the function below.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AutoModelForCausalLM

from piplay.errors import InputError

NAME = "piplay"


class View(Protocol):
    """The part of a cache that one forward reads and writes."""

    def update(self, key: Tensor, value: Tensor, layer: int, *args: Any) -> tuple[Tensor, Tensor]:
        """Store this forward's keys and values (B, kv_heads, T, head_dim); return those to attend to."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float | None) -> Tensor:
        """Attention of ``query`` (B, heads, T, head_dim) over what ``update`` returned."""


def causal(query: Tensor, key: Tensor, value: Tensor, scale: float | None) -> Tensor:
    """Causal attention within a right-padded batch, (B, heads, T, head_dim); fewer key–value heads are shared."""
    return scaled_dot_product_attention(query, key, value, is_causal=True, scale=scale, enable_gqa=True)


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


def load_model(path: Path, device: torch.device, dtype: torch.dtype = torch.float32) -> Any:
    """The causal language model in a Hugging Face folder, held in ``dtype``, attending through this module.

    Raises:
        InputError: the folder holds no such model, or one whose layers do not all attend to the whole past.
    """
    try:
        model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, attn_implementation=NAME, local_files_only=True)
    except (OSError, ValueError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} is not a folder with a Hugging Face language model: {reason}") from error
    config = model.config
    layer_types = getattr(config, "layer_types", None) or ["full_attention"]
    if getattr(config, "sliding_window", None) is not None or set(layer_types) != {"full_attention"}:
        raise InputError(f"{path} has sliding-window or linear attention layers; use a model with full attention only.")
    return model.to(device).eval()
