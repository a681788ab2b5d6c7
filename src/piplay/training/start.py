"""A run from its settings: checked, started or gone on with, and played to its end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from piplay.border.code import name_of, own
from piplay.config import Component, Config
from piplay.protocols import Environment
from piplay.registry import path_options, resolve
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
from piplay.training.listeners.console import ConsoleListener, show_table
from piplay.training.listeners.group import ListenerGroup
from piplay.training.listeners.trackers import check_trackers, trackers_of
from piplay.training.loop import Loop
from piplay.training.machine import machine
from piplay.training.run_directory import Run


def play(
    config: Config, begin: Callable[[], Run], listener: ConsoleListener, console: Console
) -> tuple[Run, Environment]:
    """Train, and say how it goes. The engine lives in here: what plays afterwards finds its memory free.

    Args:
        config: the settings.
        begin: makes the run directory, or opens it; called once everything is found to be in order.
        listener: what prints to ``console``.

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
    run = begin()
    if config.model is not None:
        console.print(f"chat: {chat.why}", highlight=False)
    console.print(f"run directory: {run.folder}", highlight=False)
    record = machine() | {"threads": config.engine.threads, "device": config.engine.device}
    record["deterministic"] = engine.deterministic
    run.write("machine.json", json.dumps(record, indent=2) + "\n")
    with ListenerGroup([listener, *trackers_of(run)]) as listeners:
        loop = Loop(run, environment, engine, chat, listeners)
        loop.train()
    table = loop.evaluation.table(loop.state.evals)
    if table is not None:
        console.print(show_table(table))
    minutes = loop.state.seconds / 60
    learns = any(phase.learn for phase in config.phases)
    policies = "the trained policies are" if learns else "no phase has a `learn`, so the policies are still the base,"
    console.print(f"{minutes:.1f} minutes; {policies} in {run.folder / 'final'}", highlight=False)
    return run, environment


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
    model = config.model.absolute() if config.model else None
    environment = _absolute(config.environment, "environment", "piplay.envs")
    sources = {
        name: source if source.kind == "written" else _absolute(source, "source", *SOURCE_ROOMS)
        for name, source in config.sources.items()
    }
    return config.model_copy(update={"model": model, "environment": environment, "sources": sources})


def _absolute(part: Component, what: str, *rooms: str) -> Component:
    """The same with absolute paths among its options."""
    names = path_options(resolve(part.kind, what, *rooms))
    places = {name: str(Path(part.options[name]).absolute()) for name in names if part.options.get(name)}
    return part.model_copy(update=places)
