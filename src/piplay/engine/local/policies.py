"""The weights behind the policies' names: masters, optimisers, followers, snapshots, checkpoints, exports.

What is held in what:

- A *model*, which every forward runs through, is held in the engine's dtype.
- Weights that move (those of a trained policy and of its moving averages) have a *master* in fp32. With fp32 that is
  the model's own weight. With bf16 it stands beside the model, which gets it rounded after each move.
- Gradients gather in fp32, AdamW's moments are fp32, and so is the moving average. (Of what is shared out a row's own
  gradients are in the engine's dtype, and are summed in fp32 over rows and ranks.)
- A policy that never moves, one that follows another with τ = 0, is the base itself.
- With LoRA only adapters move. Each policy is a tree of modules of its own around the base's weights, which all trees
  share: there is no switching between adapters, and no forward under another's.
- A snapshot is such a model or tree by itself, frozen. It has neither master nor optimiser.
- Over several ranks whole weights are shared out (``sharded.py``): each rank holds a part of every weight, in
  fp32, those of snapshots and of policies that never move among them.
"""

from __future__ import annotations

import copy
import gc
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.nn import Parameter

from piplay.engine.local import adapters
from piplay.engine.local.attention import load_model
from piplay.engine.local.checkpointing import enable
from piplay.engine.local.optimizers import Optimizer
from piplay.engine.local.sharded import own_part, shard, whole
from piplay.errors import InputError, nearest, out_of_memory
from piplay.files import from_json
from piplay.settings import Lora, Policy
from piplay.types import PolicyRef

TOKENIZER_FILES = ("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges.txt", "*.jinja")


class _Moving:
    """What of a policy moves, by name."""

    def __init__(self, weights: dict[str, Parameter], trained: bool) -> None:
        self.weights, self.trained = weights, trained
        for weight in weights.values():
            weight.requires_grad_(trained)

    @cached_property
    def masters(self) -> dict[str, Parameter]:
        """In fp32: the weights themselves where they are. Made when first needed: who only writes has none."""
        if all(weight.dtype == torch.float32 for weight in self.weights.values()):
            return self.weights
        masters = {key: Parameter(weight.detach().float(), self.trained) for key, weight in self.weights.items()}
        if self.trained:
            for key, weight in self.weights.items():
                weight.register_post_accumulate_grad_hook(_gather(masters[key]))  # type: ignore[no-untyped-call]
        return masters

    @torch.no_grad()
    def round(self) -> None:
        """Give the model its masters."""
        if self.masters is not self.weights:
            for key, weight in self.weights.items():
                weight.copy_(self.masters[key])


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """A policy as it once was."""

    model: Any
    weights: Mapping[str, Parameter]
    """Those that had moved, by name: none where the policy never moves."""
    version: int


class Policies:
    """Models by name, on one device, and what moves them."""

    def __init__(
        self,
        model_path: Path,
        specs: Mapping[str, Policy],
        device: torch.device,
        dtype: torch.dtype,
        lora: Lora,
        checkpointing: bool,
        seed: int,
        mesh: DeviceMesh | None = None,
    ) -> None:
        """``mesh``: the ranks that share out whole weights."""
        for name, spec in specs.items():
            if spec.follows is not None and (spec.follows not in specs or specs[spec.follows].follows is not None):
                raise InputError(f"Policy {name} follows {spec.follows}, which is not a trained policy of this run.")
        if mesh and any(spec.optimizer == "muon" for spec in specs.values()):
            raise InputError('Muon needs whole matrices, and trainers share them out: take optimizer = "adamw"')
        self._path, self._specs, self._device, self._dtype, self._mesh = model_path, dict(specs), device, dtype, mesh
        base = load_model(model_path, torch.device("cpu"), torch.float32 if mesh else dtype).requires_grad_(False)
        frozen = [name for name, spec in specs.items() if spec.follows is not None and spec.tau == 0]
        self._lora = bool(lora.rank)
        if lora.rank:
            base.to(device)
        # By identity, as ``deepcopy`` asks for what it is not to copy.
        self._shared = {id(tensor): tensor for tensor in base.state_dict(keep_vars=True).values()} if lora.rank else {}
        self._live: dict[str, Any] = {}
        self._versions = dict.fromkeys(specs, 0)
        self._snapshots: dict[PolicyRef, _Snapshot] = {}
        self._moving: dict[str, _Moving] = {}
        self._optimizers: dict[str, Optimizer] = {}
        for name, spec in specs.items():
            if name in frozen:
                continue
            model = self._live[name] = self._placed(copy.deepcopy(base, dict(self._shared)), spec.follows is None)
            weights = adapters.inject(model, lora, seed) if lora.rank else dict(model.named_parameters())
            self._moving[name] = _Moving(weights, trained=spec.follows is None)
            if checkpointing and spec.follows is None:
                enable(model)
        if frozen:
            # Last: what is placed may be shared out, and then no copy can be made of it.
            self._live |= dict.fromkeys(frozen, self._placed(base, trained=False))

    def _placed(self, model: Any, trained: bool) -> Any:
        """A model on the device; where ranks share it out, this rank's part of it, of which a layer goes at a time."""
        if self._mesh is None:
            return model.to(self._device)
        shard(model.requires_grad_(trained), self._mesh, self._dtype)
        return model

    def model(self, ref: PolicyRef) -> Any:
        """The Hugging Face model behind a name. Raises ``ValueError`` where there is none."""
        self._check(ref)
        return self._live[ref.name] if ref.live else self._snapshots[ref].model

    def refs(self) -> list[PolicyRef]:
        """All that there are, snapshots last."""
        return [*map(PolicyRef, self._live), *self._snapshots]

    def weights(self, ref: PolicyRef) -> Mapping[str, Parameter]:
        """What of a policy or snapshot moves, by name, in the engine's dtype; nothing of the base itself."""
        self._check(ref)
        if not ref.live:
            return self._snapshots[ref].weights
        return self._moving[ref.name].weights if ref.name in self._moving else {}

    def version(self, ref: PolicyRef) -> int:
        """How many updates it has seen; a moving average has seen those of the policy that it follows."""
        self._check(ref)
        return self._versions[ref.name] if ref.live else self._snapshots[ref].version

    def snapshot(self, name: str, snapshot: str) -> PolicyRef:
        """Copy a policy's weights as they are now, in the engine's dtype; what never moves is not copied.

        Raises:
            ValueError: there is no such policy, or the snapshot's name is taken or cannot be part of a file's name.
        """
        ref = PolicyRef(name, snapshot)
        self._check(PolicyRef(name))
        if not re.fullmatch(r"[\w-]+", snapshot):
            raise ValueError(f"the snapshot {snapshot!r} names a file: take letters, digits, hyphens and underscores")
        if ref in self._snapshots:
            raise ValueError(f"there is a snapshot {ref} already: forget it first, or take another name")
        self._snapshots[ref] = self._frozen(name, self._versions[name])
        return ref

    def forget(self, ref: PolicyRef) -> None:
        """Free a snapshot's weights. Raises ``ValueError`` where there is no such snapshot."""
        if ref.live:
            raise ValueError(f"{ref} is a policy: only snapshots can be forgotten")
        self._check(ref)
        del self._snapshots[ref]
        self._collect()

    def _collect(self) -> None:
        """Free models that nothing names any more: what is shared out refers to itself."""
        if self._mesh is not None:
            gc.collect()

    def _check(self, ref: PolicyRef) -> None:
        if ref.name not in self._live:
            raise ValueError(f"there is no policy {ref.name!r}{nearest(ref.name, self._live)}")
        if not ref.live and ref not in self._snapshots:
            known = [str(other) for other in self._snapshots]
            raise ValueError(f"there is no snapshot {str(ref)!r}{nearest(str(ref), known)}")

    def _frozen(self, name: str, version: int) -> _Snapshot:
        if name not in self._moving:
            return _Snapshot(self._live[name], {}, version)
        if self._mesh:
            # What is shared out cannot be copied as a model.
            model = self._placed(load_model(self._path, torch.device("cpu")), trained=False)
            with torch.no_grad():
                for weight, now in zip(model.parameters(), self._live[name].parameters(), strict=True):
                    weight.copy_(now)
        else:
            model = copy.deepcopy(self._live[name], dict(self._shared)).requires_grad_(False)
        names = self._moving[name].weights.keys()
        return _Snapshot(model, {key: p for key, p in model.named_parameters() if key in names}, version)

    def trained(self, name: str) -> Any:
        """The model of a policy that is trained, its gradients cleared."""
        if self._specs[name].follows is not None:
            raise ValueError(f"policy {name} is not trained: it follows {self._specs[name].follows}")
        self._optimizer(name).zero_grad()
        return self._live[name]

    def masters(self, name: str) -> Mapping[str, Parameter]:
        """In fp32, with the gradients that have gathered."""
        return self._moving[name].masters

    def step(self, name: str, lr: float | None) -> float:
        """One optimiser step on the gradients that have gathered; their norm before clipping."""
        optimizer, spec, moving = self._optimizer(name), self._specs[name], self._moving[name]
        # A gradient that is not finite would be lost in the weights for good: stop instead.
        norm = whole(torch.nn.utils.clip_grad_norm_(moving.masters.values(), spec.max_grad_norm))
        if not norm.isfinite():
            raise FloatingPointError(f"the gradient of policy {name} is not finite")
        optimizer.step(spec.lr if lr is None else lr)
        optimizer.zero_grad()
        moving.round()
        return float(norm)

    def followers(self, name: str) -> list[str]:
        """The policies that are moving averages of ``name``; not those that stay the base."""
        return [other for other, spec in self._specs.items() if spec.follows == name and other in self._moving]

    @torch.no_grad()
    def follow(self, name: str) -> None:
        """ψ ← (1 − τ) ψ + τ θ for each policy ψ that follows ``name`` (docs/method.md, formula 6).

        With LoRA ψ and θ are the factors A and B of the adapters. The versions of all of them rise by one.
        """
        self._versions[name] += 1
        for follower in self.followers(name):
            moving = self._moving[follower]
            for psi, theta in zip(moving.masters.values(), self._moving[name].masters.values(), strict=True):
                # ψ + τ (θ − ψ): where the two are equal they stay equal to the bit.
                psi.lerp_(theta, self._specs[follower].tau)
            moving.round()
            self._versions[follower] += 1

    def gather(self, ref: PolicyRef) -> Iterator[tuple[str, Tensor]]:
        """All weights of a policy or snapshot, by name, in the engine's dtype; every rank has to ask for each."""
        for name, weight in self.model(ref).named_parameters():
            # Not left on the device, where there may be no room for all of them.
            yield name, whole(weight.detach()).to(self._dtype).cpu()

    def stored(self) -> Iterator[tuple[str, Iterator[tuple[str, Tensor]]]]:
        """The files of a checkpoint, without their endings, and what stands in each; every rank has to ask for all."""
        for name, moving in self._moving.items():
            optimizer = self._optimizers.get(name)
            tensors = chain(_named(moving.masters), optimizer.state().items() if optimizer else ())
            yield name, ((key, whole(tensor).cpu()) for key, tensor in tensors)
        for ref, snapshot in self._snapshots.items():
            yield str(ref), ((key, whole(tensor).cpu()) for key, tensor in _named(snapshot.weights))

    def save(self, folder: Path) -> None:
        """Write a safetensors file for each policy that moves and each snapshot, then ``engine.json`` with versions."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, tensors in self.stored():
            save_file({key: tensor.contiguous() for key, tensor in tensors}, folder / f"{name}.safetensors")
        listing = {
            "policies": {name: self._versions[name] for name in sorted(self._moving)},
            "snapshots": {str(ref): snapshot.version for ref, snapshot in self._snapshots.items()},
        }
        (folder / "engine.json").write_text(json.dumps(listing, indent=2) + "\n", encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Read back what ``save`` wrote; of snapshots there are then those of the checkpoint alone.

        Raises:
            InputError: a file is missing or cut short, or the checkpoint has other policies or another model.
        """
        try:
            listing = from_json((folder / "engine.json").read_text(encoding="utf-8"))
            versions = {name: int(version) for name, version in listing["policies"].items()}
            snapshots = {PolicyRef.of(name): int(version) for name, version in listing["snapshots"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{folder} is not a complete engine checkpoint: engine.json {error!r}.") from error
        if versions.keys() != self._moving.keys() or not {ref.name for ref in snapshots} <= self._live.keys():
            names = sorted({*versions, *(ref.name for ref in snapshots)})
            raise InputError(f"{folder} holds policies {names}, but this run has {sorted(self._live)}.")
        for name, moving in self._moving.items():
            tensors = _read(folder / f"{name}.safetensors")
            _restore(moving.masters, tensors, folder / f"{name}.safetensors")
            moving.round()
            if moving.trained:
                self._optimizer(name).restore(tensors)
        self._versions |= versions
        self._snapshots = {}
        self._collect()
        self._snapshots = {ref: self._frozen(ref.name, version) for ref, version in snapshots.items()}
        for ref, snapshot in self._snapshots.items():
            path = folder / f"{ref}.safetensors"
            _restore(snapshot.weights, _read(path), path)

    def export(self, name: str, folder: Path) -> None:
        """Write the live weights as a Hugging Face folder, with the tokenizer files the run started from.

        It is in the engine's dtype; of a policy with adapters it holds these alone, and names its base.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if self._lora and name in self._moving:
            adapters.export(self._live[name], self._path, folder)
        elif self._mesh:
            self._live[name].save_pretrained(folder, state_dict=dict(self.gather(PolicyRef(name))))
            file = folder / "config.json"
            tree = from_json(file.read_text(encoding="utf-8")) | {"dtype": str(self._dtype).removeprefix("torch.")}
            file.write_text(json.dumps(tree, indent=2) + "\n", encoding="utf-8")
        else:
            self._live[name].save_pretrained(folder)
        for pattern in TOKENIZER_FILES:
            for path in sorted(self._path.glob(pattern)):
                shutil.copyfile(path, folder / path.name)

    def _optimizer(self, name: str) -> Optimizer:
        if name not in self._optimizers:
            spec = self._specs[name]
            self._optimizers[name] = Optimizer.of(spec.optimizer, self._moving[name].masters, spec.weight_decay)
        return self._optimizers[name]


def _gather(master: Parameter) -> Callable[[Tensor], None]:
    """A hook that takes a weight's gradient to its master: sums of many small ones are lost in bf16."""

    def hook(weight: Tensor) -> None:
        assert weight.grad is not None
        if master.grad is None:
            master.grad = weight.grad.float()
        else:
            master.grad += weight.grad
        weight.grad = None

    return hook


def _named(weights: Mapping[str, Parameter]) -> Iterator[tuple[str, Tensor]]:
    # Tied weights have one name, which is what safetensors wants and what keeps them tied.
    return ((f"weight.{key}", weight.detach()) for key, weight in weights.items())


def _read(path: Path) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError, RuntimeError) as error:  # the last is torch's, of a file that it cannot map
        if out_of_memory(error):
            raise
        raise InputError(f"Checkpoint file {path} is missing or cut short ({error}); resume from another.") from error
    return tensors


@torch.no_grad()
def _restore(masters: Mapping[str, Parameter], tensors: Mapping[str, Tensor], path: Path) -> None:
    stored = {key: value.shape for key, value in tensors.items() if key.startswith("weight.")}
    if stored != {f"weight.{key}": master.shape for key, master in masters.items()}:
        raise InputError(f"Checkpoint file {path} holds the weights of another model than this run's.")
    for key, master in masters.items():
        master.copy_(own_part(tensors[f"weight.{key}"], master))
