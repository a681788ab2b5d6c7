"""Which GPUs trainers and samplers stand on: dealt out here, for the engine that is started and for ``doctor``."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from functools import cache

from piplay.engine.protocol import TooFewDevices
from piplay.errors import InputError
from piplay.settings import EngineSettings


@dataclass(frozen=True, slots=True)
class Placement:
    """Devices of one machine."""

    trainers: tuple[str, ...]
    """The device of each rank; of those that Ray places, as they see it."""
    samplers: tuple[tuple[int, ...], ...]
    """The GPUs that each sampler sees. None on a CPU, and none of the kind ``ray``, where Ray deals them out."""
    spread: bool = False
    """Whether Ray places all trainers but the first."""

    def __str__(self) -> str:
        by_ray = "those that Ray deals out"
        seen = dict.fromkeys("+".join(f"cuda:{gpu}" for gpu in gpus) or by_ray for gpus in self.samplers)
        trainers = [*self.trainers[:1], by_ray] if self.spread and len(self.trainers) > 1 else self.trainers
        return f"trainers on {', '.join(trainers)}; samplers on {', '.join(seen)}"


def spread(settings: EngineSettings) -> bool:
    """Whether Ray places all trainers but the first: on CPUs, and on GPUs that are not shared with samplers."""
    return settings.kind == "ray" and (settings.device == "cpu" or settings.placement == "split")


def place(settings: EngineSettings, gpus: int) -> Placement:
    """The devices of an engine of the kinds ``vllm`` and ``ray`` on a machine with so many GPUs.

    ``shared``: trainers on the first GPUs, samplers on all; ``split``: samplers on the first, trainers on the last. A
    trainer has a GPU of its own: where there are fewer, there are as many trainers, and ``min_trainers`` at least.
    Samplers have ``tensor_parallel`` GPUs each; where they run out, they begin again with the first. ``cuda:N`` is one
    GPU.

    Raises:
        TooFewDevices: there are too few.
    """
    if settings.device == "cpu":
        return Placement((settings.device,) * settings.trainers, ((),) * settings.samplers)
    here = _gpus_of(settings, gpus)
    there = f'engine.device "{settings.device}" is {len(here)} here'
    on_ray, split, each = settings.kind == "ray", settings.placement == "split", settings.tensor_parallel
    if each > len(here) and not on_ray:
        raise TooFewDevices(
            f"a sampler takes {each} GPUs (engine.tensor_parallel), and {there}: lower it, or have more GPUs"
        )
    apart = each if split else 0
    beside = f" beside the {apart} of a sampler (engine.placement)" if apart else ""
    trainers = _enough(settings, len(here) - apart, f"each takes a GPU{beside}, and {there}", "GPUs")
    first = len(here) - trainers if split else 0
    ranks = tuple(f"cuda:{gpu}" for gpu in here[first : first + trainers])
    if on_ray:
        return Placement(ranks, ((),) * settings.samplers)
    free = here[:first] if split else here
    groups = [tuple(free[i : i + each]) for i in range(0, len(free) - each + 1, each)]
    return Placement(ranks, tuple(groups[number % len(groups)] for number in range(settings.samplers)))


def place_over(settings: EngineSettings, gpus: int, room: int | None) -> Placement:
    """The same where Ray places all trainers but the first, which has the last GPU of this machine.

    ``room``: how many more trainers the cluster can have; None: as many as are asked for.

    Raises:
        TooFewDevices: there is too little room, or no GPU here.
    """
    own, others = settings.device, settings.device
    if settings.device != "cpu":
        here = _gpus_of(settings, gpus)
        if not here:
            raise TooFewDevices(f'the first trainer takes a GPU here, and engine.device "{settings.device}" is none')
        own, others = f"cuda:{here[-1]}", "cuda:0"
    able = settings.trainers if room is None else 1 + room
    short = f"and beside {settings.samplers} samplers the cluster has room for {able}"
    trainers = _enough(settings, able, short, "machines")
    return Placement((own, *[others] * (trainers - 1)), ((),) * settings.samplers, spread=True)


def _gpus_of(settings: EngineSettings, gpus: int) -> list[int]:
    index = settings.device.partition(":")[2]
    return [int(index)] if index else list(range(gpus))


def _enough(settings: EngineSettings, able: int, short: str, of: str) -> int:
    """How many trainers there are, of so many that there can be. Raises ``TooFewDevices``, which says what is short."""
    name = "min_trainers" if settings.min_trainers else "trainers"
    least = settings.min_trainers or settings.trainers
    if able < least:
        raise TooFewDevices(f"engine.{name} is {least}, {short}: lower it, or have more {of}")
    return min(settings.trainers, able)


def check_cluster(settings: EngineSettings, gpus: int, here: int, most: int) -> None:
    """Check what Ray deals out of a cluster.

    Args:
        settings: the engine's, on GPUs.
        gpus: those of this machine.
        here: how many of these are Ray's.
        most: Ray's of the machine that has the most.

    Raises:
        InputError: Ray would give samplers the GPUs of trainers, or never finds enough for one.
    """
    if settings.placement == "split" and here >= gpus:
        raise InputError(
            f'engine.placement = "split": the first trainer takes the last of the {gpus} GPUs here, and Ray deals out '
            f"{here}: start it on this machine with `ray start --num-gpus {gpus - 1}`"
        )
    if settings.tensor_parallel > most:
        raise InputError(
            f"a sampler takes {settings.tensor_parallel} GPUs of one machine (engine.tensor_parallel), and no machine "
            f"of the cluster has more than {most}: lower it"
        )


def placed(settings: EngineSettings, room: int | None = None) -> Placement:
    """See ``place`` and ``place_over``, on this machine."""
    here = gpus() if settings.device.startswith("cuda") else 0
    return place_over(settings, here, room) if spread(settings) else place(settings, here)


@cache
def gpus() -> int:
    """How many GPUs a process has that is started now; they are counted again after ``gpus.cache_clear()``.

    A process that has used GPUs itself goes on counting those that are lost.
    """
    code = "import torch; print(torch.cuda.device_count())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout)
