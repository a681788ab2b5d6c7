"""Questions that are answered together: each joins those under way as it comes, and goes when its client goes."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

import torch

from piplay.agent import Agent, Reply
from piplay.errors import InputError
from piplay.rollout.rolling import Rolling
from piplay.types import Key, ToolUse, Turn

CHARACTERS = 65_536
"""Of a question."""


class FullError(Exception):
    """So many questions are open that another is not taken."""


class LostError(Exception):
    """The engine died: no question can be answered any more."""


@dataclass(eq=False)
class Ticket:
    """A question that was taken. ``Questions.leave`` gives its place back, answered or not."""

    question: str
    temperature: float
    key: Key
    loop: asyncio.AbstractEventLoop
    news: asyncio.Queue[Turn | ToolUse | Reply | BaseException] = field(default_factory=asyncio.Queue)
    left: bool = False

    async def steps(self) -> AsyncIterator[Turn | ToolUse | Reply]:
        """Each turn and each tool's result as it comes, the reply last. Raises what ended it."""
        while True:
            news = await self.news.get()
            if isinstance(news, BaseException):
                raise news
            yield news
            if isinstance(news, Reply):
                return

    def tell(self, news: Any) -> None:
        """Called by the thread that plays."""
        self.loop.call_soon_threadsafe(self.news.put_nowait, news)


class Questions:
    """An agent that answers many questions at once, in a thread of its own beside the event loop."""

    def __init__(self, agent: Agent, room: int) -> None:
        """``room``: questions that are open at once, under way or waiting; another one is turned away."""
        self.agent, self.room, self.open = agent, room, 0
        self.lost = ""
        """Why nothing is answered any more, if so."""
        self._count = 0
        self._changes: SimpleQueue[Ticket | None] = SimpleQueue()
        self._threads = torch.get_num_threads()
        self._thread = threading.Thread(target=self._work, name="questions", daemon=True)
        self._thread.start()

    def take(self, question: str, temperature: float = 0.0, seed: int | None = None) -> Ticket:
        """Take a question; called in the event loop.

        ``seed``: of its draws at a temperature above 0, by default another one each time. Raises ``InputError`` for a
        question that cannot be played, ``FullError`` and ``LostError``.
        """
        question = self.agent.checked(question, temperature)
        limit = self.agent.stage.limits.tokens
        if len(question) > CHARACTERS or len(self.agent.stage.chat.encode(question)) >= limit:
            raise InputError(f"the question is too long: {limit} tokens are all that is read and written")
        if self.lost:
            raise LostError(self.lost)
        if self.open >= self.room:
            raise FullError
        self.open += 1
        self._count += 1
        # Greedily nothing is drawn, so that only its session needs a name of its own.
        drawn = seed if seed is not None else secrets.randbits(63)
        key: Key = ("ask", drawn) if temperature else ("ask", "greedy", self._count)
        ticket = Ticket(question, temperature, key, asyncio.get_running_loop())
        self._changes.put(ticket)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give a place back: a question that is still being answered is given up. Called in the event loop."""
        if not ticket.left:
            ticket.left = True
            self.open -= 1
            self._changes.put(ticket)

    def close(self) -> None:
        """End the thread."""
        self._changes.put(None)
        self._thread.join()

    def _work(self) -> None:
        torch.set_num_threads(self._threads)  # a number of each thread, and of what it computes
        playing = _Playing(self.agent)
        while (change := self._changes.get()) is not None:
            playing.change(change)
            try:
                while playing.tickets or not self._changes.empty():
                    while not self._changes.empty():
                        if (change := self._changes.get()) is None:
                            return playing.rolling.close()
                        playing.change(change)
                    playing.go_on(lambda: not self._changes.empty())
            except Exception as error:  # the engine's: nobody can be answered any more
                self.lost = f"the engine has failed ({error}): start the server again"
                for ticket in playing.tickets.values():
                    ticket.tell(LostError(self.lost))
                return


class _Playing:
    """What the thread plays."""

    def __init__(self, agent: Agent) -> None:
        self.agent, self.rolling = agent, Rolling(agent.stage.engine, agent.stage.tools)
        self.tickets: dict[int, Ticket] = {}
        """By number, those under way."""
        self._later: list[Ticket] = []
        """Those whose draws have the same name as those of one under way."""

    def change(self, ticket: Ticket) -> None:
        """Begin a question that has come, or drop one that has gone."""
        if not ticket.left:
            self._begin(ticket)
            return
        self._later = [other for other in self._later if other is not ticket]
        for number, other in list(self.tickets.items()):
            if other is ticket:
                self.rolling.drop(number)
                self._over(number)

    def go_on(self, pause: Any) -> None:
        """Play until something happens, and tell it."""
        for event in self.rolling.step(pause):
            ticket = self.tickets[event.number]
            if event.request is None:
                ticket.tell(event.result)
                self._over(event.number)
            elif (step := self.agent.step(event.request, event.result)) is not None:
                ticket.tell(step)

    def _begin(self, ticket: Ticket) -> None:
        if any(other.key == ticket.key for other in self.tickets.values()):
            self._later.append(ticket)
        else:
            number = self.rolling.begin(self.agent.play(ticket.question, ticket.key, ticket.temperature))
            self.tickets[number] = ticket

    def _over(self, number: int) -> None:
        key = self.tickets.pop(number).key
        following = next((ticket for ticket in self._later if ticket.key == key), None)
        if following is not None:
            self._later.remove(following)
            self._begin(following)
