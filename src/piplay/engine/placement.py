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
    trainer has a GPU of its own. Samplers have ``tensor_parallel`` GPUs each; where they run out, they begin again with
    the first. ``cuda:N`` is one GPU.

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
    each = settings.tensor_parallel
    groups = [tuple(free[i : i + each]) for i in range(0, len(free) - each + 1, each)]
    if not groups:
        beside = f", trainers have {trainers} of their own (engine.placement)" if split else ""
        raise InputError(
            f"a sampler takes {each} of the GPUs (engine.tensor_parallel){beside}, and {there}: lower "
            + ('one of them, or take engine.placement = "shared"' if split else "it")
        )
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
    free = gpus - settings.trainers
    if settings.placement == "split" and here > free:
        raise InputError(
            f'engine.placement = "split": trainers take the last {settings.trainers} of the {gpus} GPUs here, and Ray '
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
