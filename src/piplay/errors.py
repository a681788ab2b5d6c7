"""The exceptions that are written for people: bad input, and what does not answer."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

_HALF = re.compile("[\ud800-\udfff]")


class InputError(Exception):
    """What is wrong, where, and what to do, in one sentence written for the person who typed it."""


class Unavailable(Exception):  # noqa: N818 (said of what is needed, not of the call)
    """Something that a run needs does not answer, in one sentence: exit code 3; it can be gone on with later."""


def nearest(word: str, known: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` for the known word that is most like this one; empty where none is."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


@contextmanager
def going_on() -> Iterator[None]:
    """For a command that goes on when it is called again: where it is interrupted, that is said and nothing else."""
    try:
        yield
    except KeyboardInterrupt:
        interrupted = KeyboardInterrupt()
        interrupted.add_note("the same command goes on")
        raise interrupted from None


def in_a_line(error: Exception) -> str:
    """All that an exception says, on one line; its type's name where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def first_line(error: Exception) -> str:
    """The first line of what an exception says; its type's name where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def out_of_memory(error: Exception) -> bool:
    """Whether memory ran out: Python's, or torch's of a GPU or of a CPU; torch is not imported for a name alone."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(error)
    )


def check_text(text: str, what: str) -> None:
    """Raises ``InputError`` where ``what`` holds what no tokenizer takes."""
    if half := _HALF.search(text):
        place = f"{what} is not UTF-8 at character {half.start() + 1}"
        raise InputError(f"{place}: write it in UTF-8 (in Python without lone surrogates)")


class InputWarning(UserWarning):
    """Something of what was given is left out, or is taken otherwise than it may be meant: one sentence."""
