"""What somebody's own code raises, in one sentence: the class that was asked, the exception, file and line."""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from piplay.errors import InputError, out_of_memory

PACKAGE = str(Path(__file__).parents[1])
LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
TRACEBACK = "PIPLAY_TRACEBACK"
"""The variable of the environment with which the command line prints whole tracebacks."""


@contextmanager
def own(name: str) -> Iterator[None]:
    """Say what is raised within, as ``InputError``.

    What the package raises to be read passes as it is, and so does memory that ran out, and what the package's own
    classes stumble over where nobody else's code is involved.

    Args:
        name: what is asked, as ``name_of`` has it.
    """
    try:
        yield
    except Exception as error:
        if _for_readers(error) or out_of_memory(error):
            raise
        place = place_of(error)
        if not place and name.startswith("piplay."):
            raise
        said = f"{name} raised {text_of(error)}{f' ({place})' if place else ''}"
        raise InputError(f"{said}: correct it there; {TRACEBACK}=1 shows the whole traceback") from error


def _for_readers(error: Exception) -> bool:
    """Whether the package raised it for someone who knows what it means."""
    if type(error).__module__.partition(".")[0] == "piplay":
        return True
    # An engine whose numbers are no longer finite, asked by an evaluation.
    frames = traceback.extract_tb(error.__traceback__)
    return isinstance(error, FloatingPointError) and frames[-1].filename.startswith(PACKAGE)


def place_of(error: BaseException) -> str:
    """``guess.py, line 12``: the last line of an exception's way that is no library's; empty where there is none."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}, line {error.lineno}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename.startswith((PACKAGE, *LIBRARIES, "<frozen", "<string>")):
            continue
        return f"{Path(frame.filename).name}, line {frame.lineno}"
    return ""


def text_of(error: BaseException) -> str:
    """``ZeroDivisionError: division by zero``, in one line."""
    return " ".join(traceback.format_exception_only(error)[-1].split())


def name_of(thing: Any) -> str:
    """``module:Class`` of an object or a class, ``module:Class.method`` of a method, ``module:name`` of a function."""
    if isinstance(thing, Coroutine):
        code = getattr(thing, "cr_code", None)
        file = getattr(code, "co_filename", "")
        module = f"{'piplay.' if file.startswith(PACKAGE) else ''}{Path(file).stem}"
        return f"{module}:{getattr(thing, '__qualname__', type(thing).__qualname__)}"
    owner = getattr(thing, "__self__", None)
    if owner is not None and hasattr(thing, "__name__"):
        return f"{name_of(owner)}.{thing.__name__}"
    # By its __class__: what stands for a part (checked.py) has the part's.
    named = thing if hasattr(thing, "__qualname__") else thing.__class__
    return f"{named.__module__}:{named.__qualname__}"


def kind_of(value: Any) -> str:
    """``None``, ``5``, ``a list``: what a value is, for a message."""
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value) if len(repr(value)) < 60 else f"a {type(value).__name__}"
    return f"a {type(value).__name__}"


def listed(names: Iterable[str]) -> str:
    """``a, b and c``."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
