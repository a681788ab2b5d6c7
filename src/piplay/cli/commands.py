"""What each command does. Imports of what computes wait until a command needs them."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import fields, replace
from itertools import count
from typing import TYPE_CHECKING, Any

import tyro
from tyro.conf import OmitArgPrefixes, OmitSubcommandPrefixes

from piplay.cli.data_options import (
    AskIndex,
    AskWorld,
    BuildIndex,
    ImportWorld,
    MakeWorld,
    Search,
    ServeIndex,
    World,
)
from piplay.cli.options import (
    SETTABLE,
    Ask,
    Card,
    Command,
    Doctor,
    Eval,
    Play,
    Pretrain,
    Push,
    Report,
    Reproduce,
    Resume,
    Serve,
    Settings,
    Train,
    WarmUp,
    Watch,
)
from piplay.console import TerminalConsole
from piplay.errors import InputError, check_text
from piplay.registry import package_alone

if TYPE_CHECKING:
    from piplay.config import Config


def parse(arguments: Sequence[str]) -> tuple[Any, dict[str, str]]:
    """The command that the arguments name, and settings besides. Raises ``InputError`` and ``SystemExit``, the latter
    for ``--help`` too.
    """
    words = list(arguments)
    overrides: dict[str, str] = {}
    if words and words[0] in SETTABLE:
        words, overrides = _overrides(words, SETTABLE[words[0]])
    command = tyro.cli(
        Command,
        prog="piplay",
        description="`piplay --version` prints the version.",
        args=words,
        config=(OmitSubcommandPrefixes, OmitArgPrefixes),
    )
    return command, overrides


def perform(parsed: tuple[Any, dict[str, str]]) -> None:
    """Do what a command says. Raises ``InputError``.

    What is somebody else's, a model or a run, brings no code along unless it is trusted; a recipe is one's own.
    """
    command, overrides = parsed
    recipe_alone = isinstance(command, Play) and command.run_dir is None
    with package_alone(not getattr(command, "trust", True) and not recipe_alone):
        _do(command, overrides)


def _do(command: Any, overrides: dict[str, str]) -> None:
    """Long because every command has its case here."""
    match command:
        case Train(recipe, _, True) | Doctor(recipe):
            from piplay.cli.doctor import doctor
            from piplay.recipes import load_config

            doctor(load_config(recipe, overrides), command.run_dir if isinstance(command, Train) else None)
        case Train(recipe, run_dir, _):
            from piplay.api import train

            train(recipe, run_dir, **overrides)
        case Settings(recipe):
            from piplay.cli.settings import show_settings
            from piplay.recipes import load_config

            show_settings(load_config(recipe, overrides))
        case Resume(run_dir, trust):
            from piplay.api import resume

            resume(run_dir, trust=trust)
        case Ask():
            _ask(command, overrides)
        case Serve():
            from piplay.serving.command import serve

            serve(**vars(command), overrides=overrides)
        case Push():
            from piplay.publishing.command import push

            push(**{name: value for name, value in vars(command).items() if name != "trust"})
        case Play():
            _play(command, overrides)
        case Report():
            _report(command)
        case Watch(run_dir, host, port):
            from piplay.report.live import watch

            watch(run_dir, host, port)
        case World():
            _world(command.do)
        case Search():
            _search(command.do)
        case WarmUp(model, out, recipe, corpus):
            from piplay.cli.warm_up import warm_up

            if corpus is not None:
                overrides["sources.lessons.corpus"] = str(corpus)
            warm_up(model, out, recipe, overrides)
        case Pretrain(out, shape, tags):
            from piplay.cli.warm_up import pretrain

            pretrain(out, shape, not tags, overrides)
        case Card():
            _card(command, overrides)
        case Eval():
            _eval(command)
        case Reproduce():
            from piplay.reproduce.command import reproduce

            given = {key: value for key, value in vars(command).items() if key != "start"}
            reproduce(**given, starts=command.start, overrides=overrides)


def _overrides(words: Sequence[str], command: type) -> tuple[list[str], dict[str, str]]:
    """Take the settings out of a command's words: ``--a.b 1 --c=2`` is ``{"a.b": "1", "c": "2"}``.

    What the command itself takes stays.
    """
    own = {option.name: option.default for option in fields(command)}
    kept: list[str] = []
    found: dict[str, str] = {}
    queue = list(words)
    while queue:
        word = queue.pop(0)
        key, equals, value = word.partition("=")
        setting = key.removeprefix("--")
        name = setting.replace("-", "_")
        if not word.startswith("--") or name == "help" or isinstance(own.get(name.removeprefix("no_")), bool):
            kept.append(word)
            continue
        if not equals:
            if not queue or queue[0].startswith("--"):
                raise InputError(f"{key} has no value")
            value = queue.pop(0)
        if name in own:
            kept += [key, value]
        else:
            found[setting] = value
    return kept, found


BESIDE = ("resume", "judge", "judge_model")
"""What may stand beside --resume."""


def _eval(command: Eval) -> None:
    from piplay.eval.command import evaluate

    given, usual = ({k: v for k, v in vars(one).items() if k != "trust"} for one in (command, Eval()))
    others = [name for name, value in given.items() if name not in BESIDE and value != usual[name]]
    if command.resume is not None and others:
        raise InputError(f"--resume goes on with what was asked: leave out the {others[0].replace('_', '-')} beside it")
    evaluate(given)


def _ask(command: Ask, overrides: dict[str, str]) -> None:
    import json

    from piplay.agent import load_agent
    from piplay.cli.show import show_steps

    if command.question is not None and not command.question.strip():
        raise InputError("the question is empty: ask something")
    check_text(command.question or "", "the question")
    agent = load_agent(command.model, trust=command.trust, **overrides)
    for question in _lines() if command.question is None else [command.question]:
        if command.json:
            reply = agent.ask(question, command.temperature, command.seed)
            print(json.dumps(reply.to_dict(), ensure_ascii=False), flush=True)
        else:
            show_steps(agent.steps(question, command.temperature, command.seed), TerminalConsole())


def _lines() -> Iterator[str]:
    """The lines of standard input that hold anything; on a terminal each is asked for.

    One that is not UTF-8 is left out, and said to be.
    """
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")
    try:
        for number in count(1):
            line = input("question " if sys.stdin.isatty() else "").strip()
            try:
                check_text(line, f"line {number} of standard input")
            except InputError as error:
                print(f"piplay: {error}; it is left out", file=sys.stderr)
                continue
            if line:
                yield line
    except EOFError:
        return


def _play(command: Play, overrides: dict[str, str]) -> None:
    from piplay.agent import without_place
    from piplay.cli.preview import preview
    from piplay.cli.show import show_preview
    from piplay.recipes import load_config
    from piplay.training.run_directory import Run

    recipe: str | Config = command.recipe or "pi-play"
    settings: dict[str, object] = {}
    weights = None
    if command.run_dir is not None:
        run = Run.open(command.run_dir)
        recipe, weights = command.recipe or run.config, run.checkpoint()
        if weights is None:
            raise InputError(f"the run {run.folder} has no checkpoint yet: its policies are the base")
        settings = run.config.model_dump(mode="json", include={"model", "policies", "environment"})
        settings |= without_place(overrides)
    config = load_config(recipe, settings | overrides)
    played = preview(config, command.role, command.n, command.hops, weights, TerminalConsole(stderr=True))
    show_preview(played, TerminalConsole())


def _report(command: Report) -> None:
    from piplay.report.command import report
    from piplay.training.assemble import load_environment
    from piplay.training.litter import sweep
    from piplay.training.lock import holding
    from piplay.training.run_directory import Run

    run = Run.open(command.run_dir)
    # Of a run under way another process is the writer, and the page alone is written here.
    with holding(run.folder) if run.finished else nullcontext():
        if run.finished:
            sweep(run.folder)
        print(report(run, lambda: load_environment(run.config), print))


def _world(command: MakeWorld | ImportWorld | AskWorld) -> None:
    from piplay.envs.world import commands

    match command:
        case MakeWorld(out, seed, size, per_hop):
            commands.make(out, seed, size, per_hop)
        case ImportWorld():
            commands.import_(**vars(command))
        case AskWorld(question, world):
            commands.ask(question, world)


def _search(command: BuildIndex | ServeIndex | AskIndex) -> None:
    from piplay.search_service import command as search

    match command:
        case BuildIndex():
            search.build(**vars(command))
        case ServeIndex():
            search.serve(**vars(command))
        case AskIndex():
            search.ask(**vars(command))


def _card(command: Card, overrides: dict[str, str]) -> None:
    import json

    from piplay.progress import Bar
    from piplay.recipes import load_config
    from piplay.rollout.stage import Stage
    from piplay.training.assemble import (
        load_chat,
        load_engine,
        load_environment,
        model_folder,
        playing,
        run_at,
        tool_specs,
    )
    from piplay.warm_up import Card as Measure

    run = run_at(command.model)
    config = load_config(command.recipe or (run.config if run else "pi-play"), overrides)
    folder = model_folder(command.model)
    environment = load_environment(config)
    card = Measure(environment, {}, config, per_hop=command.per_hop, examined=command.examined)
    chat = load_chat(folder, config.chat, tool_specs(environment), config.limits.tokens)
    stage = Stage.of(config, load_engine(playing(config, folder)), chat, {t.spec.name: t for t in environment.tools})
    with Bar(TerminalConsole(stderr=True), "card", card.cost()) as bar:
        measured = card.measure(replace(stage, ended=bar.advance), 0)
    print(json.dumps(measured, indent=1))
