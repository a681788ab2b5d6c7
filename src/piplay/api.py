"""What ``piplay train`` and ``piplay resume`` do, and ``piplay.train``: a run, and at its end its report."""

from __future__ import annotations

import shlex
from pathlib import Path

from piplay.agent_file import describe
from piplay.config import Config
from piplay.console import TerminalConsole
from piplay.errors import InputError
from piplay.recipes import load_config
from piplay.registry import outside, package_alone
from piplay.report.command import report
from piplay.training.listeners.console import ConsoleListener
from piplay.training.litter import only_begun
from piplay.training.run_directory import Run
from piplay.training.start import Begin, begun, gone_on, play, settled, with_absolute_paths


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
    with begun(folder, config) as begin:
        return _play(config, folder, begin)


def resume(run_dir: str | Path, *, trust: bool = False) -> Run:
    """Go on with an interrupted run from its last checkpoint, to the same bits.

    Args:
        run_dir: the run's directory.
        trust: whether classes that are not the package's, which the run's settings name, may be imported.

    Raises:
        InputError: there is no run, it is complete or being written, no checkpoint of it is whole, or what it reads has
            changed; or it names such classes.
    """
    run = Run.open(Path(run_dir))
    with package_alone(not trust), gone_on(run) as begin:
        if run.finished:
            raise InputError(f"the run {run.folder} is complete: there is nothing to resume")
        return _play(run.config, run.folder, begin)


def _play(config: Config, folder: Path, begin: Begin) -> Run:
    console = TerminalConsole()
    listener = ConsoleListener(config, console)
    try:
        run, environment = play(config, begin, listener, console, describe)
    except (KeyboardInterrupt, BrokenPipeError) as error:
        if (folder / "config.json").is_file():
            trust = " --trust" if outside() else ""
            error.add_note(f"`piplay resume {shlex.quote(str(folder))}{trust}` goes on from the last checkpoint")
        raise
    try:
        console.print(f"report: {report(run, lambda: environment, listener.message)}")
    except Exception as error:  # the training is done and stays done, whatever its picture stumbles over
        again = f"`piplay report {run.folder}` shows where"
        console.print(f"the report could not be made ({error!r}): {again}")
    return run


def _next_free(name: str) -> Path:
    number = 1
    while (folder := Path("runs") / f"{name}-{number}").exists() and not only_begun(folder):
        number += 1
    return folder
