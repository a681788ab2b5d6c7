"""Engines that die."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from piplay.algo.losses.base import Loss
from piplay.engine.local.engine import LocalEngine
from piplay.engine.protocol import EngineLost, TooFewDevices
from piplay.settings import EngineSettings, Policy
from piplay.types import Sample

DEATHS: list[int] = []
"""At which of the updates of all engines together one dies, in order."""
UPDATES = [0]


class Mortal(LocalEngine):
    """The local engine, until it dies: then every call says so."""

    def train(
        self, policy: str, samples: Sequence[Sample], losses: Mapping[str, Loss], lr: float | None = None
    ) -> dict[str, float]:
        UPDATES[0] += 1
        if DEATHS and UPDATES[0] >= DEATHS[0]:
            DEATHS.pop(0)
            raise EngineLost("a part of it has died")
        return super().train(policy, samples, losses, lr)


class Shrinking(Mortal):
    """Has no device left once it was started, as where it died with its GPU."""

    starts = 0

    @classmethod
    def start(cls, model: Path, policies: Mapping[str, Policy], settings: EngineSettings, *, seed: int) -> LocalEngine:
        cls.starts += 1
        if cls.starts > 1:
            raise TooFewDevices("engine.min_trainers is 2, and one device is here: have more")
        return super().start(model, policies, settings, seed=seed)
