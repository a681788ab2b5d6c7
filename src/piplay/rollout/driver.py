"""Drives many episodes at once over one sampler and the environment's tools.

No event loop decides an order: coroutines go on in the order in which what they wait for was fulfilled, and the sampler
always works on whatever is ready. There is no barrier between turns. With a deterministic sampler the order is always
the same: open tool calls are answered before the next turns are asked for. Otherwise tools answer in a thread while
turns are being written.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Coroutine, Generator, Mapping, Sequence
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from inspect import CORO_CREATED, getcoroutinestate
from types import CoroutineType
from typing import Any, TypeVar

from piplay.border.code import name_of, own, place_of
from piplay.engine.protocol import Sampler
from piplay.errors import InputError
from piplay.rollout.answers import answers
from piplay.rollout.context import CloseRequest, GatherRequest, Request, ToolRequest, TurnRequest
from piplay.rollout.tools import Tool, ToolError
from piplay.types import Key

Result = TypeVar("Result")


@dataclass(slots=True)
class Running:
    """A coroutine under way, and where its result goes."""

    coroutine: Coroutine[Request, Any, Any]
    parent: Running | None
    place: int
    """Its place among its siblings."""
    root: int
    """The place of the coroutine that all began with."""
    children: list[Any] = field(default_factory=list)
    missing: int = 0


Fulfilled = tuple[Running, Request, Any]


def drive(
    coroutines: Sequence[Coroutine[Request, Any, Result]], sampler: Sampler, tools: Mapping[str, Tool]
) -> list[Result]:
    """Run all coroutines to their end; their results in order. An exception of one of them ends the drive."""
    playing = watch(coroutines, sampler, tools)
    while True:
        try:
            next(playing)
        except StopIteration as end:
            results: list[Result] = end.value
            return results


def watch(
    coroutines: Sequence[Coroutine[Request, Any, Result]], sampler: Sampler, tools: Mapping[str, Tool]
) -> Generator[tuple[Request, Any], None, list[Result]]:
    """As ``drive``, telling each turn and each tool's result, ``ToolError`` included, as it is fulfilled."""
    driver = Driver(sampler, ToolsInline(tools) if sampler.deterministic else ToolsInThreads(tools))
    try:
        driver.begin(coroutines)
        while driver.advance():
            for running, request, result in driver.fulfilled():
                yield request, result
                driver.going.append((running, result))
    finally:
        driver.close()
    return [driver.results[place] for place in range(len(coroutines))]


class Driver:
    """The coroutines that can go on, and those that wait for turns or tools."""

    def __init__(self, sampler: Sampler, tools: ToolsInline) -> None:
        self.sampler, self.tools = sampler, tools
        self.results: dict[int, Any] = {}
        self.going: deque[tuple[Running, Any]] = deque()
        self.waiting: dict[Key, tuple[Running, TurnRequest]] = {}

    def begin(self, coroutines: Sequence[Coroutine[Request, Any, Any]]) -> None:
        self.going.extend((Running(running, None, place, place), None) for place, running in enumerate(coroutines))

    def close(self) -> None:
        """Let go of what is not played to its end: a running that never began would be complained of."""
        for running, _ in self.going:
            if isinstance(running.coroutine, CoroutineType) and getcoroutinestate(running.coroutine) == CORO_CREATED:
                running.coroutine.close()
        self.tools.close()

    def advance(self) -> bool:
        """Let every coroutine that can go on do so; whether any waits for anything."""
        while self.going:
            self._go(*self.going.popleft())
        return bool(self.waiting) or self.tools.pending

    def _go(self, running: Running, value: Any) -> None:
        try:
            step = running.coroutine.throw if isinstance(value, ToolError) else running.coroutine.send
            request = step(value)
        except StopIteration as end:
            self._end(running, end.value)
        except ToolError as error:
            raise InputError(
                f"the game raised {type(error).__name__}: {error} ({place_of(error)}), as tools alone do: where one "
                "fails, `Dialogue.use` gives None, and the game closes the dialogue"
            ) from error
        except Exception:
            with own(name_of(running.coroutine)):
                raise
        else:
            self._take(running, request)

    def fulfilled(self) -> list[Fulfilled]:
        """What was waited for and is there: at least one of it."""
        answered = self.tools.answered(wait=None if not self.waiting else 0.0)
        if answered or not self.waiting:
            return answered
        return [(*self.waiting.pop(written.key), written) for written in self.sampler.ready()]

    def _end(self, running: Running, result: Any) -> None:
        if running.parent is None:
            self.results[running.place] = result
            return
        running.parent.children[running.place] = result
        running.parent.missing -= 1
        if running.parent.missing == 0:
            self.going.append((running.parent, running.parent.children))

    def _take(self, running: Running, request: Request) -> None:
        match request:
            case TurnRequest(generate):
                self.sampler.submit(generate)
                self.waiting[generate.key] = running, request
            case ToolRequest():
                self.tools.ask(running, request)
            case CloseRequest(session):
                self.sampler.close(session)
                self.going.append((running, None))
            case GatherRequest(inner):
                running.children, running.missing = [None] * len(inner), len(inner)
                self.going.extend(
                    (Running(child, running, place, running.root), None) for place, child in enumerate(inner)
                )
                if not inner:
                    self.going.append((running, []))
            case _:
                raise InputError(
                    f"{name_of(running.coroutine)} waits for {request!r}: a game awaits what its context and its "
                    "dialogues give, and nothing else"
                )


class ToolsInline:
    """Answers all open calls at once, before anything else goes on."""

    def __init__(self, tools: Mapping[str, Tool]) -> None:
        self._tools = tools
        self._open: list[tuple[Running, ToolRequest]] = []

    @property
    def pending(self) -> bool:
        return bool(self._open)

    def ask(self, running: Running, request: ToolRequest) -> None:
        self._open.append((running, request))

    def answered(self, wait: float | None) -> list[Fulfilled]:
        """Results that are there, after so many seconds at most; None: after as many as one takes."""
        asked, self._open = self._open, []
        results = answers(self._tools, [request.call for _, request in asked])
        return [(running, request, result) for (running, request), result in zip(asked, results, strict=True)]

    def close(self) -> None: ...


class ToolsInThreads(ToolsInline):
    """Answers calls in threads of their own, a batch at a time for each tool, while turns are written."""

    def __init__(self, tools: Mapping[str, Tool]) -> None:
        super().__init__(tools)
        self._pool = ThreadPoolExecutor(max(1, len(tools)))
        self._under_way: list[tuple[list[tuple[Running, ToolRequest]], Future[list[Any]]]] = []

    @property
    def pending(self) -> bool:
        return bool(self._open or self._under_way)

    @property
    def done(self) -> bool:
        """Whether results are there."""
        return any(future.done() for _, future in self._under_way)

    def answered(self, wait: float | None) -> list[Fulfilled]:
        if self._open:
            calls = [request.call for _, request in self._open]
            self._under_way.append((self._open, self._pool.submit(answers, self._tools, calls)))
            self._open = []
        if self._under_way:
            futures.wait([future for _, future in self._under_way], wait, futures.FIRST_COMPLETED)
        done = [batch for batch in self._under_way if batch[1].done()]
        self._under_way = [batch for batch in self._under_way if batch not in done]
        return [
            (running, request, result)
            for asked, future in done
            for (running, request), result in zip(asked, future.result(), strict=True)
        ]

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
