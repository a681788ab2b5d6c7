"""An engine whose work another process does, as that of a cluster would: its answers come late and in any order."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from heapq import heappop, heappush
from multiprocessing import forkserver, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from piplay.algo.losses.base import Loss
from piplay.engine.protocol import Engine, EngineLost, Generate, Generated, Usage
from piplay.streams import stream
from piplay.types import Floats, Key, PolicyRef, Sample

LATE = 0.02
"""The most seconds that an answer is held back."""

# Its children have imported what they need before they start.
_PROCESSES = get_context("forkserver")
_PROCESSES.set_forkserver_preload(["piplay.engine.local.engine"])


def begin() -> None:
    """Start the process that children are forked from, which imports what they need; nobody waits for it yet."""
    forkserver.ensure_running()


class RemoteEngine:
    """An ``Engine`` that forwards every call to one in a child process.

    A message is (ticket, method, arguments); an answer is (ticket, value, error). Requests have no ticket: what they
    write comes back when it is ready, under ticket 0.
    """

    deterministic = False

    def __init__(self, make: Callable[..., Engine], *arguments: Any) -> None:
        """``make(*arguments)`` is called in the child; both are pickled."""
        self._connection, theirs = _PROCESSES.Pipe()
        self.process = _PROCESSES.Process(target=_serve, args=(theirs, make, arguments), daemon=True)
        self.process.start()
        theirs.close()
        self._tickets = 0
        self._pending: dict[Key, Key] = {}
        """The session of each turn that is being written."""
        self._done: list[Generated] = []

    def submit(self, request: Generate) -> None:
        self._send(0, "submit", request)
        self._pending[request.key] = request.session

    def ready(self, pause: Callable[[], bool] | None = None) -> list[Generated]:
        while len(self._pending) > len(self._done) == 0 and not (pause and pause()):
            self._receive()
        while len(self._pending) > len(self._done) and self._connection.poll():
            self._receive()
        done, self._done = self._done, []
        for made in done:
            del self._pending[made.key]
        return done

    def close(self, session: Key) -> None:
        self._call("close", session)
        self._pending = {key: other for key, other in self._pending.items() if other != session}
        self._done = [made for made in self._done if made.key in self._pending]

    def usage(self) -> Usage:
        return self._call("usage")

    def train(
        self, policy: str, samples: Sequence[Sample], losses: Mapping[str, Loss], lr: float | None = None
    ) -> dict[str, float]:
        return self._call("train", policy, samples, losses, lr)

    def score(self, policy: PolicyRef, samples: Sequence[Sample], view: str = "") -> list[Floats]:
        return self._call("score", policy, samples, view)

    def read(self, policy: PolicyRef, samples: Sequence[Sample], losses: Mapping[str, Loss]) -> list[dict[str, Floats]]:
        return self._call("read", policy, samples, losses)

    def snapshot(self, policy: str, name: str) -> PolicyRef:
        return self._call("snapshot", policy, name)

    def forget(self, snapshot: PolicyRef) -> None:
        self._call("forget", snapshot)

    def save(self, folder: Path) -> None:
        self._call("save", folder)

    def load(self, folder: Path) -> None:
        self._call("load", folder)

    def export(self, policy: str, folder: Path) -> None:
        self._call("export", policy, folder)

    def _call(self, method: str, *arguments: Any) -> Any:
        self._tickets += 1
        self._send(self._tickets, method, *arguments)
        while True:
            ticket, value = self._receive()
            if ticket == self._tickets:
                return value

    def _send(self, *message: Any) -> None:
        try:
            self._connection.send(message)
        except OSError as error:
            raise EngineLost("the engine's process is gone") from error

    def _receive(self) -> tuple[int, Any]:
        try:
            ticket, value, error = self._connection.recv()
        except (EOFError, OSError) as lost:
            raise EngineLost("the engine's process is gone") from lost
        if error is not None:
            raise error
        if ticket == 0 and value.key in self._pending:
            self._done.append(value)
        return ticket, value


def _serve(connection: Connection, make: Callable[..., Engine], arguments: tuple[Any, ...]) -> None:
    """Answer until the other side hangs up."""
    engine = make(*arguments)
    held: list[tuple[float, Key, Generated]] = []
    writing = False
    while True:
        # Without end only where nothing is being written and no answer waits for its time.
        while connection.poll(0 if writing else LATE / 20 if held else None):
            try:
                ticket, method, *given = connection.recv()
            except EOFError:
                return
            _answer(connection, ticket, getattr(engine, method), *given)
            writing |= method == "submit"
        try:
            written = engine.ready()
        except Exception as error:
            connection.send((0, None, error))
            written = []
        writing = bool(written)
        for generated in written:
            due = time.monotonic() + LATE * stream(0, ("late", *generated.key)).random()
            heappush(held, (due, generated.key, generated))
        while held and held[0][0] <= time.monotonic():
            connection.send((0, heappop(held)[-1], None))


def _answer(connection: Connection, ticket: int, call: Callable[..., Any], *given: Any) -> None:
    try:
        value, error = call(*given), None
    except Exception as raised:
        value, error = None, raised
    if ticket or error is not None:
        connection.send((ticket, value, error))
