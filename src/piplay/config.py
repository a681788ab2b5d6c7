"""One tree of settings per run: a recipe in TOML, changed by dotted overrides, checked before anything starts.

The formulas that settings refer to are those of docs/method.md.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import resources
from itertools import combinations
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from piplay.algo.schedules import Number
from piplay.errors import InputError, check_text, nearest
from piplay.registry import listed, options_of, path_options, resolve


class Settings(BaseModel):
    """Frozen, and without room for a key that does not exist."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _lists(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        hints = {name: field.annotation for name, field in cls.model_fields.items()}
        return {name: listed(part, hints.get(name)) for name, part in value.items()}


class Component(Settings):
    """A class by name, and the options that its constructor takes: those are checked against the class itself.

    ``kind = "search"`` alone may be written as the text ``"search"``.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    kind: str
    """A short name of the package's, or ``module:Class``, the package's or one's own."""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"kind": value}
        if not isinstance(value, Mapping | Component):
            raise ValueError('write "module:Class", or with its options { kind = "module:Class", … }')
        return value

    @property
    def options(self) -> dict[str, Any]:
        """What its constructor takes."""
        return dict(self.model_extra or {})


class ReplaySettings(Settings):
    """Which old samples join a batch, with the sampler's log-probabilities of then."""

    keep: Literal["positive", "last_success"] = "positive"
    """``positive``: those with a reward above their group's mean; they are learnt from once ``size`` of them are there,
    and then forgotten. ``last_success``: of each prompt the last with a reward above .5; it joins the groups of that
    prompt that have no success."""
    size: int = Field(512, ge=1)
    """Samples that are kept; the oldest go first."""
    age: int = Field(10, ge=1)
    """Steps after which a sample is dropped."""
    weight: float = Field(1.0, ge=0)
    """What multiplies their losses."""


class Limits(Settings):
    """Bounds on one trajectory."""

    turns: int = Field(6, ge=1)
    turn_tokens: int = Field(96, ge=1)
    tokens: int = Field(1024, ge=2)
    """Of the whole trajectory, prompt and tool results included."""


class Lora(Settings):
    """Adapters W + (α/r)·B·A in the place of trained weights (LoRA, arXiv 2106.09685); needs the extra ``lora``."""

    rank: int = Field(0, ge=0)
    """r; 0: no adapters, all weights are trained."""
    alpha: int = Field(32, ge=1)
    """α: an adapter's product counts α/r."""
    targets: tuple[str, ...] = ()
    """The linear layers that get one, by the last part of their names, such as ``q_proj``; by default all but the
    head."""


def _threads() -> int:
    """What is exported as OMP_NUM_THREADS, of whose levels of nesting the first counts; else 2."""
    exported = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(exported) if exported.isdecimal() and int(exported) else 2


class EngineSettings(Settings):
    """Which engine writes and learns, and how it uses the machine."""

    kind: str = "local"
    """``local``: in this process. Or ``module:Class`` of one's own."""
    slots: int = Field(128, ge=1)
    """Sessions whose keys and values are cached at once, of each policy that writes; more of them wait."""
    cache_tokens: int | None = Field(None, ge=128)
    """Tokens of all sessions of one policy together, at least ``limits.tokens``; by default there is room for the
    longest trajectory in every slot. Where they need more, some wait, and are read again."""
    threads: int = Field(default_factory=lambda: _threads(), ge=1, validate_default=True)
    """CPU threads; by default OMP_NUM_THREADS, where that is exported, else 2. Other counts give other last bits."""
    micro_batch_tokens: int = Field(4096, ge=1)
    """Tokens in one row of training, and new tokens of prompts and tool results in one forward."""
    device: str = "cpu"
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What models compute in and are held in; with ``bfloat16`` weights that move have a master in fp32 beside it."""
    lora: Lora = Lora()
    """Policies as adapters on one base that they share."""
    checkpointing: bool = False
    """Keep each layer's input alone for the backward, and compute the layer once more there: less memory, more time."""


class Policy(Settings):
    """A set of weights that starts as the base model."""

    lr: float = Field(2e-4, ge=0)
    """The optimiser's learning rate."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """``muon``: Muon for the layers' matrices, beside AdamW: from random weights it needs far fewer steps."""
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    follows: str | None = None
    """The policy of which this one is the moving average; such a policy has no optimiser."""
    tau: float = Field(0.05, ge=0, le=1)
    """τ of the moving average ψ ← (1 − τ) ψ + τ θ (formula 6)."""


class LossSettings(Component):
    """A loss of ``piplay.algo.losses`` or of one's own; ``kind`` is by default the name that it stands under."""

    weight: Number = 1.0
    """What multiplies it. At 0 it is measured all the same."""

    @property
    def policy(self) -> str | None:
        """The policy that it asks about the same tokens, if any."""
        return self.options.get("policy")


class Learn(Settings):
    """How one role of a phase learns. Every number may be a schedule (see ``Schedule``)."""

    advantage: Component = Component(kind="group")
    """Of ``piplay.algo.advantages``, or of one's own."""
    losses: dict[str, LossSettings] = {"pg": LossSettings(kind="pg")}
    """By name; their sum is what is minimised."""
    turn_weight: Number = 0.0
    """What the rewards of single turns count beside the trajectory's."""
    gamma: Number = 1.0
    """How much a later turn's reward counts for an earlier turn."""
    lr: Number | None = None
    """The learning rate of this role's steps; by default its policy's."""
    updates: int = Field(1, ge=1)
    """Optimiser steps that a step's batch is split into, by whole groups. All but the first are off-policy: use a ratio
    with the sampler's log-probabilities (``losses.pg.old = "sampler"``)."""
    replay: ReplaySettings | None = None
    """Old samples that join each batch."""

    @field_validator("losses", mode="before")
    @classmethod
    def _kinds(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {n: {"kind": n, **loss} if isinstance(loss, Mapping) else loss for n, loss in value.items()}


class Until(Settings):
    """What ends a phase before its steps are played."""

    metric: str
    """A number of the phase's metrics."""
    above: float
    """The mean over ``steps`` steps in a row that ends the phase."""
    steps: int = Field(3, ge=1)


class Opponents(Settings):
    """Play against earlier selves: in each episode one of the roles that learn is live, the others are snapshots."""

    draw: Literal["latest", "uniform", "nash"]
    """``nash``: by the equilibrium of the table of payoffs that snapshots have won from each other."""
    every: int = Field(20, ge=1)
    """Steps between snapshots; the first is taken before the first step."""
    size: int = Field(16, ge=1)
    """Snapshots that are kept; the oldest goes first."""
    matches: int = Field(16, ge=1)
    """With ``nash``: episodes in which a new snapshot meets each of the others, half of them in each seat."""


class Phase(Settings):
    """A number of steps of one game. It learns, or writes tasks, or both."""

    name: str
    game: str
    """``module:Class`` below ``piplay.methods``, or of one's own."""
    seats: dict[str, str]
    """Role to policy."""
    tasks: str
    """The source of ``sources`` that it draws its tasks from."""
    steps: int = Field(50, ge=1)
    """W; for a phase that writes, the bound on its tries."""
    episodes: int = Field(20, ge=1)
    """Tasks a step."""
    temperature: float = Field(1.0, gt=0)
    """Of what is written. Gradients are those of temperature 1."""
    writes: int = Field(0, ge=0)
    """How many written tasks end the phase and become the task set; 0 for a phase that writes none."""
    writes_to: str = "written"
    """The source that gets them."""
    until: Until | None = None
    """Ends the phase early."""
    opponents: Opponents | None = None
    """Play against snapshots of the policies that learn; by default all seats are live."""
    learn: dict[str, Learn] = {}
    """Role to how it learns."""
    options: dict[str, Any] = {}
    """What the game's constructor takes."""

    @property
    def asked(self) -> set[str]:
        """The policies that its losses ask."""
        return {loss.policy for learn in self.learn.values() for loss in learn.losses.values() if loss.policy}

    @model_validator(mode="after")
    def _seated(self) -> Phase:
        for role in self.learn:
            if role not in self.seats:
                raise ValueError(f"{role} learns but has no seat")
        if self.opponents is not None and len(self.learn) < 1:
            raise ValueError("it has opponents, but no role learns against them")
        return self


class ReportSettings(Settings):
    """What is played for the report once a run is complete."""

    grid: int = Field(50, ge=0)
    """Tasks of each written set that the agent of every iteration plays; 0: its weights between iterations are not
    kept."""


class Config(Settings):
    """Everything that a run is."""

    name: str
    seed: int = Field(0, ge=0)
    iterations: int = Field(3, ge=1)
    """M, times that the list of phases is played."""
    phases: tuple[Phase, ...]
    policies: dict[str, Policy]
    model: Path | None = None
    """A Hugging Face folder; none is the embedded tiny base."""
    chat: Literal["auto", "native", "chat", "tags"] = "auto"
    """``native``: the tokenizer's own chat template and tool calls. ``chat``: tags such as <answer> within the
    template. ``tags``: the same in plain text, for any tokenizer. ``auto``: the first of these that can be played as
    the template would render it."""
    prompts: dict[str, str] = {}
    """Role to system prompt, in training and evaluation alike; a role without one has its game's."""
    environment: Component = Component(kind="search")
    """What is played in: ``search`` or another of ``piplay.envs``, or one's own."""
    sources: dict[str, Component] = {}
    """Where phases draw their tasks from, by name. ``written``, what phases write, is always there."""
    limits: Limits = Limits()
    engine: EngineSettings = EngineSettings()
    evaluation: Component | None = None
    """What is measured before training and after each iteration; of ``piplay.methods``, or one's own."""
    agent: str = ""
    """The policy that answers in the end: what ``ask``, ``eval`` and the report play; by default the one that learns
    last."""
    report: ReportSettings = ReportSettings()
    keep_rollouts: bool = True
    """Whether every trajectory is written to the run's folder ``rollouts``."""
    checkpoint_every: int = Field(5, ge=1)
    """Steps between checkpoints; the end of a phase always makes one."""
    trackers: tuple[Literal["tensorboard", "wandb"], ...] = ()
    """Where the numbers go besides metrics.jsonl."""

    @field_validator("sources")
    @classmethod
    def _with_written(cls, value: dict[str, Component]) -> dict[str, Component]:
        return {"written": Component(kind="written")} | value

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        if not self.agent:
            learning = [phase.seats[role] for phase in self.phases for role in phase.learn]
            # The settings are frozen for everyone else.
            object.__setattr__(self, "agent", learning[-1] if learning else next(iter(self.policies), ""))
        _check_names(self)
        for phase in self.phases:
            _check_learning(self, phase)
        _check_written(self)
        if self.engine.cache_tokens is not None and self.engine.cache_tokens < self.limits.tokens:
            raise ValueError(
                f"engine.cache_tokens is {self.engine.cache_tokens}, and a trajectory may have {self.limits.tokens} "
                "(limits.tokens): let there be room for one at least"
            )
        return self


def _check_names(config: Config) -> None:
    """Raises ``ValueError`` where a policy, a role or a source is named that is not there, or a name is no file's."""
    named = [policy for phase in config.phases for policy in (*phase.seats.values(), *sorted(phase.asked))]
    named += [policy.follows for policy in config.policies.values() if policy.follows]
    named += [config.agent]
    for name in named:
        if name not in config.policies:
            raise ValueError(f"there is no policy {name!r}{nearest(name, config.policies)}")
    roles = [role for phase in config.phases for role in phase.seats]
    for role, prompt in config.prompts.items():
        if role not in roles:
            raise ValueError(f"prompts: there is no role {role!r}{nearest(role, roles)}")
        check_text(prompt, f"prompts.{role}")
    for phase in config.phases:
        for source in (phase.tasks, phase.writes_to):
            if source not in config.sources:
                raise ValueError(
                    f"phase {phase.name}: there is no source {source!r}{nearest(source, config.sources)} in sources"
                )
    if not re.fullmatch(r"[\w+-][\w+. -]{0,99}", config.name):
        raise ValueError(
            f"the name {config.name!r} names a folder below runs/: take letters, digits, spaces, . _ + and -, not more "
            "than 100"
        )
    for what, names in (("phase", [phase.name for phase in config.phases]), ("policy", list(config.policies))):
        for name in names:
            if not re.fullmatch(r"[\w-]+", name):
                raise ValueError(f"the {what} {name!r} names files: take letters, digits, hyphens and underscores")
            if names.count(name) > 1:
                raise ValueError(f"two phases are called {name!r}: they would draw the same; name one otherwise")


def _check_learning(config: Config, phase: Phase) -> None:
    """Raises ``ValueError`` where a role cannot learn, or two that share a policy cannot learn in one step."""
    for role in phase.learn:
        if config.policies[phase.seats[role]].follows:
            raise ValueError(f"phase {phase.name}: {role} learns, but its policy follows another")
    for one, other in combinations(phase.learn, 2):
        if phase.seats[one] != phase.seats[other]:
            continue
        key = _conflict(phase.learn[one], phase.learn[other])
        if key:
            raise ValueError(
                f"phase {phase.name}: {one} and {other} train {phase.seats[one]} in one step, with different {key}: "
                "give them the same, or each a policy of its own"
            )


def _check_written(config: Config) -> None:
    """Raises ``ValueError`` where a phase plays written tasks before any are written."""
    first = next((phase for phase in config.phases if config.sources[phase.tasks].kind == "written"), None)
    if first is None:
        return
    before = config.phases[: config.phases.index(first)]
    if not any(phase.writes and phase.writes_to == first.tasks for phase in before):
        raise ValueError(f"phase {first.name} plays written tasks, but no phase before it writes any")


def _conflict(one: Learn, other: Learn) -> str | None:
    """What two roles that are trained in one step have to agree on, and do not."""
    for key in ("lr", "updates"):
        if getattr(one, key) != getattr(other, key):
            return key
    for name in one.losses.keys() & other.losses.keys():
        mine, yours = one.losses[name], other.losses[name]
        if (mine.kind, mine.options) != (yours.kind, yours.options):
            return f"losses.{name}"
    return None


def recipes() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(file.name.removesuffix(".toml") for file in _recipe_folder().iterdir() if file.name.endswith(".toml"))


def load_config(recipe: str | Path | Config, overrides: Mapping[str, object]) -> Config:
    """A recipe by name or path, or settings, with dotted overrides such as ``{"policies.student.lr": "1e-4"}``.

    A phase is named in an override by its name: ``phases.study.steps``. Text is read as TOML where it can be; any other
    value is taken as it is. Raises ``InputError`` for a recipe or a key that does not exist, with the nearest that
    does, and for a value of the wrong kind.
    """
    if isinstance(recipe, Config):
        tree, where = recipe.model_dump(mode="json"), recipe.name
    else:
        tree, where = _read_recipe(str(recipe))
    environment = tree.get("environment", {"kind": "search"})
    tree["environment"] = {"kind": environment} if isinstance(environment, str) else environment
    for key, value in overrides.items():
        check_text(key, "a setting's name")
        _set(tree, key, value)
    return validated(tree, where)


def _read_recipe(recipe: str) -> tuple[dict[str, Any], str]:
    """The tree of a recipe by name or path, and what to call it in a message."""
    path = Path(recipe)
    if path.suffix == ".toml":
        if not path.is_file():
            raise InputError(f"there is no recipe file {path}")
        text, where = _read(path), str(path)
    elif recipe in recipes():
        text, where = (_recipe_folder() / f"{recipe}.toml").read_text(encoding="utf-8"), recipe
    else:
        raise InputError(
            f"there is no recipe {recipe!r}{nearest(recipe, recipes())}: give {', '.join(recipes())} or a .toml file"
        )
    try:
        return tomllib.loads(text), where
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"recipe {where} is not valid TOML: {error}") from error


def validated(tree: Mapping[str, Any], where: str) -> Config:
    """The checked tree. Raises ``InputError`` naming the first setting that is wrong."""
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        problem = error.errors()[0]
        key = _dotted(tree, problem["loc"])
        if problem["type"] == "extra_forbidden":
            known = _known(problem["loc"][:-1])
            message = f"there is no setting {key!r}{nearest(str(problem['loc'][-1]), known)}"
        elif problem["type"] == "missing":
            message = f"the setting {key!r} is missing: give it"
        else:
            said = problem["msg"].removeprefix("Value error, ")
            if problem["type"] != "value_error":
                said += f", not {problem['input']!r}"
            message = f"{key}: {said}" if key else said
        raise InputError(f"recipe {where}: {message}") from error


def _dotted(tree: Mapping[str, Any], location: tuple[int | str, ...]) -> str:
    """A place of the tree as an override has it: a phase by its name."""
    parts = [str(part) for part in location]
    if len(location) > 1 and location[0] == "phases" and isinstance(location[1], int):
        phase = tree["phases"][location[1]]
        parts[1] = str(phase.get("name", location[1])) if isinstance(phase, Mapping) else parts[1]
    return ".".join(parts)


def _is_path(tree: dict[str, Any], node: dict[str, Any], name: str) -> bool:
    """Whether a setting of the run or of its environment is a path, of which no TOML is read."""
    if node is tree:
        return name == "model"
    if node is not tree["environment"]:
        return False
    return name in path_options(resolve(node["kind"], "environment", "piplay.envs"))


def _of_environment(tree: dict[str, Any], name: str) -> dict[str, Any]:
    """The environment's part of the tree, for a setting that stands without it: ``--corpus`` for search's corpus.

    Raises ``InputError`` where neither the run nor its environment has such a setting.
    """
    environment: dict[str, Any] = tree["environment"]
    known = options_of(resolve(environment["kind"], "environment", "piplay.envs"))
    if name not in known:
        close = nearest(name, [*Config.model_fields, *known])
        raise InputError(f"there is no setting {name!r} of a run or its environment {environment['kind']}{close}")
    return environment


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8") from error


def _recipe_folder() -> Any:
    return resources.files("piplay") / "recipes"


def _known(location: Sequence[int | str]) -> list[str]:
    """The settings that exist at a place of the tree."""
    model = _model_at(location)
    return list(model.model_fields) if model is not None else []


def _is_component(location: Sequence[int | str]) -> bool:
    """Whether a class is named at a place of the tree, so that a text there is its ``kind``."""
    model = _model_at(location)
    return model is not None and issubclass(model, Component)


def _model_at(location: Sequence[int | str]) -> type[BaseModel] | None:
    """The settings' class at a place of the tree; None where there is a value, or nothing."""
    model: Any = Config
    for part in location:
        model = _one_of(model)
        if isinstance(model, type) and issubclass(model, BaseModel):
            model = model.model_fields[str(part)].annotation if str(part) in model.model_fields else None
        elif get_origin(model) in (tuple, dict):
            model = [argument for argument in get_args(model) if argument is not Ellipsis][-1]
    model = _one_of(model)
    return model if isinstance(model, type) and issubclass(model, BaseModel) else None


def _one_of(model: Any) -> Any:
    """Of ``X | None`` X."""
    if get_origin(model) in (Union, UnionType):
        return next((kind for kind in get_args(model) if kind is not type(None)), None)
    return model


def _set(tree: dict[str, Any], key: str, value: object) -> None:
    """Put one override into the tree; text is read as TOML where it can be, a path never."""
    node: Any = tree
    place: list[str] = []
    *parents, last = key.split(".")
    for written in parents:
        if isinstance(node, list):
            names = [phase.get("name", "") for phase in node]
            part = written if written in names else written.replace("-", "_")
            if part not in names:
                raise InputError(f"there is no phase {part!r} in {key!r}{nearest(part, names)}")
            node = node[names.index(part)]
            place.append(part)
        else:
            part = written if written in node else written.replace("-", "_")
            policies = tree.get("policies", {})
            if node is policies and part not in policies:
                raise InputError(f"there is no policy {part!r} in {key!r}{nearest(part, policies)}")
            place.append(part)
            if isinstance(node.get(part), str) and _is_component(place):
                node[part] = {"kind": node[part]}
            node = node.setdefault(part, {})
        if not isinstance(node, dict | list):
            raise InputError(f"there is no setting {key!r}: {part!r} is a value")
    if isinstance(node, list):
        raise InputError(f"{key!r} names a phase, not a setting of it")
    last = last if last in node else last.replace("-", "_")
    if node is tree and last not in Config.model_fields:
        node = _of_environment(tree, last)
    if isinstance(value, str | Path):
        check_text(str(value), key)
    if isinstance(value, Path):
        value = str(value)
    elif isinstance(value, str) and not _is_path(tree, node, last):
        # What is no TOML is text that stands without quotes.
        with suppress(tomllib.TOMLDecodeError, RecursionError):
            value = tomllib.loads(f"value = {value}")["value"]
    node[last] = value
