"""LoRA by peft: a model's adapters (arXiv 2106.09685). ``W x`` becomes ``W x + (α/r) B A x``."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import Parameter

from piplay.errors import InputError, first_line
from piplay.files import from_json
from piplay.settings import Lora
from piplay.streams import stream

_NAME = "default"


def inject(model: Any, lora: Lora, seed: int) -> dict[str, Parameter]:
    """Put adapters into a model's linear layers, in place; their weights by name, in the model's dtype.

    B is 0, so that nothing changes yet. A (r, in) is uniform within ±1/√in, drawn from streams named by the layers: the
    same for every model of a run, so that averages of adapters are of one basis.

    Raises:
        InputError: peft is not installed, or the targets are no linear layers below the head.
    """
    try:
        from peft import LoraConfig
    except ImportError as error:
        raise InputError("engine.lora needs peft: install piplay[lora]") from error
    targets = list(lora.targets) or "all-linear"
    ends = [end for end in (model.get_input_embeddings(), model.get_output_embeddings()) if end is not None]
    dtype = model.dtype
    try:
        model.add_adapter(LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=targets), _NAME)
    except ValueError as error:
        raise InputError(f"engine.lora.targets {targets} cannot have adapters: {first_line(error)}") from error
    if [model.get_input_embeddings(), model.get_output_embeddings()] != ends:
        raise InputError(f"engine.lora.targets {targets}: embeddings and head can have no adapter, leave them out")
    weights = {key: weight for key, weight in model.named_parameters() if f".{_NAME}." in key}
    with torch.no_grad():
        for key, weight in weights.items():
            weight.data = weight.data.to(dtype)
            if ".lora_A." in key and not weight.is_meta:
                bound = 1 / math.sqrt(weight.shape[1])
                drawn = stream(seed, ("lora", key)).uniform(-bound, bound, tuple(weight.shape))
                weight.copy_(torch.from_numpy(drawn))
    return weights


def export(model: Any, base: Path, folder: Path) -> None:
    """Write a model's adapters as peft does, beside the name of their base's folder: transformers loads both together.

    They are not merged: in bf16 most of what an adapter adds to a weight is less than the weight's rounding.
    """
    config = model.peft_config[_NAME]
    config.base_model_name_or_path = str(base.absolute())
    # A set's order differs from process to process.
    config.target_modules = sorted(config.target_modules)
    model.save_pretrained(folder)


def zeros(weights: Mapping[str, Parameter]) -> dict[str, Tensor]:
    """Adapters of the same shapes that add nothing."""
    return {key: torch.zeros_like(weight) for key, weight in weights.items()}


def write(model: Any, weights: Mapping[str, Tensor], folder: Path) -> None:
    """Write adapters alone, as peft names them, with the configuration of a model's own."""
    folder.mkdir(parents=True)
    config = copy.copy(model.peft_config[_NAME])
    config.target_modules = sorted(config.target_modules)
    config.save_pretrained(folder)
    named = {f"base_model.model.{key.replace(f'.{_NAME}.', '.')}": w.detach() for key, w in weights.items()}
    save_file({key: weight.contiguous() for key, weight in named.items()}, folder / "adapter_model.safetensors")


def base_of(folder: Path) -> Path | None:
    """The model that a folder's adapters belong to; None where it is no folder of adapters."""
    listing = folder / "adapter_config.json"
    if not listing.is_file():
        return None
    return Path(from_json(listing.read_text(encoding="utf-8"))["base_model_name_or_path"])
