"""Which GPUs trainers and samplers stand on: dealt out here, for the engine that is started and for ``doctor``."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from functools import cache

from piplay.errors import InputError
from piplay.settings import EngineSettings


@dataclass(frozen=True, slots=True)
class Placement:
    """Devices of one machine."""

    trainers: tuple[str, ...]
    """The device of each rank."""
    samplers: tuple[tuple[int, ...], ...]
    """The GPUs that each sampler sees. None on a CPU, and none of the kind ``ray``, where Ray deals them out."""

    def __str__(self) -> str:
        seen = dict.fromkeys(
            "+".join(f"cuda:{gpu}" for gpu in gpus) or "those that Ray deals out" for gpus in self.samplers
        )
        return f"trainers on {', '.join(self.trainers)}; samplers on {', '.join(seen)}"


def place(settings: EngineSettings, gpus: int) -> Placement:
    """The devices of an engine of the kinds ``vllm`` and ``ray`` on a machine with so many GPUs.

    ``shared``: trainers on the first GPUs, samplers on all; ``split``: samplers on the first, trainers on the last. A
    trainer has a GPU of its own; where there are more samplers than GPUs, they go round. ``cuda:N`` is one GPU.

    Raises:
        InputError: there are too few.
    """
    kind, _, index = settings.device.partition(":")
    if kind != "cuda":
        return Placement((settings.device,) * settings.trainers, ((),) * settings.samplers)
    here = [int(index)] if index else list(range(gpus))
    trainers, split = settings.trainers, settings.placement == "split"
    there = f'engine.device "{settings.device}" is {len(here)} here'
    if trainers > len(here):
        raise InputError(f"{trainers} trainers take a GPU each, and {there}: lower engine.trainers")
    first = len(here) - trainers if split else 0
    ranks = tuple(f"cuda:{gpu}" for gpu in here[first : first + trainers])
    if settings.kind == "ray":
        return Placement(ranks, ((),) * settings.samplers)
    free = here[:first] if split else here
    if not free:
        raise InputError(
            f"a sampler takes a GPU, trainers have {trainers} of their own (engine.placement), and {there}: lower "
            'engine.trainers, or take engine.placement = "shared"'
        )
    return Placement(ranks, tuple((free[number % len(free)],) for number in range(settings.samplers)))


def check_share(settings: EngineSettings, gpus: int, share: int) -> None:
    """Raises ``InputError`` where Ray, which has so many of this machine's GPUs, would give samplers the trainers'."""
    free = gpus - settings.trainers
    if settings.placement == "split" and share > free:
        raise InputError(
            f'engine.placement = "split": trainers take the last {settings.trainers} of the {gpus} GPUs here, and Ray '
            f"deals out {share}: start it on this machine with `ray start --num-gpus {free}`"
        )


def placed(settings: EngineSettings) -> Placement:
    """See ``place``, on this machine."""
    return place(settings, gpus() if settings.device.startswith("cuda") else 0)


@cache
def gpus() -> int:
    """How many GPUs a process has that is started now; they are counted again after ``gpus.cache_clear()``.

    A process that has used GPUs itself goes on counting those that are lost.
    """
    code = "import torch; print(torch.cuda.device_count())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout)
