"""Several trainers that each learn from a part of each batch: data-parallel training.

Rank 0 is the engine's own trainer. The others are processes beside it (``rank.py``), with the same policies and
optimisers. A step deals the samples, and each rank makes the gradients of its part.

- Of adapters every rank holds all. Gradients are summed in fp32, once a step; then every rank makes the same step, so
  that no weights are ever sent.
- Whole weights are shared out (``sharded.py``). Whatever is computed of them is computed by all ranks at once.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.nn import Parameter

from piplay.algo.losses.base import Loss
from piplay.engine.child import ChildProcess
from piplay.engine.local.sharded import check_alone, leave, mesh_of
from piplay.engine.local.update import Filling, Tally
from piplay.engine.protocol import EngineLost
from piplay.settings import EngineSettings, Policy
from piplay.types import Sample

MODULE = "piplay.engine.local.rank"
TIMEOUT = timedelta(minutes=30)
"""What a rank waits for another. Over gloo one that is gone is noticed at once, by its closed connection; over NCCL
after this time."""


@dataclass(frozen=True, slots=True)
class Start:
    """What a rank is told first."""

    rank: int
    ranks: int
    store: Path
    """The file by which they find each other."""
    model: Path
    policies: Mapping[str, Policy]
    settings: EngineSettings
    device: str
    seed: int


class Ranks:
    """The other ranks, seen from rank 0."""

    def __init__(
        self,
        model: Path,
        policies: Mapping[str, Policy],
        settings: EngineSettings,
        devices: Sequence[str],
        seed: int,
        folder: Path,
    ) -> None:
        """Start them, each on its device, and wait until all are there.

        Raises:
            EngineLost: one did not start.
            InputError: see ``check_alone``.
        """
        self.shared_out = not settings.lora.rank
        """Whether each rank holds a part of the weights."""
        if self.shared_out:
            check_alone()
        store = folder / "ranks"
        self.children = [
            ChildProcess(
                MODULE,
                Start(rank, len(devices), store, model, policies, settings, devices[rank], seed),
                folder / f"rank-{rank}.log",
                {"OMP_NUM_THREADS": str(settings.threads)},
            )
            for rank in range(1, len(devices))
        ]
        self._lost = ""
        self.mesh: DeviceMesh | None = None
        """What the ranks share weights out by, where they do."""
        try:
            # Who waits for a rank that cannot start would wait for ever: the group is made once all are there.
            for child in self.children:
                self._receive(child)
            if self.shared_out:
                self.mesh = mesh_of(0, len(devices), store, devices[0], TIMEOUT)
                weakref.finalize(self, leave)
            else:
                self._group = group_of(0, len(devices), store)
        except BaseException:
            for child in self.children:
                child.stop()
            raise

    def begin(
        self, policy: str, parts: Sequence[Sequence[Sample]], losses: Mapping[str, Loss], filling: Filling
    ) -> None:
        """Have each make the gradients of its part, and join the sum."""
        self._send("gradients", [(policy, part, losses, filling) for part in parts])

    def sum(self, weights: Mapping[str, Parameter]) -> list[Tally]:
        """Sum the gradients of all ranks into these weights', where that is not done; what the others' parts tell.

        Raises:
            EngineLost: a rank is gone.
        """
        if not self.shared_out:
            with self.watched():
                sum_gradients(weights, self._group)
        return [self._receive(child) for child in self.children]

    def step(self, policy: str, lr: float | None, any_loss: bool) -> None:
        """Have each make the step that rank 0 makes."""
        self._send("step", [(policy, lr, any_loss)] * len(self.children))

    def all(self, method: str, *given: Any) -> None:
        """Have each do what ``LocalTrainer`` has a method for, and wait until it is done."""
        with self.beside(method, *given):
            pass

    @contextmanager
    def beside(self, method: str, *given: Any) -> Iterator[None]:
        """Have each do what ``LocalTrainer`` has a method for, while this process does the same.

        Raises:
            EngineLost: a rank is gone.
        """
        self._send(method, [given] * len(self.children))
        try:
            with self.watched():
                yield
        except EngineLost:
            raise
        except Exception as error:
            # Nobody knows where the others are now.
            self._gone(f"rank 0 failed: {error}")
            raise
        for child in self.children:
            self._receive(child)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """What is computed with the other ranks. Raises ``EngineLost`` where it fails because one is gone."""
        try:
            yield
        except RuntimeError as error:
            if any(child.has_ended() for child in self.children):
                raise self._gone() from error
            raise

    def _send(self, method: str, given: Sequence[tuple[Any, ...]]) -> None:
        if self._lost:
            raise EngineLost(self._lost)
        try:
            for child, arguments in zip(self.children, given, strict=True):
                child.connection.send((method, arguments))
        except OSError as error:
            raise self._gone() from error

    def _receive(self, child: ChildProcess) -> Any:
        try:
            return child.connection.recv()
        except (EOFError, OSError) as error:
            raise self._gone() from error

    def _gone(self, why: str = "") -> EngineLost:
        """Those that are left may hang, so all are ended."""
        reasons = [child.stop() for child in self.children]
        self._lost = f"a trainer's rank has died ({why or reasons[0]})"
        return EngineLost(self._lost)


def deal(samples: Sequence[Sample], ranks: int) -> list[list[int]]:
    """Indices into ``samples`` for each rank: whole questions, the longest first, to whoever has the least so far."""
    together: dict[bytes, list[int]] = {}
    for number, sample in enumerate(samples):
        together.setdefault(sample.ids_T[: sample.prompt_len].tobytes(), []).append(number)
    parts: list[list[int]] = [[] for _ in range(ranks)]
    tokens = [0] * ranks
    length = {key: sum(len(samples[i].ids_T) for i in members) for key, members in together.items()}
    for key in sorted(together, key=lambda key: -length[key]):
        least = tokens.index(min(tokens))
        parts[least] += together[key]
        tokens[least] += length[key]
    return [sorted(part) for part in parts]


def group_of(rank: int, ranks: int, store: Path) -> Any:
    """What ranks sum by; each waits here until all are there."""
    # Not torch's group of the whole process, of which there can be one alone.
    return dist.ProcessGroupGloo(dist.FileStore(str(store), ranks), rank, ranks, TIMEOUT)  # type: ignore[attr-defined]


def sum_gradients(weights: Mapping[str, Parameter], group: Any) -> None:
    """Each weight's gradient becomes the sum over the ranks; a rank without one has zeros."""
    flat = torch.cat([_gradient(weight).cpu().flatten() for weight in weights.values()])
    group.allreduce([flat]).wait()
    parts = torch.split(flat, [weight.numel() for weight in weights.values()])
    for weight, part in zip(weights.values(), parts, strict=True):
        weight.grad = part.view_as(weight).to(weight.device)


def _gradient(weight: Parameter) -> Tensor:
    return torch.zeros_like(weight) if weight.grad is None else weight.grad
