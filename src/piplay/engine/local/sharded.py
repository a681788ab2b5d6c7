"""Whole weights over several ranks, by FSDP2: each rank holds a part of every weight, its gradient and its moments.

A layer's weights are gathered while it is computed; the others' (embeddings, last norm, head) while anything of the
model is. Gradients are summed over the ranks in fp32 as they are made. The parts are in fp32, and are the masters.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import distributed_c10d
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn import Module
from transformers.modeling_layers import GradientCheckpointingLayer

from piplay.errors import InputError

_ROOT = "_root"


class _Root(Module):
    """A model whose weights are gathered while a function of it runs."""

    def __init__(self, model: Module) -> None:
        super().__init__()
        self.model, self.has_run = model, False

    def forward(self, function: Callable[..., Any], *given: Any) -> Any:
        self.has_run = True
        return function(*given)


def mesh_of(rank: int, ranks: int, store: Any, device: str, timeout: timedelta) -> DeviceMesh:
    """What ranks gather and sum by; each waits here until all are there."""
    kind = torch.device(device).type
    if kind == "cuda":
        torch.cuda.set_device(torch.device(device))
    backend = "cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=ranks, timeout=timeout)
    return init_device_mesh(kind, (ranks,))


def check_alone() -> None:
    """Raises ``InputError`` where this process has ranks already; torch can have one group of them."""
    gc.collect()
    if dist.is_initialized():
        raise InputError("this process has an engine with several trainers of whole weights already: end it first")


def leave() -> None:
    """End this process' group, where it has one. The others may be gone, so nobody is waited for."""
    if dist.is_initialized():
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            distributed_c10d._abort_process_group()
        else:
            dist.destroy_process_group()


def shard(model: Any, mesh: DeviceMesh, dtype: torch.dtype) -> None:
    """Leave of each of a model's weights this rank's part; it is computed in ``dtype`` from then on, by ``within``."""
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for layer in [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]:
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    root = _Root(model)
    fully_shard(root, mesh=mesh, mp_policy=policy)
    for part in root.modules():
        if isinstance(part, FSDPModule):
            # A sum, as in one process, and by what gloo can do.
            part.set_gradient_divide_factor(1.0)
            part.set_force_sum_reduction_for_comms(True)
    # Beside its submodules: a module cannot be within itself.
    model.__dict__[_ROOT] = root


def within(model: Any, function: Callable[..., Any], *given: Any) -> Any:
    """``function(*given)``, which may compute whatever it likes of a model, sharded or not."""
    root = model.__dict__.get(_ROOT)
    return function(*given) if root is None else root(function, *given)


def release(models: Iterable[Any]) -> None:
    """Let go of what was gathered of models, once nothing waits for a backward."""
    for model in models:
        root = model.__dict__.get(_ROOT)
        if root is not None and root.has_run:
            # Also forgets the order of forwards that no backward followed, which would grow for ever.
            root.reset_iter_state()


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor, of which each rank may have a part; every rank has to ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def part_of(tensor: Tensor) -> Tensor:
    """What this rank has of a tensor, as an ordinary one that shares its memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def own_part(tensor: Tensor, like: Tensor) -> Tensor:
    """What this rank has of a whole tensor, where ``like`` is shared out; else all of it. Nobody else has to ask."""
    if not isinstance(like, DTensor):
        return tensor
    there = tensor.to(like.device)
    return cast(Tensor, distribute_tensor(there, like.device_mesh, like.placements, src_data_rank=None))
