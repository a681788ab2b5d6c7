"""Whether a sampler writes under the weights that it was given: a test that stale weights have to fail.

A step of an optimiser is invisible in half precision, and a transfer that leaves a tensor behind changes little. So
every tensor is moved far, and log-probabilities of fixed sequences are compared: with the old weights they have to be
apart, with the new ones together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from piplay.engine.local.generate import draw
from piplay.engine.protocol import EngineLost
from piplay.streams import stream
from piplay.types import Floats, Ints, Owner, PolicyRef, Sample

SHIFT = 0.05
"""How far a tensor is moved, in its own deviations."""
BOUNDS = {"float32": 1e-3, "bfloat16": 0.03}
"""Of the largest difference in fp32, of the mean one in bf16, in nats."""
_SEQUENCES = 4
_TOKENS = 24


@torch.no_grad()
def sequences(model: Any, longest: int) -> list[Ints]:
    """Sequences of at most ``longest`` tokens that a model writes at temperature 1, always the same ones.

    What it finds unlikely half precision rounds too coarsely to be compared: a log-probability of −20 by a tenth.
    """
    length = min(_TOKENS, longest - 1)
    draws = [stream(0, ("self-test", i)) for i in range(_SEQUENCES)]
    ids_S_T = torch.tensor([[draw_from.integers(model.config.vocab_size)] for draw_from in draws], device=model.device)
    one_S = torch.ones(_SEQUENCES, device=model.device)
    for _ in range(length - 1):
        logits_S_V = model(input_ids=ids_S_T, use_cache=False).logits[:, -1]
        uniform_S = torch.tensor([draw_from.random() for draw_from in draws], device=model.device)
        token_S, _logp_S = draw(logits_S_V, uniform_S, one_S)
        ids_S_T = torch.cat([ids_S_T, token_S[:, None]], 1)
    return list(ids_S_T.cpu().numpy())


def sample(ids_T: Ints) -> Sample:
    """A sequence as a sample of which all but the first token is scored."""
    owner_T = np.full(len(ids_T), Owner.MODEL, np.int8)
    owner_T[0] = Owner.PROMPT
    zeros_T = np.zeros(len(ids_T), np.float32)
    return Sample(("self-test",), "", PolicyRef(""), (), ids_T, owner_T, zeros_T, 0.0, {}, 1)


@torch.no_grad()
def move(weights: Iterable[Tensor]) -> None:
    """Add noise to every tensor, in place: ``SHIFT`` of its deviation; of its size, or of 1, where it has none."""
    for weight in weights:
        if not weight.numel():
            continue  # of what ranks share out one may have nothing
        deviation, size = weight.float().std(unbiased=False), weight.float().norm() / weight.numel() ** 0.5
        scale = next((float(of) for of in (deviation, size) if of > 0), 1.0)
        generator = torch.Generator(weight.device).manual_seed(0)
        noise = torch.randn(weight.shape, generator=generator, device=weight.device)
        weight.add_((SHIFT * scale * noise).to(weight.dtype))


def apart(one: Sequence[Floats], other: Sequence[Floats]) -> tuple[float, float]:
    """Mean and largest difference in nats; infinity where one is no number."""
    difference = np.abs(np.concatenate(one) - np.concatenate(other))
    return (float(difference.mean()), float(difference.max())) if np.isfinite(difference).all() else (np.inf, np.inf)


def within(one: Sequence[Floats], other: Sequence[Floats], dtype: str) -> bool:
    """Whether log-probabilities differ by no more than the bound of their dtype."""
    mean, most = apart(one, other)
    return (most if dtype == "float32" else mean) <= BOUNDS[dtype]


def check(written: Sequence[Floats], expected: Sequence[Floats], dtype: str) -> None:
    """Compare what a sampler reads with what the trainer does.

    Raises:
        EngineLost: they differ by more than the bound.
    """
    if not within(written, expected, dtype):
        mean, most = apart(written, expected)
        raise EngineLost(
            "the sampler does not write under the weights that it is given: after all were moved its log-probabilities "
            f"differ from the trainer's by {mean:.2g} in the mean and {most:.2g} at most; "
            'this vLLM cannot be used with this model: take engine.kind = "local"'
        )


def check_control(stale: Sequence[Floats], expected: Sequence[Floats], dtype: str) -> None:
    """Raises ``EngineLost`` where weights that were not synced would pass the test: it proves nothing then."""
    if within(stale, expected, dtype):
        raise EngineLost(
            "the self-test of the sampler cannot tell old weights from new ones: all weights were moved, and its "
            'log-probabilities stayed within the bound; take engine.kind = "local"'
        )
