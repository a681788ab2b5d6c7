"""A sampler's process on another machine: an actor there that starts it, and passes on what goes to and from it.

The actor knows no vLLM: the process is the one that a single machine has, and dies with the actor.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayError

from piplay.engine.child import ChildProcess
from piplay.engine.shared import SharedFolder
from piplay.engine.vllm import serve
from piplay.engine.vllm.installed import check_installed
from piplay.engine.vllm.messages import Settings
from piplay.errors import InputError, first_line

Content = Mapping[str, Any]
"""The files of a version: bytes as numpy arrays by their names, one of them empty for a single file."""


class Host:
    """What runs on the other machine. Its two directions are two threads, each of which keeps its order."""

    def __init__(self, settings: Settings) -> None:
        self._shared = SharedFolder()
        self._folder = self._shared.path
        self._problem = ""
        self._whole: dict[int, Path] = {}
        try:
            check_installed(settings.device)
        except InputError as error:
            self._problem = str(error)
        if not settings.model.is_dir():
            self._problem = f"there is no model in {settings.model}: copy it there"
        if not self._problem:
            log = self._folder / "sampler.log"
            self._child = ChildProcess(serve.MODULE, settings, log, serve.environment(settings))

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
    def receive(self) -> list[tuple[Any, ...]]:
        """The messages that have come, one at least. The last is ``gone`` with why, once the process is."""
        if self._problem:
            return [("failed", f"{socket.gethostname()}: {self._problem}")]
        found: list[tuple[Any, ...]] = []
        try:
            while not found or self._child.connection.poll():
                found.append(self._child.connection.recv())
                if found[-1][0] == "answer" and (file := self._whole.pop(found[-1][1], None)):
                    file.unlink()
        except (EOFError, OSError):
            found.append(("gone", f"{socket.gethostname()}: {self._child.stop()}"))
            self._shared.remove()
        return found

    def pid(self) -> int:
        """The process's, on its machine."""
        return self._child.pid


class RemoteProcess:
    """A ``Child`` elsewhere: what is sent to ``connection`` goes to the actor, and what it receives comes back."""

    def __init__(self, settings: Settings) -> None:
        gpus = 0 if settings.device == "cpu" else settings.tensor_parallel
        actor = ray.remote(concurrency_groups={"to": 1, "from": 1})(Host)
        self.actor = actor.options(num_cpus=settings.threads, num_gpus=gpus, scheduling_strategy="SPREAD").remote(
            settings
        )
        ours, self._socket = socket.socketpair()
        self.connection, self._theirs = Connection(ours.detach()), Connection(os.dup(self._socket.fileno()))
        self._reason = "it was stopped"
        for target in (self._out, self._in):
            Thread(target=target, daemon=True).start()

    def stop(self) -> str:
        """End it; why it had ended, where it says so."""
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
        try:
            while True:
                for message in ray.get(self.actor.receive.remote()):
                    if message[0] == "gone":
                        self._reason = message[1]
                        return
                    self._theirs.send(message)
        except (OSError, RayError) as error:
            self._reason = first_line(error)
        finally:
            # Closing would not do: the other thread is waiting to read.
            self._socket.shutdown(socket.SHUT_RDWR)


def contents(message: tuple[Any, ...]) -> Any:
    """The files that a message names, in Ray's object store; None where it names none."""
    if message[:1] != ("call",) or message[2] != "hold":
        return None
    path = message[3][1]
    files = {file.name: file for file in sorted(path.iterdir())} if path.is_dir() else {"": path}
    return ray.put({name: np.fromfile(file, np.uint8) for name, file in files.items()})
