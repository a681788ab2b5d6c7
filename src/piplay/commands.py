"""What each command takes and does. Imports of what computes wait until a command needs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from tyro.conf import OmitArgPrefixes, OmitSubcommandPrefixes, Positional, subcommand

from piplay.config import Limits
from piplay.errors import InputError

if TYPE_CHECKING:
    from piplay.chat.chat import Chat
    from piplay.config import Config
    from piplay.engine.local import LocalEngine
    from piplay.loop import Ground
    from piplay.run.directory import Run


@dataclass(frozen=True)
class Train:
    """Play a recipe from its start. Every setting can be changed, e.g. --policies.student.lr 1e-4."""

    recipe: Positional[str] = "pi-play"
    """The name of a recipe of the package, or a .toml file."""
    run_dir: Path | None = None
    """Where the run is written; by default the next free folder below runs/."""


@dataclass(frozen=True)
class Resume:
    """Go on with an interrupted run from its last checkpoint, to the same bits."""

    run_dir: Positional[Path]


@dataclass(frozen=True)
class MakeWorld:
    """Generate a fictional encyclopedia."""

    out: Positional[Path]
    seed: int = 0
    size: int = 700
    """Entities, and passages."""
    per_hop: int = 100
    """Questions of each hop count, in each of the two sets."""


@dataclass(frozen=True)
class ImportWorld:
    """Make a world of your own tables: a row an entity, a column a relation, a value that names a row a link."""

    tables: Positional[tuple[Path, ...]]
    """CSV, JSONL or SQLite files; FILE.sqlite:TABLE takes one table."""
    out: Path
    key: str | None = None
    """The column that names a row; by default the first."""
    kind: str | None = None
    """What a row is; by default the file's or the table's name."""
    columns: tuple[str, ...] | None = None
    """The columns to keep; by default all."""
    seed: int = 0
    per_hop: int = 100


@dataclass(frozen=True)
class AskWorld:
    """The true answer to a question, and the passages that hold it."""

    question: Positional[str]
    world: Path | None = None
    """A world folder; by default the default world."""


@dataclass(frozen=True)
class World:
    """Worlds: records put into passages, with questions whose truth is known."""

    do: (
        Annotated[MakeWorld, subcommand("make")]
        | Annotated[ImportWorld, subcommand("import")]
        | Annotated[AskWorld, subcommand("ask")]
    )


@dataclass(frozen=True)
class Pretrain:
    """Make the tiny base; run again after an interruption to go on."""

    out: Positional[Path]
    steps: int = 8000
    tokens: int = 6000
    """Ids in a step."""
    seed: int = 0
    threads: int = 2
    shape: Literal["qwen3", "qwen2", "llama"] = "qwen3"
    """The family of the model's architecture."""
    chat: Literal["native", "tags"] = "native"
    """What its lessons are written in: its own template and tool calls, or tags in plain text."""


@dataclass(frozen=True)
class Card:
    """Measure a base model's capability card on a world."""

    model: Positional[Path | None] = None
    """A Hugging Face folder; by default the embedded tiny base."""
    world: Path | None = None
    """A world folder; by default the default world."""
    threads: int = 2
    chat: Literal["auto", "native", "tags"] = "auto"


@dataclass(frozen=True)
class Eval:
    """Measure a model on questions with known answers: exact match, F1 and more, by hop count, with 95 % intervals."""

    model: Positional[str] = "tiny-base"
    """A Hugging Face folder, a run directory (its final/student), or tiny-base, the embedded base."""
    bench: str = "world"
    """FlashRAG's .jsonl, Search-R1's .parquet, or `world`: the held-out questions of the world."""
    world: Path | None = None
    """The world that is searched; by default the default world."""
    corpus: Path | None = None
    """Text that is searched instead of a world."""
    against: str | None = None
    """A second model, named as the first: both answer the same questions, and the first minus the second is tested."""
    samples: int = 0
    """K: also draw so many answers a question, for avg@K and pass@k."""
    temperature: float = 1.0
    """Of these samples; the answers that are scored otherwise are greedy."""
    limit: int | None = None
    """Only the first so many questions of each hop count."""
    top_k: int = 1
    """Passages that one search returns."""
    chat: Literal["auto", "native", "tags"] = "auto"
    """How the models talk: their own template, or tags in plain text."""
    prompt: str = ""
    """The system prompt, as a recipe's prompts.student; by default the game's own, made for tiny models."""
    seed: int = 0
    """Of the samples, and of the resampling behind intervals and p."""
    threads: int = 2
    device: str = "cpu"
    turns: int = Limits().turns
    """Turns of one answer."""
    turn_tokens: int = Limits().turn_tokens
    """Tokens of one turn."""
    tokens: int = Limits().tokens
    """Tokens of one answer with its prompt and all that was found."""
    out: Path | None = None
    """A new folder for records.jsonl (every answer) and eval.json (every number)."""


Command = (
    Annotated[Train, subcommand("train")]
    | Annotated[Resume, subcommand("resume")]
    | Annotated[World, subcommand("world")]
    | Annotated[Pretrain, subcommand("pretrain")]
    | Annotated[Card, subcommand("card")]
    | Annotated[Eval, subcommand("eval")]
)


def run(arguments: Sequence[str]) -> None:
    """Read the arguments and do what they say. Raises ``InputError`` and, for ``--help``, ``SystemExit``."""
    words = list(arguments)
    overrides: dict[str, str] = {}
    if words[:1] == ["train"]:
        words, overrides = _overrides(words)
    command = tyro.cli(Command, prog="piplay", args=words, config=(OmitSubcommandPrefixes, OmitArgPrefixes))
    match command:
        case Train():
            _train(command, overrides)
        case Resume():
            _resume(command)
        case World():
            _world(command.do)
        case Pretrain():
            from piplay.pretrain.train import pretrain

            pretrain(
                command.out,
                steps=command.steps,
                tokens=command.tokens,
                seed=command.seed,
                threads=command.threads,
                shape=command.shape,
                chat_kind=command.chat,
            )
        case Card():
            _card(command)
        case Eval():
            from piplay.evaluate.command import evaluate

            evaluate(**vars(command))


def _overrides(words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Take the settings out of the words of ``train``: ``--a.b 1 --c=2`` is ``{"a.b": "1", "c": "2"}``."""
    kept: list[str] = []
    found: dict[str, str] = {}
    queue = list(words)
    while queue:
        word = queue.pop(0)
        key, equals, value = word.partition("=")
        if not word.startswith("--") or key == "--help":
            kept.append(word)
            continue
        if not equals:
            if not queue or queue[0].startswith("--"):
                raise InputError(f"{key} has no value")
            value = queue.pop(0)
        if key in ("--run-dir", "--run_dir"):
            kept += [key, value]
        else:
            found[key[2:].replace("-", "_")] = value
    return kept, found


def _train(command: Train, overrides: dict[str, str]) -> None:
    from piplay.config import load_config
    from piplay.run.directory import Run

    config = load_config(command.recipe, overrides)
    places = {key: path.absolute() for key in ("model", "world", "corpus") if (path := getattr(config, key))}
    config = config.model_copy(update=places)
    folder = command.run_dir or _next_free(config.name)
    Run.vacant(folder)
    # Whatever is wrong with the input is found before anything is written.
    parts = _assemble(config)
    _play(Run.create(folder, config), parts)


def _resume(command: Resume) -> None:
    from piplay.run.directory import Run

    run = Run.open(command.run_dir)
    if (run.folder / "summary.json").exists():
        raise InputError(f"the run {run.folder} is complete: there is nothing to resume")
    _play(run, _assemble(run.config))


def _assemble(config: Config) -> tuple[Ground, LocalEngine, Chat]:
    from piplay.assemble import load_chat, load_engine, load_ground, tiny_base
    from piplay.loop import make_game

    for phase in config.phases:
        make_game(phase, {})
    chat = load_chat(config.model or tiny_base(), config.chat)
    return load_ground(config), load_engine(config, chat), chat


def _play(run: Run, parts: tuple[Ground, LocalEngine, Chat]) -> None:
    from rich.console import Console

    from piplay.loop import Loop
    from piplay.progress import Teller, before_after

    console = Console(soft_wrap=True)
    console.print(f"run directory: {run.folder}", highlight=False)
    teller = Teller(run.config, console)
    loop = Loop(run, *parts, teller)
    try:
        loop.train()
    finally:
        teller.close()
    table = before_after(loop.state.evals)
    if table is not None:
        console.print(table)
    minutes = loop.state.seconds / 60
    console.print(f"{minutes:.1f} minutes; the trained policies are in {run.folder / 'final'}", highlight=False)


def _world(command: MakeWorld | ImportWorld | AskWorld) -> None:
    from piplay.world import commands

    match command:
        case MakeWorld(out, seed, size, per_hop):
            commands.make(out, seed, size, per_hop)
        case ImportWorld(tables, out, key, kind, columns, seed, per_hop):
            commands.import_(tables, out, key, kind, columns, seed, per_hop)
        case AskWorld(question, world):
            commands.ask(question, world)


def _card(command: Card) -> None:
    import json

    from piplay.assemble import load_chat, load_ground, tiny_base
    from piplay.config import load_config
    from piplay.pretrain.card import capability_card

    config = load_config("pi-play", {})
    if command.world is not None:
        config = config.model_copy(update={"world": command.world})
    model = command.model or tiny_base()
    chat = load_chat(model, command.chat)
    print(json.dumps(capability_card(model, chat, load_ground(config), threads=command.threads), indent=1))


def _next_free(name: str) -> Path:
    number = 1
    while (folder := Path("runs") / f"{name}-{number}").exists():
        number += 1
    return folder
