"""What each command takes and does. Imports of what computes wait until a command needs them."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import OmitArgPrefixes, OmitSubcommandPrefixes, Positional, arg, subcommand

from piplay.console import TerminalConsole
from piplay.errors import InputError, check_text
from piplay.registry import package_alone

if TYPE_CHECKING:
    from piplay.config import Config

RECIPES = sorted(path.stem for path in (Path(__file__).parents[1] / "recipes").glob("*.toml"))
Trust = Annotated[
    bool,
    arg(
        help="Import the code that a run names and the package does not have: a run of somebody else's may name any.",
        help_behavior_hint="",
    ),
]


@dataclass(frozen=True)
class Train:
    """Play a recipe from its start. Every setting can be changed, e.g. --policies.student.lr 1e-4: `piplay settings
    RECIPE` lists them."""

    recipe: Annotated[
        Positional[str], arg(help=f"A recipe of the package ({', '.join(RECIPES)}), or a .toml file.")
    ] = "pi-play"
    run_dir: Path | None = None
    """Where the run is written; by default the next free folder below runs/."""
    dry_run: bool = False
    """Only say what the run needs, as doctor does, and write nothing."""


@dataclass(frozen=True)
class Doctor:
    """Say what a run would need: memory, tokens, minutes. Settings can be given as in train, e.g. --model my-model."""

    recipe: str = "pi-play"
    """The name of a recipe of the package, or a .toml file."""


@dataclass(frozen=True)
class Settings:
    """Every setting of a recipe, with its value and what it is. Settings can be given as in train."""

    recipe: Positional[str] = "pi-play"
    """The name of a recipe of the package, or a .toml file."""


@dataclass(frozen=True)
class Resume:
    """Go on with an interrupted run from its last checkpoint, to the same bits."""

    run_dir: Positional[Path]
    trust: Trust = False


@dataclass(frozen=True)
class Report:
    """Write RUN/report.html: one page about a run, finished or not."""

    run_dir: Positional[Path]
    trust: Trust = False


@dataclass(frozen=True)
class Ask:
    """Ask a model: it searches, and answers with its sources. Settings can be given, e.g. --corpus notes/."""

    model: Positional[str]
    """A Hugging Face folder, a run directory (its trained student), or base, the embedded tiny base."""
    question: Positional[str | None] = None
    """Without one, questions are read line by line, and each is answered before the next."""
    temperature: float = 0.0
    """0 takes the likeliest words."""
    seed: int = 0
    """Of what is drawn at a temperature above 0."""
    json: bool = False
    """Print one JSON object for each answer, and nothing else."""
    trust: Trust = False


@dataclass(frozen=True)
class Play:
    """Show whole episodes of a recipe, token by token, and learn nothing. Settings can be changed as in train."""

    recipe: Positional[str | None] = None
    """The name of a recipe of the package, or a .toml file; by default pi-play, or with --run-dir the run's own."""
    role: str | None = None
    """Whose episodes: examiner, student, teacher, or another role of the recipe; by default the first of its first
    phase."""
    n: Annotated[int, arg(aliases=("-n",))] = 3
    """How many."""
    hops: int | None = None
    """Only tasks of so many hops."""
    run_dir: Path | None = None
    """A run whose policies play, as they stand, on what it searches; by default every policy is the base."""
    trust: Trust = False


@dataclass(frozen=True)
class MakeWorld:
    """Generate a fictional encyclopedia."""

    out: Positional[Path]
    seed: int = 0
    size: int = 700
    """Entities, and passages: 100 to 1,000,000."""
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
    lists: tuple[str, ...] | None = None
    """The columns whose cells hold several values; by default they are found. Without a name: none."""
    aliases: tuple[str, ...] = ()
    """Columns that name their row too, such as codes: what stands in them elsewhere is a link to it."""
    keep_missing: bool = False
    """Take NaN, None, N/A, - and the like as values."""
    passages: Path | None = None
    """A corpus with a passage a row, under its name: that text is searched, and only facts that it states are asked."""
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
class BuildIndex:
    """Index a corpus into a folder that can be served, copied and moved."""

    corpus: Positional[Path]
    """Text as --corpus takes it, or a world folder."""
    out: Path
    """A new folder."""
    title_weight: float | None = None
    """What a word in a title counts for one in the text; by default as in a run: 5, and in a world title and text are
    one."""
    passage_words: int = 50
    """Words of a passage, where a corpus is documents that are cut."""
    strict: bool = False
    """Refuse what of the corpus cannot be read; by default it is skipped and counted."""


@dataclass(frozen=True)
class ServeIndex:
    """Serve POST /retrieve, as Search-R1's clients ask it, until interrupted."""

    place: Positional[Path]
    """An index folder, or a corpus or a world, which is indexed first."""
    host: str = "127.0.0.1"
    """By default only this machine is answered; there is no password."""
    port: int = 8000
    """0 takes any that is free."""
    topk: int = 3
    """Passages a query, where a request does not say."""
    passage_words: int = 50
    """Words of a passage, where a corpus is documents that are cut."""


@dataclass(frozen=True)
class AskIndex:
    """Show what a query finds."""

    place: Positional[str]
    """An index folder, a corpus, a world, or the URL of a service."""
    query: Positional[str]
    topk: int = 3


@dataclass(frozen=True)
class Search:
    """Search without a model: make indexes, serve them, ask them."""

    do: (
        Annotated[BuildIndex, subcommand("build")]
        | Annotated[ServeIndex, subcommand("serve")]
        | Annotated[AskIndex, subcommand("ask")]
    )


@dataclass(frozen=True)
class WarmUp:
    """Teach a model how π-Play's roles write, by lessons that programs make; run again after an interruption to go on.

    Settings can be given as in train, e.g. --phases.settle.steps 200.
    """

    model: Positional[str]
    """A Hugging Face folder, or a GGUF file."""
    out: Path
    """The folder of the model that comes of it; its run is in the folder run there."""
    recipe: str = "warm-up"
    """The name of a recipe of the package, or a .toml file."""
    corpus: Path | None = None
    """Text with titles: two lessons of five are on the facts that it states; --sources.lessons.without BENCH leaves out
    what a benchmark asks for."""


@dataclass(frozen=True)
class Pretrain:
    """Make the tiny base: a warm-up of a model of random weights. Settings can be given as in train."""

    out: Positional[Path]
    shape: Literal["qwen3", "qwen2", "llama"] = "qwen3"
    """The family of the model's architecture."""
    tags: bool = False
    """Make a model without a chat template, whose lessons are in plain text with tags."""


@dataclass(frozen=True)
class Card:
    """Measure what a base can do before it plays with itself, in each role. Settings can be given, e.g. --world DIR."""

    model: Positional[str] = "base"
    """A Hugging Face folder, a run directory (its trained student), or base, the embedded tiny base."""
    recipe: str | None = None
    """Whose prompts, limits and gates it is measured with: the name of a recipe of the package, or a .toml file; by
    default a run's own, else pi-play."""
    per_hop: int = 100
    """Questions of each hop count."""
    examined: int = 200
    """Questions of each hop count that the examiner writes."""
    trust: Trust = False


@dataclass(frozen=True)
class Eval:
    """Measure a model on questions with known answers: exact match, F1 and more, by hop count, with 95 % intervals."""

    model: Positional[str] = "base"
    """A Hugging Face folder, a run directory (its trained student), or base, the embedded tiny base."""
    bench: str = "world"
    """A file of questions with gold answers (.jsonl, .json, .csv, .tsv, .parquet, packed or not); or names of sets in
    --bench-dir, as nq,triviaqa,popqa,hotpotqa,2wiki,musique,bamboogle; or `world`: the held-out questions of the
    world."""
    bench_dir: Path | None = None
    """The folder of the sets, as FlashRAG lays them out: SET/SPLIT.jsonl."""
    limit_per_set: int | None = None
    """So many questions of each set, a sample that --seed alone decides."""
    protocol: Literal["run", "search-r1"] = "run"
    """How sets are played: as the model's run played, or with Search-R1's prompt, passages and limits."""
    baselines: str = ""
    """What else the same model does on the sets: closed-book (no search), one-search (for the question itself), or
    both with a comma."""
    compare: Literal["none", "search-r1"] = "none"
    """Show a paper's figures on the sets too."""
    resume: Path | None = None
    """The folder of an evaluation of sets that was cut: go on with it as it was asked, without another option."""
    world: Path | None = None
    """The world that is searched; by default a run's own, else the default world."""
    corpus: Path | None = None
    """Text that is searched instead of a world; by default what a run searched."""
    against: str | None = None
    """A second model, named as the first: both answer the same questions, and the first minus the second is tested."""
    samples: int = 0
    """K: also draw so many answers a question, for avg@K and pass@k."""
    temperature: float = 1.0
    """Of these samples; the answers that are scored otherwise are greedy."""
    limit: int | None = None
    """Only the first so many questions of each hop count."""
    top_k: int | None = None
    """Passages that one search returns; by default as a run had it, else 1."""
    chat: Literal["auto", "native", "chat", "tags"] = "auto"
    """How the models talk: by their own tool calls, by tags in their template or in plain text; by default a run's own
    way, else the first of these that can be played."""
    prompt: str = ""
    """The system prompt; by default a run's own, else the game's, which is made for tiny models."""
    seed: int = 0
    """Of the samples, and of the resampling behind intervals and p."""
    threads: Annotated[int | None, arg(name="engine.threads")] = None
    """This and the next two: by default as a run had them, else OMP_NUM_THREADS or 2, cpu and float32."""
    device: Annotated[str | None, arg(name="engine.device")] = None
    dtype: Annotated[Literal["float32", "bfloat16"] | None, arg(name="engine.dtype")] = None
    """What the models are held and computed in."""
    turns: Annotated[int | None, arg(name="limits.turns")] = None
    """Turns of one answer. This and the next two: by default as a run had them, else those of `pi-play`."""
    turn_tokens: Annotated[int | None, arg(name="limits.turn-tokens")] = None
    """Tokens of one turn."""
    tokens: Annotated[int | None, arg(name="limits.tokens")] = None
    """Tokens of one answer with its prompt and all that was found."""
    strict: bool = False
    """Refuse what of a benchmark or a corpus cannot be read; by default it is skipped and counted."""
    out: Path | None = None
    """A new folder for records.jsonl (every answer, as it comes) and eval.json (every number). Of sets also one
    that was cut, by default one below evals/ that the options name."""
    trust: Trust = False


@dataclass(frozen=True)
class Reproduce:
    """Play an experiment of many runs: arms × seeds × starts, a table and curves. Run it again to go on."""

    name: Positional[str] = "privilege"
    """The name of an experiment of the package, or a .toml file. Settings of all runs can be changed as in train."""
    arms: tuple[str, ...] = ()
    """Some of its arms; by default all."""
    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int | None = None
    """Of each run; by default the experiment's."""
    start: tuple[str, ...] = ("base",)
    """Models that every arm starts from: Hugging Face folders, run directories, or base, the embedded tiny base."""
    out: Path | None = None
    """Where the runs are written; by default runs/NAME."""
    recipe: str | None = None
    """A recipe in the place of the experiment's."""
    drop_weights: bool = False
    """Keep of each finished run its numbers alone; by default its final models too."""


Command = (
    Annotated[Train, subcommand("train")]
    | Annotated[Doctor, subcommand("doctor")]
    | Annotated[Settings, subcommand("settings")]
    | Annotated[Resume, subcommand("resume")]
    | Annotated[Report, subcommand("report")]
    | Annotated[Ask, subcommand("ask")]
    | Annotated[Play, subcommand("play")]
    | Annotated[World, subcommand("world")]
    | Annotated[Search, subcommand("search")]
    | Annotated[WarmUp, subcommand("warm-up")]
    | Annotated[Pretrain, subcommand("pretrain")]
    | Annotated[Card, subcommand("card")]
    | Annotated[Eval, subcommand("eval")]
    | Annotated[Reproduce, subcommand("reproduce")]
)


SETTABLE: dict[str, type] = {
    "train": Train,
    "doctor": Doctor,
    "settings": Settings,
    "ask": Ask,
    "play": Play,
    "warm-up": WarmUp,
    "pretrain": Pretrain,
    "card": Card,
    "reproduce": Reproduce,
}
"""The commands that take settings besides their own options."""


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
    match command:
        case Train(recipe, _, True) | Doctor(recipe):
            from piplay.cli.doctor import doctor
            from piplay.config import load_config

            doctor(load_config(recipe, overrides), command.run_dir if isinstance(command, Train) else None)
        case Train(recipe, run_dir, _):
            from piplay.api import train

            train(recipe, run_dir, **overrides)
        case Settings(recipe):
            from piplay.cli.settings import show_settings
            from piplay.config import load_config

            show_settings(load_config(recipe, overrides))
        case Resume(run_dir, trust):
            from piplay.api import resume

            resume(run_dir, trust=trust)
        case Ask():
            _ask(command, overrides)
        case Play():
            _play(command, overrides)
        case Report():
            _report(command)
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


def _eval(command: Eval) -> None:
    from piplay.eval.command import evaluate

    given, usual = ({k: v for k, v in vars(one).items() if k != "trust"} for one in (command, Eval()))
    others = [name for name, value in given.items() if name != "resume" and value != usual[name]]
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
    from piplay.config import load_config
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
    show_preview(preview(config, command.role, command.n, command.hops, weights), TerminalConsole())


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
        case AskIndex(place, query, topk):
            search.ask(place, query, topk)


def _card(command: Card, overrides: dict[str, str]) -> None:
    import json

    from piplay.config import load_config
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
    print(json.dumps(card.measure(stage, 0), indent=1))
