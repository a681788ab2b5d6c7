"""``piplay report RUN``: writes RUN/report.html, and before that plays what it still needs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from piplay.errors import InputError
from piplay.report.page import page
from piplay.report.read import read
from piplay.training.loop import Ground
from piplay.training.run_directory import Run


def report(run: Run, ground: Callable[[], Ground], say: Callable[[str], None]) -> Path:
    """Write the report of a run, finished or not; where it is.

    Of a finished run the grid and the examples are played first where they are missing and the models are there. Where
    what the run stands on is gone ``say`` is told so and the report is made without them.
    """
    missing = _missing(run)
    if missing:
        from piplay.report.replay import play_examples, play_grid
        from piplay.training.assemble import load_chat

        makers = {"grid.json": play_grid, "examples.json": play_examples}
        say(f"playing {' and '.join(missing)} for the report")
        try:
            chat, stage = load_chat(run.final(run.config.evaluation.policy), run.config.chat), ground()
            for name in missing:
                run.write(name, json.dumps(makers[name](run, stage, chat), ensure_ascii=False) + "\n")
        except InputError as error:
            say(f"the report lacks what would have to be played for it: {error}")
    run.write("report.html", page(read(run)))
    return run.folder / "report.html"


def _missing(run: Run) -> list[str]:
    """What a report of this run wants and can have played."""
    if not run.finished or not run.task_sets():
        return []
    able = {"grid.json": run.kept(0).is_dir(), "examples.json": run.final(run.config.evaluation.policy).is_dir()}
    return [name for name, there in able.items() if there and not (run.folder / name).exists()]
