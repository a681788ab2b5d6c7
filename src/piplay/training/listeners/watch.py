"""Tells the alarms of a run as they are raised."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from piplay.config import Config
from piplay.settings import Phase
from piplay.training.alarms import Alarm, Watch


class WatchListener:
    """Listens to a loop, and says where its numbers leave their healthy ranges."""

    def __init__(self, config: Config, say: Callable[[str], None]) -> None:
        self._watch, self._say = Watch(config), say

    def began(self, rows: Sequence[Mapping[str, Any]], evals: Sequence[Mapping[str, Any]]) -> None:
        """Look at what was before, whose alarms were told then."""
        self._watch.past(rows, evals)

    def phase(self, iteration: int, phase: Phase, done: int, headline: Mapping[str, str]) -> None:
        """Nothing to look at."""

    def step(self, row: Mapping[str, Any]) -> None:
        self._tell(self._watch.step(row))

    def measuring(self, what: str, done: int, of: int) -> None:
        """Not yet a number."""

    def evaluated(self, row: Mapping[str, Any], sentence: str) -> None:
        self._tell(self._watch.evaluated(row))

    def message(self, sentence: str) -> None:
        """Not about numbers."""

    def close(self, failed: bool) -> None:
        """Nothing to close."""

    def _tell(self, found: Sequence[Alarm]) -> None:
        for alarm in found:
            self._say(f"alarm: {alarm.sentence}")
