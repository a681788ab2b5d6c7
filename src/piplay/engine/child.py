"""A part of an engine in a process of its own: ``python -m MODULE FD PID``, at the other end of a socket pair."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

_PDEATHSIG = 1


class ChildProcess:
    """A process that dies with this one. What it prints is in a file; what goes between is pickled."""

    def __init__(self, module: str, first: object, log: Path, environment: Mapping[str, str]) -> None:
        """Start it and send it its first message; nobody waits for it yet. ``environment`` is added to this one's."""
        ours, theirs = socket.socketpair()
        self._log = log
        with log.open("wb") as file, theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, str(theirs.fileno()), str(os.getpid())],
                env={**os.environ, **environment},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
        self.connection = Connection(ours.detach())
        self.connection.send(first)

    @property
    def pid(self) -> int:
        return self._process.pid

    def has_ended(self, seconds: float) -> bool:
        """Whether it has ended, waited for so long."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self._process.returncode is not None

    def stop(self) -> str:
        """Kill it; how it had ended before that, and the last line that it printed. It may be asked again."""
        with suppress(subprocess.TimeoutExpired):
            # What has hung up is about to end.
            self._process.wait(0.2)
        ended = self._process.returncode
        self._process.kill()
        self._process.wait()
        self.connection.close()
        lines = self._log.read_text(encoding="utf-8", errors="replace").split("\n") if self._log.exists() else []
        last = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
        return f"its process ended with code {ended}, and the last that it printed was: {last}"


def connected() -> Connection:
    """The child's end, by its command line. From then on it ends with its parent."""
    end_with_parent()
    if os.getppid() != int(sys.argv[2]):
        os._exit(1)
    return Connection(int(sys.argv[1]))


def end_with_parent() -> None:
    """Have the kernel kill this process when its parent ends, however it does."""
    ctypes.CDLL(None, use_errno=True).prctl(_PDEATHSIG, signal.SIGKILL)
