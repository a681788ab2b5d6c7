"""What trainer and samplers will hold together, before either is made: bytes by what they are for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from transformers import AutoConfig

from piplay.engine.local import memory as local
from piplay.engine.local.adapters import base_of
from piplay.engine.local.attention import head_dim, kv_heads
from piplay.engine.local.folders import LOCAL
from piplay.engine.placement import placed
from piplay.errors import InputError
from piplay.settings import EngineSettings, Policy

BLOCK = 32
"""Tokens of a block of the cache. Only whole blocks are found again, and turns are short."""
PROCESS = 1.3e9
"""What a sampler's process takes of a CPU's memory without a model (its libraries)."""


def blocks(longest: int, slots: int, cache_tokens: int | None) -> int:
    """Blocks of so many tokens as the settings want cached, and the one that vLLM keeps to itself."""
    wanted = -(-longest // BLOCK) * slots
    return 1 + (wanted if cache_tokens is None else min(wanted, -(-cache_tokens // BLOCK)))


def check_heads(model: Path, tensor_parallel: int) -> None:
    """Raises ``InputError`` where a model's attention heads cannot be dealt to so many GPUs."""
    if tensor_parallel == 1:
        return
    config = AutoConfig.from_pretrained(base_of(model) or model, **LOCAL)
    heads, shared = int(config.num_attention_heads), kv_heads(config)
    # Heads of keys and values that are fewer than GPUs are held several times.
    able = [n for n in range(1, heads + 1) if heads % n == 0 and (shared % n == 0 or n % shared == 0)]
    if tensor_parallel not in able:
        raise InputError(
            f"engine.tensor_parallel is {tensor_parallel}, and {model} has {heads} attention heads ({shared} of keys "
            f"and values): take one of {', '.join(map(str, able))}"
        )


def cache_bytes(
    model: Path, dtype: str, longest: int, slots: int, cache_tokens: int | None, tensor_parallel: int
) -> int:
    """Keys and values of one sampler, on each of its GPUs."""
    config = AutoConfig.from_pretrained(base_of(model) or model, **LOCAL)
    width, heads = 2 if dtype == "bfloat16" else 4, max(1, kv_heads(config) // tensor_parallel)
    place = 2 * heads * head_dim(config) * width * int(config.num_hidden_layers)
    return blocks(longest, slots, cache_tokens) * BLOCK * place


def estimate(
    model_path: Path,
    policies: Mapping[str, Policy],
    settings: EngineSettings,
    *,
    tokens: int,
    writing: int,
    learning: frozenset[str],
    snapshots: int = 0,
) -> local.Estimate:
    """The memory of a ``VllmEngine``; arguments as for ``local.memory.estimate``.

    Samplers hold what they have all the time, beside a trainer that learns. ``writing`` is not asked for: what is
    cached is bounded for all policies together. On GPUs it is the share of the fullest one; on a cluster that of a GPU
    with one sampler.
    """
    placement = placed(settings)
    on_gpus, trainers = Counter(gpu for seen in placement.samplers for gpu in seen), len(placement.trainers)
    here = settings.samplers if settings.device == "cpu" else max(on_gpus.values(), default=1)
    each = settings.tensor_parallel
    check_heads(model_path, each)
    needed = local.estimate(
        model_path, policies, settings, tokens=tokens, writing=writing, learning=learning, snapshots=snapshots
    )
    config = AutoConfig.from_pretrained(model_path, **LOCAL)
    width = 2 if settings.dtype == "bfloat16" else 4
    cached = cache_bytes(model_path, settings.dtype, tokens, settings.slots, settings.cache_tokens, each)
    weights = needed.model
    shared_out = trainers > 1 and not settings.lora.rank
    if shared_out and settings.device != "cpu":
        needed = replace(needed, held={name: size // trainers for name, size in needed.held.items()})
    # Embeddings and head, with their gradients, as long as anything of a model is computed.
    ends = config.vocab_size * config.hidden_size * (1 if config.tie_word_embeddings else 2)
    gathered = ends * (width + 4) if shared_out else 0
    others = sum(needed.learning.values()) + (gathered if shared_out else sum(needed.held.values()))
    packed_head = config.vocab_size * config.hidden_size * width if settings.device == "cpu" else 0
    samplers = {
        "samplers: weights": (weights // each + packed_head) * here,
        "samplers: adapters": needed.held["adapters"] * here,
        "samplers: keys and values": cached * here,
        "samplers: draws": needed.playing["draws"] * here,
        "samplers: processes": int(PROCESS) * here if settings.device == "cpu" else 0,
    }
    beside = {
        "gathered weights": gathered,
        "other trainers": others * (trainers - 1) if settings.device == "cpu" else 0,
        # Shared memory is this machine's, whatever the device.
        "a sync": 0 if settings.lora.rank or settings.device != "cpu" else weights,
    }
    split = settings.placement == "split"
    held = beside if split else samplers | beside
    learns = replace(needed, held={**needed.held, **held}, playing={}, made=needed.made + sum(held.values()))
    writes = replace(needed, held=samplers, playing={}, learning={}, made=0)
    return max(learns, writes, key=lambda one: one.peak) if split else learns
