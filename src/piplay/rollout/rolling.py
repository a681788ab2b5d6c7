"""Plays coroutines that come and go; what ``driver.py`` plays begins and ends together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from piplay.engine.protocol import EngineLost, Sampler
from piplay.rollout.context import CloseRequest, Request, TurnRequest
from piplay.rollout.driver import Driver, Fulfilled, Running, ToolsInThreads
from piplay.rollout.tools import Tool
from piplay.types import Key

TOOLS_ALONE = 0.02
"""Seconds that tools are waited for, where nothing else is to be done, before it is seen who has come or gone."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a coroutine of a ``Rolling``."""

    number: int
    """As ``begin`` gave it."""
    request: Request | None
    """What was fulfilled; None: it is over."""
    result: Any
    """A ``Generated``, a tool's result or ``ToolError``; at the end what it returned or raised."""


class Rolling:
    """Coroutines that begin, and are dropped, while others are played: for one thread, whoever asks.

    Tools answer in threads whatever the sampler, so nothing here is the same twice but each turn for itself.
    """

    def __init__(self, sampler: Sampler, tools: Mapping[str, Tool]) -> None:
        self._driver = _Driver(sampler, ToolsInThreads(tools))
        self._begun = 0

    def begin(self, coroutine: Coroutine[Request, Any, Any]) -> int:
        """Let a coroutine join those that are played; its number."""
        self._begun += 1
        self._driver.start(coroutine, self._begun)
        return self._begun

    def drop(self, number: int) -> None:
        """Give up a coroutine: its turns and sessions are forgotten. Nothing where it is over."""
        self._driver.drop(number)

    def step(self, pause: Callable[[], bool]) -> list[Event]:
        """Go on until something happens, or ``pause`` is true between two tokens; nothing where nothing is played.

        Raises ``EngineLost``, and whatever else the sampler raises while it writes.
        """
        driver = self._driver
        events: list[Event] = []
        if driver.advance() and not driver.ended:
            for running, request, result in driver.fulfilled(lambda: pause() or driver.tools.done):
                if running.root in driver.members:
                    events.append(Event(running.root, request, result))
                    driver.going.append((running, result))
        ended, driver.ended = driver.ended, []
        return [*events, *(Event(number, None, outcome) for number, outcome in ended)]

    def close(self) -> None:
        """Drop what is played."""
        self._driver.close()


class _Driver(Driver):
    """Remembers whose each coroutine is: one that fails, or is dropped, ends alone."""

    tools: ToolsInThreads

    def __init__(self, sampler: Sampler, tools: ToolsInThreads) -> None:
        super().__init__(sampler, tools)
        self.members: dict[int, dict[int, Running]] = {}
        """By the number of each coroutine that is played: itself and those that it gathers, by their ids."""
        self.sessions: dict[int, set[Key]] = {}
        self.ended: list[tuple[int, Any]] = []

    def start(self, coroutine: Coroutine[Request, Any, Any], number: int) -> None:
        self.members[number], self.sessions[number] = {}, set()
        self.going.append((Running(coroutine, None, number, number), None))

    def drop(self, number: int) -> None:
        for session in self.sessions.pop(number, ()):
            self.sampler.close(session)
        self.waiting = {key: waits for key, waits in self.waiting.items() if waits[0].root != number}
        members = self.members.pop(number, {})
        members |= {id(running): running for running, _ in self.going if running.root == number}
        self.going = deque(goes for goes in self.going if goes[0].root != number)
        for running in members.values():
            running.coroutine.close()

    def close(self) -> None:
        for number in list(self.members):
            self.drop(number)
        super().close()

    def fulfilled(self, pause: Callable[[], bool] | None = None) -> list[Fulfilled]:
        answered = self.tools.answered(wait=0.0 if self.waiting else TOOLS_ALONE)
        if answered or not self.waiting:
            return answered
        # An engine elsewhere may give what it had written before its session was closed.
        written = [one for one in self.sampler.ready(pause) if one.key in self.waiting]
        return [(*self.waiting.pop(one.key), one) for one in written]

    def _go(self, running: Running, value: Any) -> None:
        self.members[running.root][id(running)] = running
        try:
            super()._go(running, value)
        except EngineLost:
            raise
        except Exception as error:  # told to whoever began it; the others go on
            self.drop(running.root)
            self.ended.append((running.root, error))

    def _end(self, running: Running, result: Any) -> None:
        super()._end(running, result)
        if running.parent is None:
            del self.members[running.root], self.sessions[running.root]
            self.ended.append((running.root, self.results.pop(running.root)))

    def _take(self, running: Running, request: Request) -> None:
        if isinstance(request, TurnRequest):
            self.sessions[running.root].add(request.generate.session)
        elif isinstance(request, CloseRequest):
            self.sessions[running.root].discard(request.session)
        super()._take(running, request)
