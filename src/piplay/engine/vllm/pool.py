"""Samplers in processes of their own: who writes what, under which version, and what happens when one dies.

A *version* is ``POLICY@VERSION``, the weights of a policy as they were after so many updates. A sampler holds adapters
of several versions at once, or the whole weights of one (``alone``), and is given a version when a turn first needs it.
A turn depends on its key alone, so where a sampler dies its turns are sent to another, and come out the same.

It knows neither vLLM nor what a version is made of.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from piplay.engine.protocol import EngineLost, Generate, Generated, Usage
from piplay.engine.vllm.messages import Version
from piplay.types import Key

PAUSES = 0.02
"""Seconds after which a waiting ``ready`` asks whether it is to pause."""


class Child(Protocol):
    """A sampler's process; ``serve.py`` says what is sent."""

    connection: Connection

    def stop(self) -> str:
        """End it, however it stands; why it ended, where it says so."""


class Lost(Exception):  # noqa: N818 (said of the sampler, not of the call)
    """A sampler's process is gone."""


class Replica:
    """One sampler, what it holds and what it is writing."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.proven = False
        """Whether it has started and writes what the trainer reads."""
        self.held: dict[str, Version] = {}
        """By policy the version that it holds; ``alone`` there is one policy."""
        self.writing: dict[Key, tuple[Version, Generate]] = {}
        """With their versions, in the order of submission."""
        self.usage = Usage()
        self._tickets = 0
        self._received: list[tuple[Any, ...]] = []

    def send(self, *message: Any) -> None:
        """Raises ``Lost``."""
        try:
            self.child.connection.send(message)
        except OSError as error:
            raise Lost from error

    def receive(self) -> tuple[Any, ...]:
        """The next message, waited for. Raises ``Lost``."""
        return self._received.pop(0) if self._received else self._next()

    @property
    def waiting(self) -> bool:
        """Whether there is a message that has come and was not received."""
        return bool(self._received)

    def _next(self) -> tuple[Any, ...]:
        try:
            message: tuple[Any, ...] = self.child.connection.recv()
        except (EOFError, OSError) as error:
            raise Lost from error
        return message

    def call(self, method: str, *arguments: Any) -> Any:
        """What a method of the sampler returns. Raises ``Lost``."""
        self._tickets += 1
        self.send("call", self._tickets, method, arguments)
        while True:
            message = self._next()
            if message[:2] == ("answer", self._tickets):
                return message[2]
            self._received.append(message)


class Pool:
    """Samplers that are alike."""

    def __init__(
        self,
        start: Callable[[int], Child],
        prove: Callable[[Replica], None],
        give: Callable[[Replica, Version], None],
        *,
        samplers: int,
        slots: int,
        restarts: int,
        alone: bool,
    ) -> None:
        """Start the samplers and wait until each has been proven.

        Args:
            start: begins the process of the sampler of that number, without waiting for it.
            prove: raises ``EngineLost`` where a sampler that has started does not write what the trainer reads.
            give: hands a sampler a version.
            samplers: how many there are.
            slots: turns that one writes at once.
            restarts: how many may die before the engine is lost.
            alone: whether a sampler holds one version at a time.

        Raises:
            EngineLost: one did not start, or could not be proven.
        """
        self._start, self._prove, self._give = start, prove, give
        self._slots, self._restarts, self._alone = slots, restarts, alone
        self._died = 0
        self._broken = ""
        self._queue: list[tuple[Version, Generate]] = []
        self._home: dict[Key, Replica] = {}
        self._done: list[Generated] = []
        self._before = Usage()
        self._replicas = [Replica(start(number)) for number in range(samplers)]
        self._begun = False
        while not all(replica.proven for replica in self._replicas):
            self._receive()
        self._begun = True

    def submit(self, version: Version, request: Generate) -> None:
        """Queue a turn under a version."""
        self._check()
        self._queue.append((version, request))
        self._dispatch()

    def ready(self, pause: Callable[[], bool] | None = None) -> list[Generated]:
        """Finished turns: at least one while anything is pending, else none; ``pause`` as in ``protocol.Sampler``."""
        self._check()
        while not self._done and (self._queue or any(replica.writing for replica in self._replicas)):
            if pause is not None and pause():
                break
            self._dispatch()
            self._receive(None if pause is None else PAUSES)
        done, self._done = self._done, []
        return done

    def pending(self, policy: str) -> bool:
        """Whether a turn of a policy is queued or being written."""
        self._check()
        turns = [*self._queue, *(turn for replica in self._replicas for turn in replica.writing.values())]
        return any(version.policy == policy for version, _ in turns)

    def close(self, session: Key) -> None:
        """A session has ended: no sampler is its home any more, and what is still written of it is thrown away."""
        self._check()
        self._home.pop(session, None)
        self._queue = [(version, request) for version, request in self._queue if request.session != session]
        for replica in self._replicas:
            given_up = [key for key, (_, request) in replica.writing.items() if request.session == session]
            for key in given_up:
                del replica.writing[key]

    def drop(self, policy: str) -> None:
        """A policy's weights are others from now on, or gone."""
        for replica in list(self._replicas):
            version = replica.held.pop(policy, None)
            if version and not self._alone:
                try:
                    replica.call("drop", str(version))
                except Lost:
                    self._replace(replica)

    def usage(self) -> Usage:
        """Counts of all samplers, those that have died included."""
        self._check()
        return _sum([self._before, *(replica.usage for replica in self._replicas)])

    def stop(self) -> None:
        """End all processes."""
        for replica in self._replicas:
            replica.child.stop()

    def _check(self) -> None:
        if self._broken:
            raise EngineLost(self._broken)

    def _dispatch(self) -> None:
        """Send what is queued to samplers that can write it now."""
        queue, self._queue = self._queue, []
        for version, request in queue:
            replica = self._choose(version, request.session)
            if replica is None:
                self._queue.append((version, request))
            else:
                self._send(replica, version, request)

    def _choose(self, version: Version, session: Key) -> Replica | None:
        """The sampler that writes a turn: the session's home, where its prefix is cached, else the least busy one."""
        able = [replica for replica in self._replicas if replica.proven and len(replica.writing) < 2 * self._slots]
        if self._alone:
            holding = [replica for replica in able if version in replica.held.values()]
            able = holding or [replica for replica in able if not replica.writing]
        home = self._home.get(session)
        if home in able:
            return home
        return min(able, key=lambda replica: len(replica.writing), default=None)

    def _send(self, replica: Replica, version: Version, request: Generate) -> None:
        replica.writing[request.key] = version, request
        self._home[request.session] = replica
        try:
            if version not in replica.held.values():
                self._give(replica, version)
                if self._alone:
                    replica.held.clear()
                replica.held[version.policy] = version
            replica.send("write", str(version), request)
        except Lost:
            self._replace(replica)

    def _receive(self, seconds: float | None = None) -> None:
        """Wait for a message of any sampler, for so long at most, and take all that have come."""
        waiting = [replica for replica in self._replicas if replica.waiting]
        if not waiting:
            there = set(wait([replica.child.connection for replica in self._replicas], seconds))
            waiting = [replica for replica in self._replicas if replica.child.connection in there]
        for replica in waiting:
            try:
                self._take(replica, replica.receive())
            except Lost:
                self._replace(replica)

    def _take(self, replica: Replica, message: tuple[Any, ...]) -> None:
        kind, *given = message
        if kind == "started":
            self._prove(replica)
            replica.proven = True
        elif kind == "written":
            turns, replica.usage = given
            for version, generated in turns:
                self._accept(replica, version, generated)
        elif kind == "raised":
            raise FloatingPointError(*given)
        else:
            self._break(f"a sampler did not start: {given[0]}")
            self._check()

    def _accept(self, replica: Replica, version: str, generated: Generated) -> None:
        if generated.key not in replica.writing:  # given up
            return
        asked, request = replica.writing.pop(generated.key)
        if version != str(asked):
            self._break(f"a sampler wrote turn {request.key} under {version}, and {asked} was asked for")
            self._check()
        self._done.append(dataclasses.replace(generated, version=asked.updates))

    def _replace(self, replica: Replica) -> None:
        """Start another sampler in the place of one that has died. Its turns are queued again, before all others."""
        reason = replica.child.stop()
        self._before = _sum([self._before, replica.usage])
        self._queue = [*replica.writing.values(), *self._queue]
        self._home = {session: home for session, home in self._home.items() if home is not replica}
        self._died += 1
        if not self._begun or self._died > self._restarts:
            self.stop()
            before = f", and {self._restarts} before it (engine.restarts)" if self._begun else " before it was used"
            self._break(f"a sampler has died{before}: {reason}")
            self._check()
        number = self._replicas.index(replica)
        self._replicas[number] = Replica(self._start(number))

    def _break(self, why: str) -> None:
        self._broken = why


def _sum(counts: Sequence[Usage]) -> Usage:
    names = Usage.__dataclass_fields__
    return Usage(**{name: sum(getattr(one, name) for one in counts) for name in names})
