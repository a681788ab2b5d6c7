"""A run from its settings: checked, started or gone on with, and played to its end."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from piplay.border.code import name_of, own
from piplay.config import Config
from piplay.engine.protocol import Engine, EngineLost, TooFewDevices
from piplay.errors import InputError, Unavailable
from piplay.files import from_json
from piplay.protocols import Environment
from piplay.registry import path_options, resolve
from piplay.settings import Component
from piplay.training.assemble import (
    SOURCE_ROOMS,
    check_parts,
    check_passages,
    check_trainable,
    load_chat,
    load_engine,
    load_environment,
    tiny_base,
    tool_specs,
    with_model,
)
from piplay.training.fingerprints import check_unchanged, fingerprints, own_code
from piplay.training.listeners.console import ConsoleListener, show_table
from piplay.training.listeners.group import ListenerGroup
from piplay.training.listeners.trackers import check_trackers, trackers_of
from piplay.training.listeners.watch import WatchListener
from piplay.training.lock import holding
from piplay.training.loop import Describe, Loop
from piplay.training.machine import kept, machine
from piplay.training.run_directory import Run

LOST = 3
"""Engines lost one after the other, without a step between, that end a run."""

Begin = Callable[[Mapping[str, str]], Run]
"""Gives the run's directory, made or opened; what it is given are the hashes of what the run reads."""


def play(
    config: Config, begin: Begin, listener: ConsoleListener, console: Console, describe: Describe | None = None
) -> tuple[Run, Environment]:
    """Train, and say how it goes. The engine lives in here: what plays afterwards finds its memory free.

    Args:
        config: the settings.
        begin: called once everything is found to be in order.
        listener: what prints to ``console``.
        describe: see ``Describe``.

    Raises:
        InputError: whatever is wrong with the settings, the model or what is played in, before anything is written.
    """
    check_trackers(config.trackers)
    check_trainable(config.model)
    environment = load_environment(config)
    check_parts(config, environment)
    chat = load_chat(config.model or tiny_base(), config.chat, tool_specs(environment), config.limits.tokens)
    check_passages(environment, chat, config.limits)
    engine = load_engine(config)
    run = begin(fingerprints(config, config.model or tiny_base(), environment))
    if config.model is not None:
        console.print(f"chat: {chat.why}")
    console.print(f"run directory: {run.folder}")
    repeatable = getattr(environment, "repeatable", True)
    about = {"device": config.engine.device, "deterministic": engine.deterministic, "repeatable": repeatable}
    about |= getattr(engine, "versions", {}) | own_code(config) | ({"exact": True} if config.engine.exact else {})
    _record_machine(run, about, listener.message)
    # Taken from here by whoever plays on it, so that nothing holds it once it is lost.
    ready = [engine]
    del engine

    def live() -> Loop:
        watch = WatchListener(config, listener.message)
        with ListenerGroup([listener, watch, *trackers_of(run)]) as listeners:
            loop = Loop(run, environment, ready.pop(), chat, listeners, describe)
            loop.train()
        return loop

    loop = _train(run, ready, live, listener.message)
    table = loop.evaluation.table(loop.state.evals)
    if table is not None:
        console.print(show_table(table))
    minutes = loop.state.seconds / 60
    learns = any(phase.learn for phase in config.phases)
    policies = "the trained policies are" if learns else "no phase has a `learn`, so the policies are still the base,"
    console.print(f"{minutes:.1f} minutes; {policies} in {run.folder / 'final'}")
    return run, environment


def _train(run: Run, ready: list[Engine], live: Callable[[], Loop], say: Callable[[str], None]) -> Loop:
    """Play a run to its end. Where its engine is lost another goes on from the last checkpoint.

    Args:
        ready: holds the first engine; others are put there.
        live: plays on the engine that is ready.
        say: is told of engines that were lost.

    Raises:
        EngineLost: so many engines were lost, one after the other, without a step between.
        Unavailable: see ``_started_again``.
    """
    lost, steps = 0, -1
    while True:
        try:
            if not ready:
                ready.append(_started_again(run))
            return live()
        except EngineLost as error:
            told = str(error)
        done = len(run.rows())
        lost, steps = (lost + 1 if done <= steps else 1), max(done, steps)
        if lost == LOST:
            raise EngineLost(
                f"{told}: {LOST} engines were lost without a step between; mend it, then go on with "
                f"`piplay resume {run.folder}`"
            )
        say(f"{told}: the engine is started again, and goes on from the last checkpoint")
        # What was lost holds memory, and its ranks are this process' until it is gone.
        gc.collect()


def _started_again(run: Run) -> Engine:
    """The run's engine, once one was lost.

    Raises:
        Unavailable: devices are lost too, and too few are left.
        EngineLost: it does not start. Settings that an engine was started with once are not what is wrong now.
    """
    try:
        return load_engine(run.config)
    except TooFewDevices as error:
        raise Unavailable(f"{error}; then go on with `piplay resume {run.folder}`") from error
    except InputError as error:
        raise EngineLost(str(error)) from error


def _record_machine(run: Run, about: dict[str, Any], say: Callable[[str], None]) -> None:
    """Write down what the run is played on, and say where that gives other bits than before.

    ``about``: what beside the machine decides them.
    """
    file = run.folder / "machine.json"
    before = None
    if file.exists():
        try:
            before = dict(from_json(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            say(f"{file} is damaged ({error}): what the run was played on before is not known")
    now = machine() | about
    record, sentence = kept(before, now, len(run.rows()))
    if sentence:
        say(sentence)
    run.write("machine.json", json.dumps(record, indent=2) + "\n")


@contextmanager
def begun(folder: Path, config: Config) -> Iterator[Begin]:
    """What begins a run in a folder, which is held from then on."""
    with ExitStack() as held:

        def begin(sources: Mapping[str, str]) -> Run:
            held.enter_context(holding(folder))
            return Run.create(folder, config, sources)

        yield begin


@contextmanager
def gone_on(run: Run) -> Iterator[Begin]:
    """What goes on with a run, which is held at once."""
    with holding(run.folder):

        def begin(sources: Mapping[str, str]) -> Run:
            check_unchanged(run, sources)
            return run

        yield begin


def settled(config: Config) -> Config:
    """The same with what the environment fills in when a run begins: see ``Environment``."""
    environment = config.environment
    kind = resolve(environment.kind, "environment", "piplay.envs")
    if not hasattr(kind, "settled"):
        return config
    with own(f"{name_of(kind)}.settled"):
        filled = environment.model_copy(update=kind.settled(environment.options))
    return config.model_copy(update={"environment": filled})


def with_absolute_paths(config: Config) -> Config:
    """The same from wherever it is resumed."""
    config = with_model(config)
    evaluation = config.evaluation and _absolute(config.evaluation, "evaluation", "piplay.methods", "piplay.envs")
    placed = {
        "model": config.model.absolute() if config.model else None,
        "environment": _absolute(config.environment, "environment", "piplay.envs"),
        "evaluation": evaluation,
        "sources": {
            name: source if source.kind == "written" else _absolute(source, "source", *SOURCE_ROOMS)
            for name, source in config.sources.items()
        },
    }
    return config.model_copy(update=placed)


def _absolute(part: Component, what: str, *rooms: str) -> Component:
    """The same with its paths as they are from anywhere; ``what`` and ``rooms`` as in ``registry.resolve``."""
    options = part.options
    names = [name for name in path_options(resolve(part.kind, what, *rooms)) if options.get(name)]
    return part.model_copy(update={name: str(Path(options[name]).absolute()) for name in names})
