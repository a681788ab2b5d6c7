"""Starts a sampler's process, and ends it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from piplay.engine.vllm.messages import Settings
from piplay.engine.vllm.serve import environment

SHARED = Path("/dev/shm")
"""Memory that processes share, as a folder."""
MODULE = "piplay.engine.vllm.serve"


class SamplerProcess:
    """``python -m piplay.engine.vllm.serve`` at the other end of a socket pair. What it prints is in a file."""

    def __init__(self, settings: Settings, log: Path) -> None:
        ours, theirs = socket.socketpair()
        self._log = log
        with log.open("wb") as file, theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", MODULE, str(theirs.fileno()), str(os.getpid())],
                env=os.environ | environment(settings.threads, settings.device),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
        self.connection = Connection(ours.detach())
        self.connection.send(settings)

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> str:
        """Kill it; how it had ended before that, and the last line that it printed. It may be asked again."""
        with suppress(subprocess.TimeoutExpired):
            # What has hung up is about to end.
            self._process.wait(1)
        ended = self._process.returncode
        self._process.kill()
        self._process.wait()
        self.connection.close()
        lines = self._log.read_text(encoding="utf-8", errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
        return f"its process ended with code {ended}, and the last that it printed was: {last}"
