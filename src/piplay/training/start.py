"""A run from its settings: checked, started or gone on with, and played to its end."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console

from piplay.config import Config
from piplay.protocols import Environment
from piplay.registry import path_options, resolve
from piplay.training.assemble import (
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
from piplay.training.fingerprints import fingerprints
from piplay.training.listeners.console import ConsoleListener, show_table
from piplay.training.listeners.group import ListenerGroup
from piplay.training.listeners.trackers import check_trackers, trackers_of
from piplay.training.listeners.watch import WatchListener
from piplay.training.loop import Loop
from piplay.training.machine import kept, machine
from piplay.training.run_directory import Run


def play(
    config: Config, begin: Callable[[Mapping[str, str]], Run], listener: ConsoleListener, console: Console
) -> tuple[Run, Environment]:
    """Train, and say how it goes. The engine lives in here: what plays afterwards finds its memory free.

    Args:
        config: the settings.
        begin: makes the run directory, or opens it, by the hashes of what the run reads; called once everything is
            found to be in order.
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
    run = begin(fingerprints(config, config.model or tiny_base(), environment))
    if config.model is not None:
        console.print(f"chat: {chat.why}", highlight=False)
    console.print(f"run directory: {run.folder}", highlight=False)
    _record_machine(run, config.engine.device, engine.deterministic, listener.message)
    watch = WatchListener(config, listener.message)
    with ListenerGroup([listener, watch, *trackers_of(run)]) as listeners:
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


def _record_machine(run: Run, device: str, deterministic: bool, say: Callable[[str], None]) -> None:
    """Write down what the run is played on, and say where that gives other bits than before."""
    file = run.folder / "machine.json"
    before = None
    if file.exists():
        try:
            before = dict(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            say(f"{file} is damaged ({error}): what the run was played on before is not known")
    now = machine() | {"device": device, "deterministic": deterministic}
    record, sentence = kept(before, now, len(run.rows()))
    if sentence:
        say(sentence)
    run.write("machine.json", json.dumps(record, indent=2) + "\n")


def with_absolute_paths(config: Config) -> Config:
    """The same from wherever it is resumed."""
    kind = resolve(config.environment.kind, "environment", "piplay.envs")
    options = config.environment.options
    places = {name: str(Path(options[name]).absolute()) for name in path_options(kind) if options.get(name)}
    environment = config.environment.model_copy(update=places)
    config = with_model(config)
    model = config.model.absolute() if config.model else None
    return config.model_copy(update={"model": model, "environment": environment})
