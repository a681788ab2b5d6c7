"""What is computed once from a large corpus and kept: folders in the user's cache, named by what they were made of."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from piplay.errors import InputError


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/piplay``, by default ``~/.cache/piplay``. All in it can be removed at any time."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if os.path.isabs(home) else Path.home() / ".cache") / "piplay"


def fingerprint(path: Path) -> str:
    """A file's content as 32 characters: a corpus that changed is another, one that moved or was copied is not."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def kept(name: str, make: Callable[[Path], None]) -> Path:
    """The folder ``name`` of the cache, which ``make`` fills when it is not there yet.

    It is there whole or not at all: ``make`` is given a folder beside it, which is synced and renamed. Of several
    processes that want it, one makes it and the others wait. What a killed one has left is cleared by the next.

    Raises InputError when the cache cannot be written; what ``make`` raises goes through.
    """
    folder = cache_folder() / name
    half = folder.with_name(f"{name}.half")
    while not folder.is_dir():
        try:
            half.mkdir(parents=True, exist_ok=True)
            _make(half, folder, make)
        except OSError as error:
            raise InputError(
                f"{error.filename or half} cannot be written ({error.strerror}): "
                "set XDG_CACHE_HOME to a folder that can."
            ) from error
    return folder


def _make(half: Path, folder: Path, make: Callable[[Path], None]) -> None:
    """Fill and rename ``half`` unless, once it is this process's turn, another has renamed or removed it."""
    import fcntl  # not on every system, and needed for large corpora alone

    lock = os.open(half, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)  # on the folder itself, so that it ends with the process and leaves no file
        if not half.is_dir() or not os.path.samestat(os.fstat(lock), half.stat()):
            return
        for left in half.iterdir():
            left.unlink()
        try:
            make(half)
            for file in half.iterdir():
                with file.open("rb") as written:
                    os.fsync(written.fileno())
            half.rename(folder)
        except BaseException:
            shutil.rmtree(half, ignore_errors=True)
            raise
    finally:
        os.close(lock)
