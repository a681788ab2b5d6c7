"""Samplers and trainers on the machines of a Ray cluster: ``VllmEngine`` with processes that stand elsewhere."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path

from piplay.engine.local.ranks import Other, Start
from piplay.engine.local.trainer import check_device
from piplay.engine.placement import Placement, check_cluster, gpus, placed, spread
from piplay.engine.ray.network import interfaces
from piplay.engine.vllm.engine import VllmEngine
from piplay.engine.vllm.installed import check_version
from piplay.engine.vllm.pool import Child
from piplay.errors import InputError, first_line
from piplay.settings import EngineSettings, Policy

SERIES = "2.60."
"""The versions of Ray that this engine is written for."""


class RayEngine(VllmEngine):
    """Samplers are actors, and so are trainers but the first, where Ray places them (``placement.spread``).

    Where a sampler dies, or its machine, another is started wherever there is room.
    """

    @classmethod
    def check(cls, settings: EngineSettings) -> None:
        """Raises ``InputError`` where Ray is not there or of another version, or there are too few GPUs for trainers.

        Samplers' machines are checked there.
        """
        check_device(settings.device)
        check_version("ray", SERIES, settings.kind)
        placed(settings)

    @classmethod
    def start(
        cls, model: Path, policies: Mapping[str, Policy], settings: EngineSettings, *, seed: int, tokens: int
    ) -> RayEngine:
        """The engine that settings describe; see ``VllmEngine``.

        Raises:
            InputError: see there; or there is no such cluster, or see ``check_cluster``.
        """
        cls.check(settings)
        import ray

        if not ray.is_initialized():
            try:
                _reach(settings.address)
                begins = settings.placement == "split" and not settings.address
                own = {"num_gpus": gpus() - 1} if begins else {}
                ray.init(address=settings.address or "local", log_to_driver=False, include_dashboard=False, **own)
            except (OSError, ValueError, RuntimeError) as error:
                raise InputError(
                    f"engine.address {settings.address!r}: no Ray cluster is reached ({first_line(error)}): start one "
                    'with `ray start --head`, or set engine.address = "" to start one here'
                ) from error
        if settings.device != "cpu":
            machines = {node["NodeID"]: int(node["Resources"].get("GPU", 0)) for node in ray.nodes() if node["Alive"]}
            here = machines[ray.get_runtime_context().get_node_id()]
            check_cluster(settings, gpus(), here, max(machines.values()))
        return cls(model.absolute(), policies, settings, seed=seed, tokens=tokens)

    def _placed(self, settings: EngineSettings) -> Placement:
        if not spread(settings):
            return placed(settings)
        import ray

        on_gpus = settings.device != "cpu"
        each, taken = (1, settings.tensor_parallel) if on_gpus else (settings.threads, settings.threads)
        nodes = [node["Resources"].get("GPU" if on_gpus else "CPU", 0) for node in ray.nodes() if node["Alive"]]
        room = sum(int(free // each) for free in nodes) - settings.samplers * taken // each
        return placed(settings, max(room, 0))

    def _meeting(self) -> Path | str:
        if not self._placement.spread:
            return super()._meeting()
        import ray

        address: str = ray.util.get_node_ip_address()
        os.environ.update(interfaces(address))
        return address

    def _begin(self, start: Start) -> Other:
        if not self._placement.spread:
            return super()._begin(start)
        from piplay.engine.ray.host import RankPart, RemoteProcess

        return RemoteProcess(RankPart(start), start.settings.threads, 0 if start.device == "cpu" else 1)

    def _child(self, number: int) -> Child:
        from piplay.engine.ray.host import RemoteProcess, SamplerPart

        settings = self._settings
        taken = 0 if settings.device == "cpu" else settings.tensor_parallel
        self._children.append(RemoteProcess(SamplerPart(settings), settings.threads, taken))
        return self._children[-1]


def _reach(address: str) -> None:
    """Raises ``OSError`` where nobody answers at HOST:PORT: Ray itself would wait for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()
