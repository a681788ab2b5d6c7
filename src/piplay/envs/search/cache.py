"""What is computed once from a large corpus and kept: folders in the user's cache, named by what they were made of."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

from piplay.errors import InputError, InputWarning
from piplay.files import digest, files_below, from_json, remove, sync

HASHES = "hashes.json"
"""In a folder of the cache: the SHA-256 of its other files."""


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/piplay``, by default ``~/.cache/piplay``. All in it can be removed at any time."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if os.path.isabs(home) else Path.home() / ".cache") / "piplay"


def fingerprint(path: Path) -> str:
    """A file's content as 32 characters: a corpus that changed is another, one that moved or was copied is not."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def kept(name: str, make: Callable[[Path], None]) -> Path:
    """The folder ``name`` of the cache, which ``make`` fills when it is not there yet, or not as it was made.

    It is there whole or not at all: ``make`` is given a folder beside it, which is synced and renamed. Of several
    processes that want it, one makes it and the others wait. What a killed one has left is cleared by the next. Its
    files are compared with the hashes of when they were made: a search in a damaged index would find other passages.

    Raises InputError when the cache cannot be written; what ``make`` raises goes through.
    """
    folder = cache_folder() / name
    half = folder.with_name(f"{name}.half")
    while not _whole(folder):
        try:
            half.mkdir(parents=True, exist_ok=True)
            _make(half, folder, make)
        except OSError as error:
            raise InputError(
                f"{error.filename or half} cannot be written ({error.strerror}): "
                "set XDG_CACHE_HOME to a folder that can."
            ) from error
    return folder


def _whole(folder: Path) -> bool:
    """Whether a folder is there and every file of it is what was made."""
    if not folder.is_dir():
        return False
    try:
        hashes = from_json((folder / HASHES).read_text(encoding="utf-8"))
        return {file.relative_to(folder).as_posix() for file in files_below(folder)} == {HASHES, *hashes} and all(
            digest(folder / file) == value for file, value in hashes.items()
        )
    except (OSError, ValueError, TypeError):
        return False


def _make(half: Path, folder: Path, make: Callable[[Path], None]) -> None:
    """Fill and rename ``half`` unless, once it is this process's turn, another has renamed or removed it."""
    import fcntl  # not on every system, and needed for large corpora alone

    lock = os.open(half, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)  # on the folder itself, so that it ends with the process and leaves no file
        if not half.is_dir() or not os.path.samestat(os.fstat(lock), half.stat()):
            return
        for left in half.iterdir():
            remove(left)
        try:
            make(half)
            hashes = {file.relative_to(half).as_posix(): digest(file) for file in files_below(half)}
            (half / HASHES).write_text(json.dumps(hashes), encoding="utf-8")
            for file in files_below(half):
                sync(file)
            if folder.exists():
                warnings.warn(f"{folder} was damaged and is made again", InputWarning, stacklevel=4)
                remove(folder)
            half.rename(folder)
        except BaseException:
            shutil.rmtree(half, ignore_errors=True)
            raise
    finally:
        os.close(lock)
