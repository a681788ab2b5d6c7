"""From settings to the parts of a run: chat, engine, environment, task sources and evaluation."""

from __future__ import annotations

from importlib import resources
from inspect import signature
from pathlib import Path
from typing import Any, cast

from transformers import AutoTokenizer, GenerationConfig
from transformers.utils import logging

from piplay.border.checked import CheckedEvaluation, CheckedSource
from piplay.border.code import name_of, own
from piplay.border.parts import check_engine, check_environment, check_evaluation, check_methods, check_source
from piplay.chat.base import Chat
from piplay.chat.choose import choose
from piplay.config import Config
from piplay.engine.local.adapters import base_of
from piplay.engine.local.folders import LOCAL, check_fit, usable
from piplay.engine.protocol import Engine
from piplay.errors import InputError
from piplay.protocols import Environment, Evaluation, TaskSource, make_game
from piplay.registry import make, resolve
from piplay.settings import EngineSettings, Limits, Policy
from piplay.training.learner import make_advantage, make_losses
from piplay.training.run_directory import Run
from piplay.types import State, ToolSpec

logging.disable_progress_bar()

SOURCE_ROOMS = ("piplay.training", "piplay.methods", "piplay.envs")
"""Where task sources are looked for by short name."""
BASE = "base"
"""How the embedded base is named where a model is asked for."""


def tiny_base() -> Path:
    """The folder of the embedded base model."""
    return Path(str(resources.files("piplay") / "tiny_base" / "model"))


def run_at(name: str) -> Run | None:
    """The run whose directory a word of the command line names; None where it names anything else."""
    folder = Path(name)
    parts = any((folder / part).is_dir() for part in ("final", "checkpoints"))
    return Run.open(folder) if parts and (folder / "config.json").is_file() else None


def model_folder(name: str) -> Path:
    """The model folder that a word of the command line means: the embedded base, what a run measures, or the folder."""
    if name == BASE:
        return tiny_base()
    run = run_at(name)
    if run is None:
        return usable(Path(name))
    policy = run.config.agent
    if not run.final(policy).is_dir():
        raise InputError(f"the run {name} has no final/{policy} yet: finish it with `piplay resume {name}`")
    return run.final(policy)


def load_chat(model: Path, kind: str = "auto", tools: tuple[ToolSpec, ...] = (), tokens: int | None = None) -> Chat:
    """The chat of a model folder, of a kind as ``Config.chat`` has it, with these tools.

    ``tokens``: the longest trajectory that the model is to read. Raises ``InputError`` where there is no usable
    tokenizer or template, or the model does not fit its tokenizer or the trajectory.
    """
    model = usable(model)
    try:
        tokenizer = AutoTokenizer.from_pretrained(model, **LOCAL)
        ends = _end_ids(model)
    except Exception as error:  # a damaged file raises whatever its reader stumbles over
        raise InputError(f"the tokenizer of {model} cannot be loaded: {repr(error).splitlines()[0]}") from error
    chat = choose(kind, tokenizer, tools, ends)
    check_fit(model, tokenizer, tokens)
    return chat


def _end_ids(model: Path) -> list[int]:
    """What the generation settings of a model end a turn with: more than its tokenizer knows, as Llama's <|eom_id|>."""
    if not (model / "generation_config.json").is_file():
        return []
    ends = GenerationConfig.from_pretrained(model, local_files_only=True).eos_token_id
    return [ends] if isinstance(ends, int) else [int(end) for end in ends or ()]


def with_model(config: Config) -> Config:
    """The same settings with an ordinary folder for a model that is one file."""
    return config.model_copy(update={"model": usable(config.model)}) if config.model else config


_PLAYING = {"slots", "cache_tokens", "threads", "micro_batch_tokens", "device", "dtype"}
"""What of the engine's settings is not of learning or of other processes."""


def playing(config: Config, model: Path) -> Config:
    """The same settings for one policy, the agent's, that plays as the folder has it, with its adapters.

    It plays in this process, whoever wrote in training: a question or a page of examples is worth no sampler.
    """
    kind = "local" if config.engine.kind in ("vllm", "ray") else config.engine.kind
    engine = EngineSettings(kind=kind, **config.engine.model_dump(include=_PLAYING))
    return config.model_copy(update={"model": model, "policies": {config.agent: Policy()}, "engine": engine})


def check_trainable(model: Path | None) -> None:
    """Raises ``InputError`` for a folder of adapters: a run's policies start from whole weights."""
    base = base_of(model) if model is not None else None
    if base is not None:
        raise InputError(
            f"{model} holds adapters of {base}: to train on, merge them into it (peft's merge_and_unload) and save that"
        )


def load_environment(config: Config, truth: bool = True) -> Environment:
    """What is played in; without its truth where only its tools are wanted."""
    made: Environment = make(
        config.environment.kind,
        config.environment.options,
        "environment",
        "piplay.envs",
        seed=config.seed,
        truth=truth,
    )
    check_environment(made)
    return made


def check_passages(environment: Environment, chat: Chat, limits: Limits) -> None:
    """Let an environment warn of what it shows that leaves no room for a turn."""
    check = getattr(environment, "check_fit", None)
    if check is not None:
        check(lambda text: len(chat.encode(text)), limits.tokens - limits.turn_tokens)


def tool_specs(environment: Environment) -> tuple[ToolSpec, ...]:
    """What a chat tells models of the environment's tools."""
    return tuple(tool.spec for tool in environment.tools)


def load_engine(config: Config) -> Engine:
    """The engine of the kind that the settings name, with every policy of the run."""
    kind = _engine_class(config)
    with own(f"{name_of(kind)}.start"):
        # An engine that has to know how long a trajectory may be asks for it by name.
        asked = {"tokens": config.limits.tokens} if "tokens" in signature(kind.start).parameters else {}
        model = config.model or tiny_base()
        started: Engine = kind.start(model, config.policies, config.engine, seed=config.seed, **asked)
    check_engine(started)
    return started


def _engine_class(config: Config) -> Any:
    kind = resolve(config.engine.kind, "engine", "piplay.engine")
    check_methods(kind, "an engine's class", "start")
    return kind


def check_engine_settings(config: Config) -> None:
    """Raises ``InputError`` where the engine's class can say, without loading anything, that it cannot start here."""
    kind = _engine_class(config)
    check = getattr(kind, "check", None)
    if check is not None:
        with own(f"{name_of(kind)}.check"):
            check(config.engine)


def make_sources(config: Config, environment: Environment, states: dict[str, State]) -> dict[str, TaskSource]:
    """The run's task sources by name, checked; ``states`` is what they remember, by name."""
    made: dict[str, TaskSource] = {}
    for name, source in config.sources.items():
        given: dict[str, Any] = {"environment": environment, "state": states.setdefault(name, {}), "seed": config.seed}
        kind = "sources:WrittenSource" if source.kind == "written" else source.kind
        mine = make(kind, source.options, "source", *SOURCE_ROOMS, **given)
        check_source(mine)
        made[name] = CheckedSource(mine)
    return made


def make_evaluation(config: Config, environment: Environment, state: State) -> Evaluation:
    """The run's evaluation, checked, or one that measures nothing where the settings name none."""
    if config.evaluation is None:
        return Evaluation()
    made = make(
        config.evaluation.kind,
        config.evaluation.options,
        "evaluation",
        "piplay.methods",
        "piplay.envs",
        environment=environment,
        state=state,
        config=config,
    )
    check_evaluation(made, Evaluation, config.policies)
    return cast(Evaluation, CheckedEvaluation(made))


_LATE = 10**9
"""More updates than any schedule has."""


def check_parts(config: Config, environment: Environment) -> None:
    """Make every part that a run makes later, so that what is wrong with one is said before anything is written.

    Raises:
        InputError: a game, advantage, loss, task source, evaluation or engine is not there, lacks what its kind needs,
            or refuses its options.
    """
    check_engine_settings(config)
    for phase in config.phases:
        make_game(phase, {})
        for role, learn in phase.learn.items():
            try:
                for iteration, update in ((1, 0), (config.iterations, _LATE)):  # where schedules begin and end
                    make_advantage(learn, {}, iteration, update)
                    make_losses(learn, iteration, update)
            except InputError as error:
                raise InputError(f"phase {phase.name}, {role}: {error}") from error
    make_sources(config, environment, {})
    make_evaluation(config, environment, {})
