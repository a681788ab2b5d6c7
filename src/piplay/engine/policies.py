"""The weights behind the policies' names: optimisers, followers, checkpoints, exports."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from piplay.config import Policy
from piplay.engine.attention import load_model
from piplay.errors import InputError
from piplay.types import PolicyRef

TOKENIZER_FILES = ("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges.txt", "*.jinja")


class Policies:
    """Live models by name, and their optimisers; fp32, on one device."""

    def __init__(self, model_path: Path, specs: Mapping[str, Policy], device: torch.device) -> None:
        for name, spec in specs.items():
            if spec.follows is not None and (spec.follows not in specs or specs[spec.follows].follows is not None):
                raise InputError(f"Policy {name} follows {spec.follows}, which is not a trained policy of this run.")
        self._path, self._specs = model_path, dict(specs)
        base = load_model(model_path, device)
        self._live: dict[str, Any] = {name: copy.deepcopy(base) for name in specs}
        self._optimizers: dict[str, torch.optim.AdamW] = {}
        for name, spec in specs.items():
            trained = spec.follows is None
            self._live[name].requires_grad_(trained)
            if trained:
                self._optimizers[name] = torch.optim.AdamW(
                    self._live[name].parameters(), spec.lr, weight_decay=spec.weight_decay, fused=True
                )

    def model(self, ref: PolicyRef) -> Any:
        """The Hugging Face model behind a name."""
        return self._live[ref.name]

    def trained(self, name: str) -> Any:
        """The live model of a policy that has an optimiser, its gradients cleared."""
        if name not in self._optimizers:
            raise ValueError(f"policy {name} is not trained: it follows {self._specs[name].follows}")
        self._optimizers[name].zero_grad(set_to_none=True)
        return self._live[name]

    def step(self, name: str, lr: float | None) -> float:
        """One AdamW step on the gradients that have gathered; their norm before clipping."""
        optimizer, spec = self._optimizers[name], self._specs[name]
        for group in optimizer.param_groups:
            group["lr"] = spec.lr if lr is None else lr
        # A gradient that is not finite would be lost in the weights for good: stop instead.
        norm = torch.nn.utils.clip_grad_norm_(
            self._live[name].parameters(), spec.max_grad_norm, error_if_nonfinite=True
        )
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(norm)

    def followers(self, name: str) -> list[str]:
        """The policies that are moving averages of ``name``."""
        return [other for other, spec in self._specs.items() if spec.follows == name]

    @torch.no_grad()
    def follow(self, name: str) -> None:
        """ψ ← (1 − τ) ψ + τ θ for each policy ψ that follows ``name`` (docs/method.md, formula 6)."""
        for follower in self.followers(name):
            pairs = zip(self._live[follower].parameters(), self._live[name].parameters(), strict=True)
            for psi, theta in pairs:
                # ψ + τ (θ − ψ): where the two are equal they stay equal to the bit.
                psi.lerp_(theta, self._specs[follower].tau)

    def save(self, folder: Path) -> None:
        """Write one safetensors file a policy, then ``engine.json``, which lists them."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, model in self._live.items():
            tensors = _weights(model)
            if name in self._optimizers:
                tensors |= _moments(self._optimizers[name])
            save_file(tensors, folder / f"{name}.safetensors")
        listing = {"policies": sorted(self._live)}
        (folder / "engine.json").write_text(json.dumps(listing, indent=2) + "\n", encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Read back what ``save`` wrote.

        Raises:
            InputError: a file is missing or cut short, or the checkpoint has other policies or another model.
        """
        try:
            policies = json.loads((folder / "engine.json").read_text(encoding="utf-8"))["policies"]
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{folder} is not a complete engine checkpoint: engine.json {error!r}.") from error
        if policies != sorted(self._live):
            raise InputError(f"{folder} holds policies {policies}, but this run has {sorted(self._live)}.")
        for name, model in self._live.items():
            tensors = _read(folder / f"{name}.safetensors")
            _restore(model, tensors, folder / f"{name}.safetensors")
            if name in self._optimizers:
                _restore_moments(self._optimizers[name], tensors)

    def export(self, name: str, folder: Path) -> None:
        """Write the live weights as a Hugging Face folder, with the tokenizer files the run started from."""
        folder.mkdir(parents=True, exist_ok=True)
        self._live[name].save_pretrained(folder)
        for pattern in TOKENIZER_FILES:
            for path in sorted(self._path.glob(pattern)):
                shutil.copyfile(path, folder / path.name)


def _weights(model: Any) -> dict[str, Tensor]:
    # named_parameters gives tied weights once, which is what safetensors wants and what keeps them tied.
    return {f"weight.{key}": parameter.detach().contiguous() for key, parameter in model.named_parameters()}


def _moments(optimizer: torch.optim.AdamW) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {f"adamw.{index}.{key}": value for index, entry in state.items() for key, value in entry.items()}


def _read(path: Path) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"Checkpoint file {path} is missing or cut short ({error}); resume from another.") from error
    return tensors


@torch.no_grad()
def _restore(model: Any, tensors: Mapping[str, Tensor], path: Path) -> None:
    parameters = {f"weight.{key}": parameter for key, parameter in model.named_parameters()}
    stored = {key: value.shape for key, value in tensors.items() if key.startswith("weight.")}
    if stored != {key: parameter.shape for key, parameter in parameters.items()}:
        raise InputError(f"Checkpoint file {path} holds the weights of another model than this run's.")
    for key, parameter in parameters.items():
        parameter.copy_(tensors[key])


def _restore_moments(optimizer: torch.optim.AdamW, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        kind, _, rest = key.partition(".")
        if kind == "adamw":
            index, _, entry = rest.partition(".")
            state.setdefault(int(index), {})[entry] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
