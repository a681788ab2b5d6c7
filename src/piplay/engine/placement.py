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
    trainer has a GPU of its own: where there are fewer, there are as many trainers, and ``min_trainers`` at least.
    Samplers have ``tensor_parallel`` GPUs each; where they run out, they begin again with the first. ``cuda:N`` is one
    GPU.

    Raises:
        TooFewDevices: there are too few.
    """
    kind, _, index = settings.device.partition(":")
    if kind != "cuda":
        return Placement((settings.device,) * settings.trainers, ((),) * settings.samplers)
    here = [int(index)] if index else list(range(gpus))
    there = f'engine.device "{settings.device}" is {len(here)} here'
    on_ray, split, each = settings.kind == "ray", settings.placement == "split", settings.tensor_parallel
    if each > len(here) and not on_ray:
        raise TooFewDevices(
            f"a sampler takes {each} GPUs (engine.tensor_parallel), and {there}: lower it, or have more GPUs"
        )
    apart = each if split and not on_ray else 0
    trainers = min(settings.trainers, len(here) - apart)
    least, name = settings.min_trainers or settings.trainers, "min_trainers" if settings.min_trainers else "trainers"
    if trainers < least:
        beside = f" beside the {apart} of a sampler (engine.placement)" if apart else ""
        raise TooFewDevices(
            f"engine.{name} is {least}, each takes a GPU{beside}, and {there}: lower it, or have more GPUs"
        )
    first = len(here) - trainers if split else 0
    ranks = tuple(f"cuda:{gpu}" for gpu in here[first : first + trainers])
    if on_ray:
        return Placement(ranks, ((),) * settings.samplers)
    free = here[:first] if split else here
    groups = [tuple(free[i : i + each]) for i in range(0, len(free) - each + 1, each)]
    return Placement(ranks, tuple(groups[number % len(groups)] for number in range(settings.samplers)))


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
    trainers = len(place(settings, gpus).trainers)
    free = gpus - trainers
    if settings.placement == "split" and here > free:
        raise InputError(
            f'engine.placement = "split": trainers take the last {trainers} of the {gpus} GPUs here, and Ray '
            f"deals out {here}: start it on this machine with `ray start --num-gpus {free}`"
        )
    if settings.tensor_parallel > most:
        raise InputError(
            f"a sampler takes {settings.tensor_parallel} GPUs of one machine (engine.tensor_parallel), and no machine "
            f"of the cluster has more than {most}: lower it"
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
