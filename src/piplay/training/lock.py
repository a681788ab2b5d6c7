"""One writer a run: a lock on its directory, which ends with the process that holds it."""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from piplay.errors import InputError
from piplay.files import from_json, storing

LOCK = "lock"
"""Names the holder while there is one, and is empty afterwards."""


@contextmanager
def holding(folder: Path) -> Iterator[None]:
    """Be the one that writes into a run's directory, which is made where it is not there.

    Raises ``InputError`` where another process is, with its name; or where the directory cannot be written.
    """
    with storing(folder, "let it be written to, or name another place"):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        try:
            lock.acquire(blocking=False)
        except Timeout as error:
            raise InputError(f"the run {folder} is being written{_holder(folder)}: wait for that, or end it") from error
    try:
        with storing(folder, f"make room or make it writable, then `piplay resume {folder}`"):
            (folder / LOCK).write_text(json.dumps(_myself()), encoding="utf-8")
        yield
    finally:
        with suppress(OSError):  # the lock itself is what counts, and the directory may be gone
            os.truncate(folder / LOCK, 0)
        lock.release()


def _myself() -> dict[str, str | int]:
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]) if sys.argv else ""
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "command": command,
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def _holder(folder: Path) -> str:
    """`` by process 12 on HOST (COMMAND, since TIME)``; empty where the lock does not say."""
    try:
        told = from_json((folder / LOCK).read_text(encoding="utf-8"))
        return f" by process {told['pid']} on {told['host']} ({told['command']}, since {told['since']})"
    except (OSError, ValueError, TypeError, KeyError):
        return ""
