"""Work in a process of its own, so that its peak of memory is its own."""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from typing import Any


def apart(work: Callable[..., dict[str, Any]], *arguments: object) -> dict[str, Any]:
    """What ``work`` returns from a new process, with its seconds and its peak resident size in MiB."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=_reply, args=(theirs, work, arguments))
    process.start()
    theirs.close()
    found: dict[str, Any] = ours.recv()
    process.join()
    return found


def _reply(pipe: Any, work: Callable[..., dict[str, Any]], arguments: tuple[object, ...]) -> None:
    start = time.perf_counter()
    found = work(*arguments)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    pipe.send(found | {"seconds": time.perf_counter() - start, "peak": peak})
