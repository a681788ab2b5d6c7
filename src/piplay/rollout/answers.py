"""Asks tools: in batches, and where a batch fails call by call, so that what can be had is had."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError

from piplay.border.code import text_of
from piplay.border.play import answers_of
from piplay.errors import InputError
from piplay.rollout.tools import Tool, ToolError, ToolTimeoutError
from piplay.types import ToolCall, ToolResult

TRIES = 3
"""How often a call is asked alone, once its batch has failed."""
HANGS = 2
"""How often a call is waited for in vain; and after how many such calls in a row the rest of a batch is not asked."""


def answers(tools: Mapping[str, Tool], calls: Sequence[ToolCall]) -> list[ToolResult | ToolError]:
    """A result or a ``ToolError`` for each call, each tool's calls as one batch."""
    results: list[Any] = [None] * len(calls)
    for name in dict.fromkeys(call.name for call in calls):
        places = [place for place, call in enumerate(calls) if call.name == name]
        batch = [calls[place] for place in places]
        try:
            found: Sequence[Any] = _asked(tools[name], batch)
        except ToolError:
            found = _one_by_one(tools[name], batch)
        for place, result in zip(places, found, strict=True):
            results[place] = result
    return results


def answers_again(tool: Tool, call: ToolCall) -> bool:
    """Whether a tool answers a call that it did not answer before."""
    try:
        _asked(tool, [call])
    except ToolError:
        return False
    return True


def _one_by_one(tool: Tool, batch: Sequence[ToolCall]) -> list[ToolResult | ToolError]:
    """Each call alone, so that one bad call fails one, and several times, so that a bad moment fails none."""
    found: list[ToolResult | ToolError] = []
    hangs = 0
    for call in batch:
        result = found[-1] if hangs == HANGS else _alone(tool, call)
        hangs = min(hangs + 1, HANGS) if isinstance(result, ToolTimeoutError) else 0
        found.append(result)
    return found


def _alone(tool: Tool, call: ToolCall) -> ToolResult | ToolError:
    failures: list[ToolError] = []
    while len(failures) < TRIES and sum(isinstance(failure, ToolTimeoutError) for failure in failures) < HANGS:
        try:
            return _asked(tool, [call])[0]
        except ToolError as error:
            failures.append(error)
    return failures[-1]


def _asked(tool: Tool, calls: Sequence[ToolCall]) -> list[ToolResult]:
    """A tool's results. Raises ``ToolError`` where it fails, does not answer in time, or cannot be reached."""
    try:
        return _in_time(lambda: answers_of(tool, calls), getattr(tool, "timeout", None))
    except InputError as error:
        if error.__cause__ is not None and _unreachable(error.__cause__):
            raise ToolError(text_of(error.__cause__)) from error
        raise


def _unreachable(error: BaseException) -> bool:
    """Whether an exception says that something elsewhere does not answer, and nothing of the code that asked it."""
    if isinstance(error, HTTPError):
        return error.code >= 500 or error.code == 429
    return isinstance(error, HTTPException) or (isinstance(error, OSError) and error.filename is None)


class _TimeIsUp(BaseException):
    """No ``Exception``: a tool that catches those would answer otherwise than it does in time."""


def _in_time(ask: Callable[[], list[ToolResult]], seconds: float | None) -> list[ToolResult]:
    """What ``ask`` gives. Raises ``ToolTimeoutError`` where that takes longer.

    In the main thread an alarm interrupts it, so that a tool is never asked by two threads at once. Elsewhere, where
    there are no alarms, it is left behind in a thread of its own.
    """
    if seconds is None:
        return ask()
    late = ToolTimeoutError(f"no answer in {seconds:g} s")
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        return _in_thread(ask, seconds, late)

    def ring(number: int, frame: object) -> None:
        raise _TimeIsUp

    before = signal.signal(signal.SIGALRM, ring)
    other, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        try:
            return ask()
        finally:
            signal.setitimer(signal.ITIMER_REAL, other, interval)
            signal.signal(signal.SIGALRM, before)
    except _TimeIsUp:
        raise late from None


def _in_thread(ask: Callable[[], list[ToolResult]], seconds: float, late: ToolTimeoutError) -> list[ToolResult]:
    results: list[list[ToolResult]] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(ask())
        except BaseException as error:  # raised where it is waited for
            errors.append(error)

    # A daemon: one that hangs does not keep the process from ending.
    asking = threading.Thread(target=run, daemon=True)
    asking.start()
    asking.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise late
    return results[0]
