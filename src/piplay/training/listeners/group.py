"""Several listeners as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from piplay.settings import Phase
from piplay.training.loop import Listener

Rows = Sequence[Mapping[str, Any]]


class ListenerGroup:
    """Tells several listeners, in their order. As a context it closes them."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = listeners

    def began(self, rows: Rows, evals: Rows) -> None:
        for listener in self._listeners:
            listener.began(rows, evals)

    def phase(self, iteration: int, phase: Phase, done: int, headline: Mapping[str, str]) -> None:
        for listener in self._listeners:
            listener.phase(iteration, phase, done, headline)

    def step(self, row: Mapping[str, Any]) -> None:
        for listener in self._listeners:
            listener.step(row)

    def measuring(self, what: str, done: int, of: int) -> None:
        for listener in self._listeners:
            listener.measuring(what, done, of)

    def evaluated(self, row: Mapping[str, Any], sentence: str) -> None:
        for listener in self._listeners:
            listener.evaluated(row, sentence)

    def message(self, sentence: str) -> None:
        for listener in self._listeners:
            listener.message(sentence)

    def close(self, failed: bool) -> None:
        for listener in self._listeners:
            listener.close(failed)

    def __enter__(self) -> ListenerGroup:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.close(failed=kind is not None)
