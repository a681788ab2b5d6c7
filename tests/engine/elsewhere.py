"""A device that is not the CPU, on a machine that has none: it computes on the CPU and refuses to mix.

A tensor ``elsewhere`` says that it lies on torch's device ``lazy``, of which no build has a backend, and holds a CPU
tensor. As on a GPU, an operation on it and on a tensor of the CPU fails, but for single numbers, and numpy cannot look
into it. What forgets to bring an array over, or to name the device where it makes one, is found without a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

ELSEWHERE = torch.device("lazy", 0)
COPIES = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default}


class Tensorlike(Tensor):
    """A CPU tensor that says it lies elsewhere."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> Tensorlike:
        made: Tensorlike = Tensor._make_wrapper_subclass(
            cls, inner.shape, inner.stride(), inner.storage_offset(), dtype=inner.dtype, device=ELSEWHERE
        )
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return compute(func, args, kwargs or {})

    def untyped_storage(self) -> torch.UntypedStorage:
        """For those who ask whether two tensors share memory."""
        return self.inner.untyped_storage()

    storage = untyped_storage

    def tolist(self) -> list[Any]:
        """As of a GPU's tensor: it is brought over first."""
        values: list[Any] = self.inner.tolist()
        return values

    def __repr__(self, **_: Any) -> str:
        return f"Tensorlike({self.inner!r})"


class Mode(TorchDispatchMode):
    """Makes what is asked for elsewhere there."""

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        # Under inference mode what is made of other operations arrives whole.
        with self:
            parts = func.decompose(*args, **kwargs or {}) if torch.is_inference_mode_enabled() else NotImplemented
        return compute(func, args, kwargs or {}) if parts is NotImplemented else parts


def compute(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    there = [tensor for tensor in tensors if isinstance(tensor, Tensorlike)]
    if there and func not in COPIES:
        for tensor in tensors:
            if not isinstance(tensor, Tensorlike) and tensor.dim():
                raise RuntimeError(f"{func}: a tensor of the CPU, {tuple(tensor.shape)}, beside one elsewhere")
    wrap = bool(there)
    if (device := kwargs.get("device")) is not None:
        wrap = torch.device(device).type == ELSEWHERE.type
        kwargs = kwargs | {"device": torch.device("cpu")}
    elif func is torch.ops.aten.copy_.default:
        wrap = isinstance(args[0], Tensorlike)
    inner_args, inner_kwargs = tree_map(_inner, (args, kwargs))
    result = func(*inner_args, **inner_kwargs)
    if not wrap:
        return result
    result = tree_map(lambda leaf: Tensorlike(leaf) if isinstance(leaf, Tensor) else leaf, result)
    return return_and_correct_aliasing(func, args, kwargs, result)


def _inner(leaf: Any) -> Any:
    return leaf.inner if isinstance(leaf, Tensorlike) else leaf


@contextmanager
def elsewhere() -> Iterator[torch.device]:
    """Within it there is a device elsewhere, with which torch's own Python gets along as with a GPU."""
    with pytest.MonkeyPatch.context() as patch, Mode():
        # A module's weights stay the objects that they are when it moves, so that tied ones stay tied.
        patch.setattr(torch.__future__, "_swap_module_params_on_conversion", True)
        # AdamW's fused step is written for the devices of a list; checkpointing asks a device for its random state.
        patch.setattr(import_module("torch.optim.adam"), "_device_dtype_check_for_fused", lambda *_, **__: None)
        patch.setattr(torch, ELSEWHERE.type, torch.cpu, raising=False)
        yield ELSEWHERE
