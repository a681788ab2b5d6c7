"""What ``piplay train`` and ``piplay resume`` do, and ``piplay.train``: a run, and at its end its report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from piplay.config import Config, load_config
from piplay.errors import InputError
from piplay.report.command import report
from piplay.training.listeners.console import ConsoleListener
from piplay.training.run_directory import Run
from piplay.training.start import play, settled, with_absolute_paths


def train(recipe: str | Path | Config = "pi-play", /, run_dir: str | Path | None = None, **overrides: object) -> Run:
    """Play a recipe from its start to its end, and print how it goes.

    Args:
        recipe: the name of a recipe of the package, a .toml file, or settings.
        run_dir: where the run is written; by default the next free folder below runs/.
        overrides: settings by their dotted names: ``train("smoke", seed=1, **{"phases.study.steps": 8})``.

    Raises:
        InputError: whatever is wrong with the recipe, the settings, the model or the corpus, before anything is
            written; or the model writes no question to learn from.
    """
    config = load_config(recipe, overrides)
    config = with_absolute_paths(config)
    folder = Path(run_dir) if run_dir is not None else _next_free(config.name)
    Run.vacant(folder)
    config = settled(config)
    return _play(config, lambda: Run.create(folder, config))


def resume(run_dir: str | Path) -> Run:
    """Go on with an interrupted run from its last checkpoint, to the same bits.

    Raises ``InputError`` where there is no run, where it is complete, or where its checkpoint is damaged.
    """
    run = Run.open(Path(run_dir))
    if run.finished:
        raise InputError(f"the run {run.folder} is complete: there is nothing to resume")
    return _play(run.config, lambda: run)


def _play(config: Config, begin: Callable[[], Run]) -> Run:
    console = Console(soft_wrap=True)
    listener = ConsoleListener(config, console)
    run, environment = play(config, begin, listener, console)
    try:
        console.print(f"report: {report(run, lambda: environment, listener.message)}", highlight=False)
    except Exception as error:  # the training is done and stays done, whatever its picture stumbles over
        again = f"`piplay report {run.folder}` shows where"
        console.print(f"the report could not be made ({error!r}): {again}", highlight=False)
    return run


def _next_free(name: str) -> Path:
    number = 1
    while (folder := Path("runs") / f"{name}-{number}").exists():
        number += 1
    return folder
