"""What each command takes: one class a command, whose docstring, fields and their sentences are its help."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg, subcommand

from piplay.cli.data_options import Search, World

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
class Watch:
    """Show a run as a page that follows it: the report, made again whenever the run moves."""

    run_dir: Positional[Path]
    host: str = "127.0.0.1"
    """By default only this machine is answered; there is no password."""
    port: int = 8002
    """0 takes any that is free."""
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
class Serve:
    """Answer clients of the OpenAI API: chat completions and responses; the agent searches here. Settings can be given
    as in ask."""

    model: Positional[str]
    """A run directory (its trained student), a Hugging Face folder, or base, the embedded tiny base."""
    host: str = "127.0.0.1"
    """By default only this machine is answered; there is no password."""
    port: int = 8001
    """0 takes any that is free."""
    name: str = ""
    """What clients call the model; by default its folder's name."""
    slots: int = 32
    """Questions that are answered at once."""
    waiting: int = 96
    """Questions that wait beside them; more are turned away with status 503."""
    trust: Trust = False


@dataclass(frozen=True)
class Push:
    """Publish a run's trained policy on the Hugging Face Hub, or its tasks, with a card made of the run."""

    run_dir: Positional[Path]
    name: Positional[str]
    """ORG/NAME."""
    tasks: bool = False
    """The run's tasks and rollouts, as a dataset, in place of its policy."""
    merge: bool = False
    """Merge adapters into their base, in fp32: the folder is then a whole model."""
    dry_run: bool = False
    """Only make the folder, and upload nothing."""
    base: str | None = None
    """The base model on the Hub, as ORG/NAME: adapters need one."""
    license: str | None = None
    """The base's licence, or the tasks', as the Hub calls it; of a base by default what its own card says."""
    private: bool = False
    out: Path | None = None
    """The folder that is made; by default RUN/hub, or RUN/hub-tasks."""
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
    judge: str | None = None
    """Also let a language model judge the answers: the address of an OpenAI endpoint, as http://127.0.0.1:8000/v1; its
    key, where it wants one, from PIPLAY_JUDGE_KEY."""
    judge_model: str = ""
    """What the judge is called there."""
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
    | Annotated[Watch, subcommand("watch")]
    | Annotated[Ask, subcommand("ask")]
    | Annotated[Serve, subcommand("serve")]
    | Annotated[Push, subcommand("push")]
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
    "serve": Serve,
    "play": Play,
    "warm-up": WarmUp,
    "pretrain": Pretrain,
    "card": Card,
    "reproduce": Reproduce,
}
"""The commands that take settings besides their own options."""
