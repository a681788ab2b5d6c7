"""Folders in memory that processes share, and that end with the process that made them, however it ends."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

from filelock import FileLock, Timeout

SHARED = Path("/dev/shm")
"""Memory that processes share, as a folder."""
PREFIX = "piplay-engine-"
_YOUNG = 60.0
"""Seconds for which a folder may have no holder yet."""


class SharedFolder:
    """A folder that its maker holds; those of makers that were killed are removed before it is made."""

    def __init__(self) -> None:
        where = SHARED if SHARED.is_dir() else Path(tempfile.gettempdir())
        for folder in where.glob(f"{PREFIX}*"):
            _remove_where_nobody_holds(folder)
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=where))
        self._lock = FileLock(self.path / "lock")
        self._lock.acquire()

    def remove(self) -> None:
        """It may be called again."""
        self._lock.release(force=True)
        shutil.rmtree(self.path, ignore_errors=True)


def _remove_where_nobody_holds(folder: Path) -> None:
    # The lock is the kernel's: it holds across containers that share memory and do not see each other's processes.
    lock = FileLock(folder / "lock")
    try:
        if time.time() - folder.stat().st_mtime < _YOUNG:
            return
        lock.acquire(blocking=False)
    except (Timeout, OSError):  # somebody's, or somebody else's
        return
    shutil.rmtree(folder, ignore_errors=True)
    lock.release(force=True)
