"""``piplay reproduce NAME``: plays the runs of an experiment that are not there yet, and says what they show.

    OUT/runs/START/ARM/seed-N/    ordinary run directories
    OUT/table.md, results.json, curves.html    what they show, written again after each run

Killed at any moment and begun again, it goes on: a finished run is kept, one under way is resumed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from piplay.config import Config, flat
from piplay.console import TerminalConsole
from piplay.errors import InputError, going_on
from piplay.files import put
from piplay.methods.pi_play.evaluation import PiPlayEvaluation
from piplay.protocols import Environment
from piplay.reproduce.experiment import Experiment, Job, plan, read_experiment
from piplay.reproduce.page import page
from piplay.reproduce.results import Results, results
from piplay.reproduce.table import markdown, verdicts
from piplay.training.assemble import check_parts, load_environment, make_evaluation
from piplay.training.listeners.console import ConsoleListener
from piplay.training.run_directory import Run
from piplay.training.start import begun, gone_on, play


def reproduce(
    name: str,
    *,
    arms: Sequence[str] = (),
    seeds: Sequence[int] = (0, 1, 2),
    starts: Sequence[str] = ("base",),
    steps: int | None = None,
    out: Path | None = None,
    recipe: str | None = None,
    drop_weights: bool = False,
    overrides: Mapping[str, str] = {},
) -> Results:
    """Play every arm with every seed from every start, and write the table and the picture; what they show.

    Args:
        name: an experiment of the package, or a .toml file.
        arms, seeds, starts, steps, recipe, overrides: see ``plan``.
        out: a folder; by default ``runs/NAME``. What is there of the same settings is gone on with.
        drop_weights: keep of a finished run its numbers alone.

    Raises:
        InputError: something is wrong with what was given, or a run of other settings is there; nothing was played yet.
    """
    experiment = read_experiment(name)
    jobs = plan(
        experiment, arms=arms, seeds=seeds, starts=starts, steps=steps, recipe=recipe, overrides=dict(overrides)
    )
    out = out or Path("runs") / experiment.name
    console = TerminalConsole()
    _check(experiment, jobs)
    for job in jobs:
        _check_same(job, out)
    with going_on():
        for number, job in enumerate(jobs, 1):
            if not _finished(job, out):
                console.print(f"run {number} of {len(jobs)}: {job.title}")
                _play(job, out, console)
                _write(results(experiment, jobs, out), out)
            _slim(Run.open(job.folder(out)), drop_weights)
    found = results(experiment, jobs, out)
    _write(found, out)
    for start, compared in found.compared.items():
        for sentence in verdicts(compared):
            console.print(f"{start}: {sentence}")
    console.print(f"table: {out / 'table.md'}, curves: {out / 'curves.html'}")
    return found


def _check(experiment: Experiment, jobs: Sequence[Job]) -> None:
    """Raises ``InputError`` where a part of an arm is wrong, or there is nothing to compare by."""
    environments: dict[str, Environment] = {}
    for config in _without_doubles([job.config.model_copy(update={"seed": jobs[0].config.seed}) for job in jobs]):
        where = config.environment.model_dump_json()
        if where not in environments:
            environments[where] = load_environment(config)
        environment = environments[where]
        check_parts(config, environment)
        evaluation = make_evaluation(config, environment, {})
        asked = {task.hops for task in evaluation.questions} if isinstance(evaluation, PiPlayEvaluation) else set()
        if lacking := [h for h in experiment.hops if h not in asked]:
            raise InputError(
                f"the experiment {experiment.name} compares exact match on held-out questions, and there are none of "
                f"{lacking[0]} hops: take a world that has, and the evaluation pi_play with per_hop above 0"
            )


def _without_doubles(configs: Sequence[Config]) -> list[Config]:
    """Each once, in their order."""
    return [config for place, config in enumerate(configs) if config not in configs[:place]]


def _check_same(job: Job, out: Path) -> None:
    """Raises ``InputError`` where a run of other settings stands in a job's place."""
    folder = job.folder(out)
    if not (folder / "config.json").is_file():
        return
    there, wanted = (flat(config) for config in (Run.open(folder).config, job.config))
    changed = next((name for name in wanted if there.get(name) != wanted[name]), None)
    if changed is not None:
        raise InputError(
            f"the run {folder} has another {changed} than is wanted now ({there.get(changed)!r}, not "
            f"{wanted[changed]!r}): name another --out, or give what that run was begun with"
        )


def _finished(job: Job, out: Path) -> bool:
    folder = job.folder(out)
    return (folder / "config.json").is_file() and Run.open(folder).finished


def _play(job: Job, out: Path, console: Console) -> None:
    """Begin a run, or go on with it."""
    folder = job.folder(out)
    listener = ConsoleListener(job.config, console)
    there = (folder / "config.json").is_file()
    with gone_on(Run.open(folder)) if there else begun(folder, job.config) as begin:
        play(job.config, begin, listener, console)


def _slim(run: Run, drop_weights: bool) -> None:
    """Forget a finished run's checkpoints, which hold optimisers, and where it is wanted its weights."""
    for checkpoint in (run.folder / "checkpoints").iterdir():
        shutil.rmtree(checkpoint)
    if drop_weights:
        shutil.rmtree(run.folder / "final", ignore_errors=True)


def _write(found: Results, out: Path) -> None:
    """The table and the picture, each whole or as it was."""
    files = {
        "table.md": markdown(found) + "\n",
        "results.json": json.dumps(found.tree(), indent=1) + "\n",
        "curves.html": page(found),
    }
    for name, text in files.items():
        put(out / name, text.encode())
