"""What a run tells while it trains: a line a step, a bar below these lines on a terminal, signs of life in a log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import rich.table
from rich.console import Console

from piplay.config import Config
from piplay.progress import EVERY, Bar
from piplay.protocols import ReportTable
from piplay.settings import Phase


class ConsoleListener:
    """Listens to a loop and prints to a console."""

    def __init__(self, config: Config, console: Console) -> None:
        self.config, self.console = config, console
        self._bar: Bar | None = None
        self._headline: Mapping[str, str] = {}

    def began(self, rows: Sequence[Mapping[str, Any]], evals: Sequence[Mapping[str, Any]]) -> None:
        """Nothing to print."""

    def phase(self, iteration: int, phase: Phase, done: int, headline: Mapping[str, str]) -> None:
        """A phase begins, or goes on after ``done`` steps."""
        self._headline = headline
        name = f"iteration {iteration}/{self.config.iterations} {phase.name}"
        # In a log its steps' lines are enough.
        self._show_bar(name, phase.writes or phase.steps, 0 if phase.writes else done, None)

    def step(self, row: Mapping[str, Any]) -> None:
        """A step is done: a line, which stays above the bar."""
        place = f"m{row['iteration']} {row['phase']} {row['step']}/{row['of']}"
        parts = [*filter(None, [score_line(row, self._headline)]), f"{sum(row['seconds'].values()):.1f} s"]
        self.console.print(f"{place}: {', '.join(parts)}")
        if self._bar is not None:
            self._bar.reach(row.get("written", row["step"]))

    def measuring(self, what: str, done: int, of: int) -> None:
        """An evaluation goes on."""
        if done == 1:
            self._show_bar(what, max(of, done), 0, EVERY)
        if self._bar is not None:
            self._bar.reach(done)

    def evaluated(self, row: Mapping[str, Any], sentence: str) -> None:
        """An evaluation was made."""
        self.close()
        when = f"after iteration {row['iteration']}" if row["iteration"] else "before training"
        self.console.print(f"{when}: {sentence}")

    def message(self, sentence: str) -> None:
        """Something a person has to know."""
        self.console.print(sentence)

    def close(self, failed: bool = False) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _show_bar(self, name: str, total: int, done: int, every: float | None) -> None:
        """Put a new bar in the place of the last."""
        self.close()
        self._bar = Bar(self.console, name, total, done, every)


def score_line(row: Mapping[str, Any], headline: Mapping[str, str]) -> str:
    """The handful of numbers by which a step is judged."""
    parts = [f"written {row['written']}"] if "written" in row else []
    parts += [f"{label} {row[name]:.2f}" for name, label in headline.items() if name in row]
    return ", ".join(parts)


def show_table(made: ReportTable) -> rich.table.Table:
    """A table for the terminal."""
    table = rich.table.Table(title=made.title)
    for column in made.columns:
        table.add_column(column, justify="right")
    for row in made.rows:
        table.add_row(*row)
    return table
