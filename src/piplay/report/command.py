"""``piplay report RUN``: writes RUN/report.html, and before that plays what it still needs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from piplay.errors import InputError
from piplay.protocols import Environment
from piplay.report.page import page
from piplay.report.read import question_sets, read
from piplay.training.run_directory import Run

READ = ("metrics.jsonl", "summary.json", "rollouts/", "tasks/", "snapshots/", "final/", "grid.json", "examples.json")
"""What of a run a report is made of."""


def report(run: Run, environment: Callable[[], Environment], say: Callable[[str], None]) -> Path:
    """Write the report of a run, finished or not; where it is.

    Of a finished run whose phases wrote questions the grid and the examples are played first, where they are missing
    and the models are there. Where the run's environment is gone ``say`` is told so and the report is made without
    them.
    """
    for sentence in run.damage(*READ):
        say(sentence)
    try:
        _play_missing(run, environment, say)
    except InputError as error:
        say(f"the report lacks what would have to be played for it: {error}")
    run.write("report.html", page(read(run)))
    return run.folder / "report.html"


def _play_missing(run: Run, environment: Callable[[], Environment], say: Callable[[str], None]) -> None:
    """Play what a report of this run wants and can have played."""
    missing = _missing(run)
    if not missing:
        return
    from piplay.report.replay import play_examples, play_grid
    from piplay.training.assemble import load_chat, tool_specs

    makers = {"grid.json": play_grid, "examples.json": play_examples}
    say(f"playing {' and '.join(missing)} for the report")
    made = environment()
    chat = load_chat(run.final(run.config.agent), run.config.chat, tool_specs(made))
    for name in missing:
        run.write_more(name, json.dumps(makers[name](run, made, chat), ensure_ascii=False) + "\n")


def _missing(run: Run) -> list[str]:
    able = {"grid.json": run.snapshot(0).is_dir(), "examples.json": run.final(run.config.agent).is_dir()}
    wanted = [name for name, there in able.items() if there and not (run.folder / name).exists()]
    return wanted if wanted and run.finished and question_sets(run) else []
