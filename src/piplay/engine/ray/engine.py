"""Samplers and trainers on the machines of a Ray cluster: ``VllmEngine`` with processes that stand elsewhere."""

from __future__ import annotations

import dataclasses
import os
import socket
from collections.abc import Mapping
from pathlib import Path

from piplay.engine.local.ranks import Other, Start
from piplay.engine.local.trainer import check_device
from piplay.engine.ray.network import interfaces
from piplay.engine.vllm.engine import VllmEngine
from piplay.engine.vllm.installed import check_version
from piplay.engine.vllm.pool import Child
from piplay.errors import InputError, first_line
from piplay.settings import EngineSettings, Policy

SERIES = "2.60."
"""The versions of Ray that this engine is written for."""


class RayEngine(VllmEngine):
    """Samplers are actors, and so are all ranks of a trainer but the first, which is here.

    Where a sampler dies, or its machine, another is started wherever there is room.
    """

    @classmethod
    def check(cls, settings: EngineSettings) -> None:
        """Raises ``InputError`` where Ray is not there or of another version. Samplers' machines are checked there."""
        check_device(settings.device)
        check_version("ray", SERIES, settings.kind)

    @classmethod
    def start(
        cls, model: Path, policies: Mapping[str, Policy], settings: EngineSettings, *, seed: int, tokens: int
    ) -> RayEngine:
        """The engine that settings describe; see ``VllmEngine``.

        Raises:
            InputError: see there; or there is no such cluster.
        """
        cls.check(settings)
        import ray

        if not ray.is_initialized():
            try:
                _reach(settings.address)
                ray.init(address=settings.address or "local", log_to_driver=False, include_dashboard=False)
            except (OSError, ValueError, RuntimeError) as error:
                raise InputError(
                    f"engine.address {settings.address!r}: no Ray cluster is reached ({first_line(error)}): start one "
                    'with `ray start --head`, or set engine.address = "" to start one here'
                ) from error
        return cls(model.absolute(), policies, settings, seed=seed, tokens=tokens)

    def _meeting(self) -> str:
        import ray

        address: str = ray.util.get_node_ip_address()
        os.environ.update(interfaces(address))
        return address

    def _begin(self, start: Start) -> Other:
        from piplay.engine.ray.host import RankPart, RemoteProcess

        # Ray shows it the GPUs that it may use.
        device = start.settings.device
        part = RankPart(dataclasses.replace(start, device="cuda:0" if device == "cuda" else device))
        return RemoteProcess(part, start.settings.threads, 0)

    def _child(self, number: int) -> Child:
        from piplay.engine.ray.host import RemoteProcess, SamplerPart

        gpus = 0 if self._settings.device == "cpu" else 1
        self._children.append(RemoteProcess(SamplerPart(self._settings), self._settings.threads, gpus))
        return self._children[-1]


def _reach(address: str) -> None:
    """Raises ``OSError`` where nobody answers at HOST:PORT: Ray itself would wait for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()
