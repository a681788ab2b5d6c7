"""Starting a run and going on with one: what ``piplay train``, ``piplay resume`` and ``piplay.train`` do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from piplay.config import Config, load_config
from piplay.errors import InputError
from piplay.report.command import report
from piplay.training.assemble import check_trainable, load_chat, load_engine, load_ground, tiny_base
from piplay.training.listeners.console import Teller, before_after
from piplay.training.listeners.trackers import Together, check_trackers, trackers_of
from piplay.training.loop import Ground, Loop, make_game
from piplay.training.machine import machine
from piplay.training.run_directory import Run


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
    places = {key: path.absolute() for key in ("model", "world", "corpus") if (path := getattr(config, key))}
    config = config.model_copy(update=places)
    folder = Path(run_dir) if run_dir is not None else _next_free(config.name)
    Run.vacant(folder)
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
    teller = Teller(config, console)
    run, ground = _learn(config, begin, teller, console)
    try:
        console.print(f"report: {report(run, lambda: ground, teller.said)}", highlight=False)
    except Exception as error:  # the training is done and stays done, whatever its picture stumbles over
        again = f"`piplay report {run.folder}` shows where"
        console.print(f"the report could not be made ({error!r}): {again}", highlight=False)
    return run


def _learn(config: Config, begin: Callable[[], Run], teller: Teller, console: Console) -> tuple[Run, Ground]:
    """Train. The engine lives in here: what plays for the report finds its memory free."""
    check_trackers(config.trackers)
    check_trainable(config.model)
    for phase in config.phases:
        make_game(phase, {})
    chat = load_chat(config.model or tiny_base(), config.chat)
    ground, engine = load_ground(config), load_engine(config, chat)
    run = begin()
    console.print(f"run directory: {run.folder}", highlight=False)
    record = machine() | {"threads": config.engine.threads, "device": config.engine.device}
    record["deterministic"] = engine.deterministic
    run.write("machine.json", json.dumps(record, indent=2) + "\n")
    with Together([teller, *trackers_of(run)]) as listener:
        loop = Loop(run, ground, engine, chat, listener)
        loop.train()
    table = before_after(loop.state.evals)
    if table is not None:
        console.print(table)
    minutes = loop.state.seconds / 60
    console.print(f"{minutes:.1f} minutes; the trained policies are in {run.folder / 'final'}", highlight=False)
    return run, ground


def _next_free(name: str) -> Path:
    number = 1
    while (folder := Path("runs") / f"{name}-{number}").exists():
        number += 1
    return folder
