"""Gradient checkpointing, by Hugging Face's own layers: of each layer only its input is kept for the backward."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers.modeling_layers import GradientCheckpointingLayer

from piplay.errors import InputError, first_line


def enable(model: Any) -> None:
    """Make a model's layers able to be computed once more; they are within ``recomputing``.

    Raises ``InputError`` where the model's definition has no such layers.
    """
    try:
        with warnings.catch_warnings():
            # Its new name is not there in all of transformers 5.
            warnings.simplefilter("ignore", FutureWarning)
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    except ValueError as error:
        raise InputError(f"engine.checkpointing: {first_line(error)} Leave it out.") from error


@contextmanager
def recomputing(model: Any) -> Iterator[None]:
    """Within it, the layers of a model that ``enable`` has seen are computed once more in the backward.

    transformers asks a layer's ``training`` for that. Only the layer itself is set, not what is in it: there dropout
    would begin, and outside a cached forward is refused.
    """
    layers = [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer) and m.gradient_checkpointing]
    for layer in layers:
        layer.training = True
    try:
        yield
    finally:
        for layer in layers:
            layer.training = False
