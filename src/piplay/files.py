"""Files and folders that are there whole or not at all, the hashes that tell a changed one, and storage that fails."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from piplay.errors import InputError, in_a_line

NEW = ".new"
"""The ending of what is being written: renamed when it is whole, litter where a process died before."""


def from_json(text: str | bytes, **options: Any) -> Any:
    """What ``json.loads`` makes of a text. Raises ``ValueError`` also for what is nested too deep."""
    try:
        return json.loads(text, **options)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def digest(file: Path) -> str:
    """The SHA-256 of a file's content."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def digest_of_files(files: Sequence[Path], root: Path) -> str:
    """One hash of several files: of their names below ``root`` and their contents, in the order of the names."""
    named = sorted((file.relative_to(root).as_posix(), file) for file in files)
    lines = [f"{digest(file)}  {name}\n" for name, file in named]
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def sync(path: Path) -> None:
    """Have a file's content, or a folder's names, reach the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(file: Path, write: Callable[[Path], None]) -> str:
    """Let ``write`` make a file beside its place, sync it and give it its name; its SHA-256."""
    new = file.with_name(file.name + NEW)
    try:
        write(new)
        sync(new)
        found = digest(new)
        os.replace(new, file)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    return found


def put(file: Path, content: bytes) -> str:
    """Write a file, whole or not at all; its SHA-256."""

    def write(new: Path) -> None:
        new.write_bytes(content)

    return write_whole(file, write)


def write_folder(folder: Path, write: Callable[[Path], None]) -> dict[str, str]:
    """Let ``write`` fill a folder beside its place, sync it and give it its name; the SHA-256 of each file in it.

    A folder of that name is replaced.
    """
    new = folder.with_name(folder.name + NEW)
    remove(new)
    try:
        new.mkdir(parents=True)
        write(new)
        files = files_below(new)
        for file in files:
            sync(file)
        found = {file.relative_to(new).as_posix(): digest(file) for file in files}
        sync(new)
        remove(folder)
        new.rename(folder)
        sync(folder.parent)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    return found


def files_below(folder: Path) -> list[Path]:
    """Every file of a folder, at any depth, in the order of their paths."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def remove(path: Path) -> None:
    """Remove a file or a folder, where it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def storing(what: Path, remedy: str) -> Iterator[None]:
    """Say in one sentence where storage fails within: a full disk, one that cannot be read or written, a limit.

    Args:
        what: named where the failure does not say which file it is about.
        remedy: what to do.
    """
    try:
        yield
    except OSError as error:
        raise InputError(f"{error.filename or what} {_reason(error)}: {remedy}") from error
    except SafetensorError as error:
        raise InputError(f"{what} {_reason(error)}: {remedy}") from error


def _reason(error: OSError | SafetensorError) -> str:
    """``cannot be read or written (No space left on device)``."""
    number = error.errno if isinstance(error, OSError) else None
    # Safetensors and Arrow have the number in their texts alone.
    told = re.search(r"(?:os error|errno) (\d+)", str(error))
    number = number or (int(told[1]) if told else None)
    reason = os.strerror(number) if number else in_a_line(error)
    return f"cannot be read or written ({reason})"
