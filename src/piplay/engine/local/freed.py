"""Memory that is freed goes back to the system."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any


def give_back() -> None:
    """Hand what was freed back to the system, where glibc would keep it.

    Rows and caches have other sizes in every step, so that what the last one left fits the next badly: kept, a process
    comes to hold twice what it uses. Nothing is done with another C library.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return None
