"""How far something has come that takes its time: a bar on a terminal, a line a minute elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

EVERY = 60.0
"""Seconds from line to line in a log."""


class Bar:
    """A name, a count, the time and what is left of it, shown until it is closed; in a log nothing is left to close."""

    def __init__(self, console: Console, name: str, total: int, done: int = 0, every: float | None = EVERY) -> None:
        """Show it. ``every``: seconds from line to line where there is no terminal; None: no lines."""
        self._console, self._name, self._total, self._done, self._every = console, name, total, done, every
        self._began = self._told = time.monotonic()
        self._shown: Progress | None = None
        if console.is_terminal:
            columns = (
                TextColumn("[bold]{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
            )
            self._shown = Progress(*columns, console=console, transient=True)
            self._shown.start()
            self._task = self._shown.add_task(escape(name), total=total, completed=done)

    def reach(self, done: int) -> None:
        """So many are done."""
        self._done = done
        if self._shown is not None:
            self._shown.update(self._task, completed=done)
            return
        now = time.monotonic()
        if self._every is not None and now - self._told >= self._every:
            self._told = now
            self._console.print(f"{self._name}: {done} of {self._total} in {(now - self._began) / 60:.0f} min")

    def advance(self) -> None:
        """One more is done."""
        self.reach(self._done + 1)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._shown is not None:
            self._shown.stop()

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
