"""A process of an engine on another machine: an actor there that starts it, and passes on what goes to and from it.

The actor knows neither vLLM nor training: the process is the one that a single machine has, and dies with the actor.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Event, Thread
from typing import Any, Protocol

import numpy as np
import ray
from ray.exceptions import RayError

from piplay.engine.child import ChildProcess
from piplay.engine.local import ranks
from piplay.engine.local.ranks import Start
from piplay.engine.ray.network import interfaces, sever
from piplay.engine.shared import SharedFolder
from piplay.engine.vllm import serve
from piplay.engine.vllm.installed import check_installed
from piplay.engine.vllm.messages import Settings
from piplay.errors import InputError, first_line

Content = Mapping[str, Any]
"""The files of a version: bytes as numpy arrays by their names, one of them empty for a single file."""


class Part(Protocol):
    """What is started on another machine."""

    module: str

    @property
    def first(self) -> Settings | Start:
        """Its first message."""

    def check(self) -> None:
        """Raises ``InputError`` where that machine cannot have it."""

    def environment(self) -> dict[str, str]:
        """What it has to find in its environment, on that machine."""


@dataclass(frozen=True, slots=True)
class SamplerPart:
    """A sampler."""

    first: Settings
    module = serve.MODULE

    def check(self) -> None:
        """See ``Part.check``."""
        check_installed(self.first.device)

    def environment(self) -> dict[str, str]:
        """See ``Part.environment``."""
        return serve.environment(self.first)


@dataclass(frozen=True, slots=True)
class RankPart:
    """A trainer's rank."""

    first: Start
    module = ranks.MODULE

    def check(self) -> None:
        """See ``Part.check``."""

    def environment(self) -> dict[str, str]:
        """See ``Part.environment``."""
        return ranks.environment(self.first) | interfaces(ray.util.get_node_ip_address())


class Host:
    """What runs on the other machine. Its two directions are two threads, each of which keeps its order."""

    def __init__(self, part: Part) -> None:
        self._shared = SharedFolder()
        self._folder = self._shared.path
        self._problem = ""
        self._whole: dict[int, Path] = {}
        try:
            part.check()
        except InputError as error:
            self._problem = str(error)
        if not part.first.model.is_dir():
            self._problem = f"there is no model in {part.first.model}: copy it there"
        if not self._problem:
            self._child = ChildProcess(part.module, part.first, self._folder / "log", part.environment())

    @ray.method(concurrency_group="to")  # type: ignore[untyped-decorator]
    def send(self, message: tuple[Any, ...], content: Content | None) -> None:
        """Pass a message on. What it names as a path is written here first; whole weights go once they are read."""
        if content is None:
            self._child.connection.send(message)
            return
        kind, ticket, method, (version, path) = message
        here = self._folder / path.parent.name / path.name
        for name, array in content.items():
            file = here / name if name else here
            file.parent.mkdir(parents=True, exist_ok=True)
            array.tofile(file)
        if here.is_file():
            self._whole[ticket] = here
        self._child.connection.send((kind, ticket, method, (version, here)))

    @ray.method(concurrency_group="from")  # type: ignore[untyped-decorator]
    def receive(self) -> tuple[list[Any], str]:
        """The messages that have come, and once the process is gone, why; one of both at least."""
        if self._problem:
            problem = f"{socket.gethostname()}: {self._problem}"
            return [("failed", problem)], problem
        found: list[Any] = []
        try:
            while not found or self._child.connection.poll():
                found.append(self._child.connection.recv())
                if isinstance(found[-1], tuple) and found[-1][0] == "answer" and found[-1][1] in self._whole:
                    self._whole.pop(found[-1][1]).unlink()
        except (EOFError, OSError):
            self._shared.remove()
            return found, f"{socket.gethostname()}: {self._child.stop()}"
        return found, ""

    def node(self) -> str:
        """Ray's name of this machine."""
        return str(ray.get_runtime_context().get_node_id())

    def pid(self) -> int:
        """The process's, on its machine."""
        return self._child.pid


class RemoteProcess:
    """A process elsewhere: what is sent to ``connection`` goes to the actor, and what it receives comes back."""

    def __init__(self, part: Part, cpus: int, gpus: float) -> None:
        actor = ray.remote(concurrency_groups={"to": 1, "from": 1})(Host)
        self.actor = actor.options(num_cpus=cpus, num_gpus=gpus, scheduling_strategy="SPREAD").remote(part)
        ours, self._socket = socket.socketpair()
        self.connection, self._theirs = Connection(ours.detach()), Connection(os.dup(self._socket.fileno()))
        self._reason, self._gone = "it was stopped", Event()
        for target in (self._out, self._in):
            Thread(target=target, daemon=True).start()

    def has_ended(self, seconds: float) -> bool:
        """Whether it or its machine is gone, waited for so long."""
        return self._gone.wait(seconds)

    def stop(self) -> str:
        """End it; why it had ended, where it says so."""
        # Once Ray has shut down it is gone, and Ray, if asked, would look for another cluster or start one.
        if ray.is_initialized():
            with suppress(RayError, ConnectionError):
                ray.kill(self.actor)
        self.connection.close()
        return self._reason

    def _out(self) -> None:
        try:
            while True:
                message = self._theirs.recv()
                self.actor.send.remote(message, contents(message))
        except (EOFError, OSError, RayError):
            return

    def _in(self) -> None:
        node = ""
        try:
            node = ray.get(self.actor.node.remote())
            while not self._gone.is_set():
                messages, ended = ray.get(self.actor.receive.remote())
                for message in messages:
                    self._theirs.send(message)
                if ended:
                    self._reason = ended
                    return
        except SystemExit:  # what Ray raises in who waits for it when it shuts down
            self._reason = "Ray has shut down"
        except (OSError, RayError) as error:
            self._reason = first_line(error)
            sever_dead(node)
        finally:
            self._gone.set()
            # Closing would not do: the other thread is waiting to read.
            self._socket.shutdown(socket.SHUT_RDWR)


def contents(message: tuple[Any, ...]) -> Any:
    """The files that a message names, in Ray's object store; None where it names none."""
    if message[:1] != ("call",) or message[2] != "hold":
        return None
    path = message[3][1]
    files = {file.name: file for file in sorted(path.iterdir())} if path.is_dir() else {"": path}
    return ray.put({name: np.fromfile(file, np.uint8) for name, file in files.items()})


def sever_dead(node: str) -> None:
    """End the connections to a node, by its name, where Ray holds it for dead."""
    with suppress(RayError, OSError):
        for one in ray.nodes() if ray.is_initialized() else ():
            if one["NodeID"] == node and not one["Alive"]:
                sever(one["NodeManagerAddress"])
