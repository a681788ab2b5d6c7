"""What an engine will hold, before it is made: bytes by what they are for.

Weights are counted, and what a backward needs is recorded, on a model of the same shape that has no data (torch's
``meta`` device). The rest follows from the settings. What is held in what: ``policies.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from transformers import AutoConfig, AutoModelForCausalLM

from piplay.engine.local import adapters
from piplay.engine.local.attention import NAME, head_dim, kv_heads
from piplay.engine.local.cache import PAGE, pages
from piplay.engine.local.checkpointing import enable, recomputing
from piplay.engine.local.folders import LOCAL
from piplay.engine.local.scored import HEAD_ROWS, loss_bytes
from piplay.errors import InputError, first_line
from piplay.settings import EngineSettings, Policy

_PROBE = 256
"""Tokens of the recorded forward."""
_HEAD_BYTES = 12
"""A row and entry of the vocabulary, where a student learns from a teacher: both logits in fp32, and one on its way."""
_LOSS_COPIES = 10
"""Tensors of ``loss_bytes`` that live while losses are computed."""
_DRAW_BYTES = 26
"""The same where tokens are drawn: logits, log-probabilities, their exponentials and running sums in fp64."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Bytes on the engine's device at the fullest moment of playing, of learning, or of being made."""

    held: Mapping[str, int]
    """What is there all the time."""
    playing: Mapping[str, int]
    """What comes to it while turns are written."""
    learning: Mapping[str, int]
    """What comes to it in a step of an optimiser."""
    made: int
    """What is there when the policies are made, before any optimiser."""
    checkpoint: int
    """On disk: masters, moments and snapshots."""
    export: int
    """On disk: one policy's weights, or its adapters."""
    model: int
    """The weights of one whole model."""

    @property
    def peak(self) -> int:
        """The most at any moment."""
        moving = max(sum(self.playing.values()), sum(self.learning.values()))
        return max(sum(self.held.values()) + moving, self.made)


class _Recorded:
    """Attention as far as memory goes: it keeps queries, keys, values and what comes out."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float | None) -> Tensor:
        result: Tensor = _Attended.apply(query, key, value)  # type: ignore[no-untyped-call]
        return result


class _Attended(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        result = torch.empty_like(query)
        ctx.save_for_backward(query, key, value, result)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        raise NotImplementedError


def estimate(
    model_path: Path,
    policies: Mapping[str, Policy],
    settings: EngineSettings,
    *,
    tokens: int,
    writing: int,
    learning: frozenset[str],
    snapshots: int = 0,
) -> Estimate:
    """The memory of a ``LocalEngine`` of these policies and settings.

    Args:
        model_path: as for the engine; only its ``config.json`` is read.
        policies: by name.
        settings: the engine's.
        tokens: the longest trajectory.
        writing: policies that write at the same time.
        learning: the policies that are trained.
        snapshots: how many there are at once.

    Raises:
        InputError: no model, or adapters or checkpointing that it cannot have.
    """
    dtype = getattr(torch, settings.dtype)
    width, moving = dtype.itemsize, {name: p for name, p in policies.items() if p.follows is None or p.tau > 0}
    model = _shape(model_path, dtype)
    config, total = model.config, sum(p.numel() for p in model.parameters())
    moved = total
    if settings.lora.rank:
        model.requires_grad_(False)
        moved = sum(p.numel() for p in adapters.inject(model, settings.lora, seed=0).values())
    adapted = moved if settings.lora.rank else 0
    copies = 1 if adapted else len(moving) + (len(moving) < len(policies))
    held = {
        "weights": total * width * copies,
        "adapters": adapted * width * len(moving),
        "masters": 0 if width == 4 else 4 * moved * len(moving),
        "optimiser": 8 * moved * len(learning),
        "snapshots": moved * width * snapshots,
    }
    playing = _playing(config, settings, tokens, writing, width)
    learns = _learning(model, settings, tokens, moved, bool(adapted)) if learning else {}
    made = total * width * (copies + (0 if adapted else settings.device == "cpu"))
    checkpoint = 4 * moved * len(moving) + held["optimiser"] + held["snapshots"]
    return Estimate(held, playing, learns, made, checkpoint, (adapted or total) * width, total * width)


def _playing(config: Any, settings: EngineSettings, tokens: int, writing: int, width: int) -> dict[str, int]:
    """What is there while policies write, ``width`` bytes a number."""
    place = 2 * kv_heads(config) * head_dim(config) * width
    most = max(settings.micro_batch_tokens, tokens)
    gathered = 1 if settings.device == "cpu" else 1 + config.num_attention_heads // kv_heads(config)
    # The pool may be a quarter larger than what is in it, but never than what it may be.
    pool, cached = settings.slots * pages(tokens) * 5 // 4, settings.slots * tokens
    if settings.cache_tokens is not None:
        pool, cached = min(pool, pages(settings.cache_tokens)), min(cached, settings.cache_tokens)
    found = {
        # While the pool grows, one layer is there twice.
        "keys and values": (config.num_hidden_layers + 1) * writing * pool * PAGE * place,
        # What new tokens attend to is gathered, at worst for every slot; away from the CPU its heads are repeated too.
        "prefill": most * (_layer_row(config) * width + tokens * (1 + width)) + cached * place * gathered,
        "draws": settings.slots * config.vocab_size * _DRAW_BYTES,
    }
    if settings.cuda_graphs:
        # A layer's temporaries, apart from all others': pages that are gathered, and two scores a head in fp32.
        found["graphs"] = writing * cached * (place + 8 * config.num_attention_heads)
    return found


def _learning(model: Any, settings: EngineSettings, tokens: int, moved: int, adapted: bool) -> dict[str, int]:
    """What is there while one policy is trained, of which so many weights move."""
    config, width = model.config, getattr(torch, settings.dtype).itemsize
    most = max(settings.micro_batch_tokens, tokens)
    whole = _saved(model) * most // _PROBE
    activations = whole
    if settings.checkpointing:
        enable(model)
        activations = _saved(model) * most // _PROBE + whole // config.num_hidden_layers
    return {
        "gradients": 4 * moved + (0 if adapted else config.vocab_size * config.hidden_size * (width + 4)),
        "activations": activations,
        "a layer's temporaries": most * _layer_row(config) * max(width, 4),
        "head": max(HEAD_ROWS, config.hidden_size) * config.vocab_size * _HEAD_BYTES
        + _LOSS_COPIES * loss_bytes(torch.device(settings.device))
        + 3 * most * config.hidden_size * 4,
    }


def _layer_row(config: Any) -> int:
    """Numbers that a layer makes of one token on its way."""
    return int(config.hidden_size * 6 + 3 * (getattr(config, "intermediate_size", None) or 4 * config.hidden_size))


def _shape(path: Path, dtype: torch.dtype) -> Any:
    """The model of a folder without its data."""
    try:
        config = AutoConfig.from_pretrained(path, **LOCAL)
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=NAME).eval()
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not a folder with a Hugging Face language model: {first_line(error)}") from error


def _saved(model: Any) -> int:
    """Bytes that the backward of one forward over ``_PROBE`` tokens needs, weights not among them."""
    seen = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage()._cdata not in seen:
            seen.add(tensor.untyped_storage()._cdata)
            kept.append(tensor)
        return tensor

    ids = torch.zeros(1, _PROBE, dtype=torch.long, device="meta")
    with recomputing(model), saved_tensors_hooks(keep, lambda tensor: tensor):
        last = model.base_model(input_ids=ids, use_cache=False, view=_Recorded()).last_hidden_state
    del last
    return sum(tensor.untyped_storage().nbytes() for tensor in kept)
