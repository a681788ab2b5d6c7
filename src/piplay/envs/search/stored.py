"""Sequences that are too large to hold: lines of a file read when they are asked for, and choices among others."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar, overload

import numpy as np
import numpy.typing as npt

from piplay.errors import InputError

T_co = TypeVar("T_co", covariant=True)

LARGE = 8 * 2**20
"""Bytes of a JSON Lines file above which its lines stay on disk: some 20,000 passages of 50 words."""


class Stored(Sequence[T_co]):
    """What the lines of a file say, each read and parsed again whenever it is asked for.

    The file is opened once: renamed or removed it still answers, written over it may not.
    """

    def __init__(self, path: Path, starts_N1: npt.NDArray[np.int64], parse: Callable[[bytes, int], T_co]) -> None:
        """``starts_N1`` has each line's first byte, and the file's end; ``parse`` takes a line and where it starts."""
        self._path, self._starts_N1, self._parse = path, starts_N1, parse
        self._file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)

    def __len__(self) -> int:
        return len(self._starts_N1) - 1

    @overload
    def __getitem__(self, at: int) -> T_co: ...
    @overload
    def __getitem__(self, at: slice) -> list[T_co]: ...
    def __getitem__(self, at: int | slice) -> T_co | list[T_co]:
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(len(self)))]
        if not -len(self) <= at < len(self):
            raise IndexError(at)
        start, end = self._starts_N1[at % len(self) : at % len(self) + 2].tolist()
        line = os.pread(self._file, end - start, start)
        if len(line) != end - start:
            raise InputError(f"{self._path} was cut short while it was in use: start again.")
        return self._parse(line, start)


class Changed(Sequence[T_co]):
    """The items of a sequence, each changed when it is asked for."""

    def __init__(self, items: Sequence[T_co], change: Callable[[T_co], T_co]) -> None:
        self._items, self._change = items, change

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, at: int) -> T_co: ...
    @overload
    def __getitem__(self, at: slice) -> list[T_co]: ...
    def __getitem__(self, at: int | slice) -> T_co | list[T_co]:
        if isinstance(at, slice):
            return list(map(self._change, self._items[at]))
        return self._change(self._items[at])


class Chosen(Sequence[T_co]):
    """Some items of a sequence, in the order of their numbers, without a copy."""

    def __init__(self, items: Sequence[T_co], numbers: npt.ArrayLike) -> None:
        self._items, self._numbers = items, np.asarray(numbers, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, at: int) -> T_co: ...
    @overload
    def __getitem__(self, at: slice) -> list[T_co]: ...
    def __getitem__(self, at: int | slice) -> T_co | list[T_co]:
        if isinstance(at, slice):
            return [self._items[i] for i in self._numbers[at].tolist()]
        return self._items[int(self._numbers[at])]
