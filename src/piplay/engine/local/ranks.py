"""Several trainers that each learn from a part of each batch: data-parallel training.

Rank 0 is the engine's own trainer. The others are processes beside it or on other machines (``rank.py``), with the same
policies and optimisers. A step deals the samples, and each rank makes the gradients of its part.

- Of adapters every rank holds all. Gradients are summed in fp32, once a step; then every rank makes the same step, so
  that no weights are ever sent.
- Whole weights are shared out (``sharded.py``). Whatever is computed of them is computed by all ranks at once.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.distributed.device_mesh import DeviceMesh
from torch.nn import Parameter

from piplay.algo.losses.base import Loss
from piplay.engine.local.sharded import check_alone, leave, mesh_of
from piplay.engine.local.update import Filling, Tally
from piplay.engine.protocol import EngineLost
from piplay.errors import InputError
from piplay.settings import EngineSettings, Policy
from piplay.types import Sample

MODULE = "piplay.engine.local.rank"
TIMEOUT = timedelta(minutes=30)
"""What a rank waits for another. Over gloo one that is gone is noticed by its closed connection; over NCCL by this."""
_ENDING = 5.0
"""Seconds that a process may take to end once it has failed."""


@dataclass(frozen=True, slots=True)
class Start:
    """What a rank is told first."""

    rank: int
    ranks: int
    meeting: Path | tuple[str, int]
    """How they find each other: a file, or rank 0's address and port."""
    model: Path
    policies: Mapping[str, Policy]
    settings: EngineSettings
    device: str
    seed: int


class Other(Protocol):
    """The process of another rank."""

    connection: Connection

    def has_ended(self, seconds: float) -> bool:
        """Whether it has ended, waited for so long."""

    def stop(self) -> str:
        """End it, however it stands; why it ended, where it says so."""


class Ranks:
    """The other ranks, seen from rank 0."""

    def __init__(
        self,
        model: Path,
        policies: Mapping[str, Policy],
        settings: EngineSettings,
        devices: Sequence[str],
        seed: int,
        meeting: Path | str,
        begin: Callable[[Start], Other],
    ) -> None:
        """Start them by ``begin``, each on its device, and wait until all are there.

        ``meeting``: a file that is not there yet, or this machine's address, where others have to come to it.

        Raises:
            EngineLost: one did not start.
            InputError: see ``check_alone``; or a machine refuses its rank.
        """
        self.shared_out = not settings.lora.rank
        """Whether each rank holds a part of the weights."""
        if self.shared_out:
            check_alone()
        if isinstance(meeting, str):
            store = TCPStore(meeting, 0, len(devices), True, TIMEOUT, wait_for_workers=False)
            where: Path | tuple[str, int] = (meeting, store.port)
        else:
            store, where = store_of(meeting, len(devices)), meeting
        self.children = [
            begin(Start(rank, len(devices), where, model, policies, settings, devices[rank], seed))
            for rank in range(1, len(devices))
        ]
        self._lost = ""
        self.mesh: DeviceMesh | None = None
        """What the ranks share weights out by, where they do."""
        try:
            # Who waits for a rank that cannot start would wait for ever: the group is made once all are there.
            for child in self.children:
                if refused := self._receive(child):
                    raise InputError(f"a trainer's rank cannot start: {refused[1]}")
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
            if any(child.has_ended(_ENDING) for child in self.children):
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

    def _receive(self, child: Other) -> Any:
        try:
            return child.connection.recv()
        except (EOFError, OSError) as error:
            raise self._gone() from error

    def _gone(self, why: str = "") -> EngineLost:
        """Those that are left may hang, so all are ended."""
        reasons = [child.stop() for child in self.children]
        self._lost = f"a trainer's rank has died ({why or reasons[0]})"
        return EngineLost(self._lost)


def environment(start: Start) -> dict[str, str]:
    """What a rank's process has to find in its environment."""
    return {"OMP_NUM_THREADS": str(start.settings.threads)}


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


def store_of(meeting: Path | tuple[str, int], ranks: int) -> Any:
    """Where ranks find each other."""
    if isinstance(meeting, Path):
        return dist.FileStore(str(meeting), ranks)  # type: ignore[attr-defined]
    return TCPStore(*meeting, ranks, False, TIMEOUT)


def group_of(rank: int, ranks: int, store: Any) -> Any:
    """What ranks sum by; each waits here until all are there."""
    # Not torch's group of the whole process, of which there can be one alone.
    return dist.ProcessGroupGloo(store, rank, ranks, TIMEOUT)


def sum_gradients(weights: Mapping[str, Parameter], group: Any) -> None:
    """Each weight's gradient becomes the sum over the ranks; a rank without one has zeros."""
    flat = torch.cat([_gradient(weight).cpu().flatten() for weight in weights.values()])
    group.allreduce([flat]).wait()
    parts = torch.split(flat, [weight.numel() for weight in weights.values()])
    for weight, part in zip(weights.values(), parts, strict=True):
        weight.grad = part.view_as(weight).to(weight.device)


def _gradient(weight: Parameter) -> Tensor:
    return torch.zeros_like(weight) if weight.grad is None else weight.grad
