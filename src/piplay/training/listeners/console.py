"""What a run tells while it trains: a progress bar on a terminal, one plain line a step elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from piplay.config import Config, Phase
from piplay.methods.pi_play.self_eval import measured, titled


class Teller:
    """Listens to a loop and prints to a console."""

    def __init__(self, config: Config, console: Console) -> None:
        self.config, self.console = config, console
        self._bar: Progress | None = None
        self._task: Any = None

    def began(self, rows: Sequence[Mapping[str, Any]], evals: Sequence[Mapping[str, Any]]) -> None:
        """Nothing to print."""

    def phase(self, iteration: int, phase: Phase, done: int) -> None:
        """A phase begins, or goes on after ``done`` steps."""
        self.close()
        name = f"iteration {iteration}/{self.config.iterations} {phase.name}"
        if not self.console.is_terminal:
            return
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[score]}"),
            console=self.console,
        )
        self._bar.start()
        total = phase.writes or phase.steps
        self._task = self._bar.add_task(name, total=total, completed=0 if phase.writes else done, score="")

    def step(self, row: Mapping[str, Any]) -> None:
        """A step is done."""
        if self._bar is not None:
            self._bar.update(self._task, completed=row.get("written", row["step"]), score=score_line(row))
        else:
            place = f"m{row['iteration']} {row['phase']} {row['step']}/{row['of']}"
            self.console.print(f"{place}: {score_line(row)}, {sum(row['seconds'].values()):.1f} s", highlight=False)

    def evaluated(self, row: Mapping[str, Any]) -> None:
        """The held-out questions were played."""
        self.close()
        scores = " ".join(f"{hops}:{em:.2f}" for hops, em in row["em_by_hops"].items())
        taught = " ".join(f"{hops}:{em:.2f}" for hops, em in row.get("teacher_em_by_hops", {}).items())
        when = f"after iteration {row['iteration']}" if row["iteration"] else "before training"
        line = f"{when}: {measured(row)} by hops {scores}"
        self.console.print(line + (f"; teacher with the path {taught}" if taught else ""), highlight=False)

    def said(self, sentence: str) -> None:
        """Something a person has to know."""
        self.console.print(sentence, highlight=False)

    def close(self, failed: bool = False) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def score_line(row: Mapping[str, Any]) -> str:
    """The handful of numbers by which a step is judged."""
    parts = []
    if "written" in row:
        parts.append(f"written {row['written']}")
    for name, label in (
        ("examiner/reward", "examiner reward"),
        ("accuracy", "student accuracy"),
        ("true", "true"),
        ("student/distill_kl", "KL to the teacher"),
        ("teacher/em", "teacher EM"),
    ):
        if name in row:
            parts.append(f"{label} {row[name]:.2f}")
    return ", ".join(parts)


def before_after(evals: Sequence[Mapping[str, Any]]) -> Table | None:
    """Exact match by hops before and after, or None where nothing was measured."""
    if not evals or "em_by_hops" not in evals[0]:
        return None
    first, last = evals[0], evals[-1]
    table = Table(title=f"{titled(first)}, greedy")
    for column in ("hops", "questions", "before", "after"):
        table.add_column(column, justify="right")
    for hops, count in first["n_by_hops"].items():
        table.add_row(hops, str(count), f"{first['em_by_hops'][hops]:.2f}", f"{last['em_by_hops'][hops]:.2f}")
    table.add_row("all", str(sum(first["n_by_hops"].values())), f"{first['em']:.2f}", f"{last['em']:.2f}")
    return table
