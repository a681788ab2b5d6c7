"""One tree of settings per run: a recipe in TOML, changed by dotted overrides, checked before anything starts.

The formulas that settings refer to are those of docs/method.md.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from importlib import resources
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from piplay.errors import InputError, nearest


class Settings(BaseModel):
    """Frozen, and without room for a key that does not exist."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Search(Settings):
    """The search tool."""

    searcher: str = "bm25:BM25Searcher"
    """``module:Class`` below ``piplay.envs.search``, or of one's own; constructed with the passages, a sequence (of a
    large corpus one that reads them from disk)."""
    top_k: int = Field(1, ge=1)
    """Passages that one search returns."""
    passage_words: int = Field(50, ge=1)
    """Words of a passage, where a corpus is a folder of documents that are cut into passages."""


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


class EngineSettings(Settings):
    """How the local engine uses the machine."""

    slots: int = Field(128, ge=1)
    """Sessions whose keys and values are cached at once, of each policy that writes; more of them wait."""
    cache_tokens: int | None = Field(None, ge=128)
    """Tokens of all sessions of one policy together, at least ``limits.tokens``; by default there is room for the
    longest trajectory in every slot. Where they need more, some wait, and are read again."""
    threads: int = Field(2, ge=1)
    """CPU threads. Other counts give other last bits."""
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
    """AdamW's learning rate."""
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    follows: str | None = None
    """The policy of which this one is the moving average; such a policy has no optimiser."""
    tau: float = Field(0.05, ge=0, le=1)
    """τ of the moving average ψ ← (1 − τ) ψ + τ θ (formula 6)."""


class Learn(Settings):
    """How one seat of a phase learns."""

    pg: float = Field(1.0, ge=0)
    """Weight of the policy gradient."""
    delta: float = Field(1e-2, gt=0)
    """δ of the advantage (formulas 2 and 3)."""
    eps: float = Field(0.2, gt=0)
    """ε of the clipped ratio (formula 3)."""
    distill: float = Field(0.0, ge=0)
    """λ of the first iteration (formula 5)."""
    decay: float = Field(1.0, ge=0, le=1)
    """What λ is multiplied by from iteration to iteration."""
    teacher: str | None = None
    """The seat whose policy scores this one's tokens."""
    top_k: int = Field(32, ge=1)
    """The student's top-K tokens in D (formula 4)."""
    beta: float = Field(0.0, ge=0)
    """β of the KL to the reference policy."""
    reference: str | None = None
    """The policy that is π_ref, needed where β > 0: one that follows another with τ = 0 stays the base model."""


class Phase(Settings):
    """A number of steps of one game. It learns, or writes tasks, or both."""

    name: str
    game: str
    """``module:Class`` below ``piplay.methods``, or of one's own."""
    seats: dict[str, str]
    """Role to policy."""
    tasks: Literal["seeds", "written"]
    """What is played: seed passages with a hop count, or the tasks that an earlier phase wrote."""
    steps: int = Field(50, ge=1)
    """W; for a phase that writes, the bound on its tries."""
    episodes: int = Field(20, ge=1)
    """Tasks a step."""
    writes: int = Field(0, ge=0)
    """How many written tasks end the phase and become the task set; 0 for a phase that writes none."""
    until_solved: float = Field(0.0, ge=0, le=1)
    """Ends the phase early: once every sample solved this share of the tasks over three steps in a row, which leaves
    little to learn; 0: never."""
    learn: dict[str, Learn] = {}
    """Role to how it learns."""
    options: dict[str, Any] = {}
    """What the game's constructor takes."""

    @model_validator(mode="after")
    def _seated(self) -> Phase:
        for role, learn in self.learn.items():
            if role not in self.seats:
                raise ValueError(f"phase {self.name}: {role} learns but has no seat")
            if learn.distill and learn.teacher is None:
                raise ValueError(f"phase {self.name}: {role} is distilled but names no teacher seat")
            if learn.teacher is not None and learn.teacher not in self.seats:
                raise ValueError(f"phase {self.name}: {role}'s teacher {learn.teacher} has no seat")
            if learn.beta and learn.reference is None:
                raise ValueError(f"phase {self.name}: {role} has a KL weight but names no reference policy")
        return self


class Evaluation(Settings):
    """Measured between phases, greedily, with no randomness of the training."""

    policy: str = "student"
    """The policy that is measured."""
    per_hop: int = Field(100, ge=0)
    """Held-out questions of each hop count; 0 turns evaluation off."""
    probe_questions: int = Field(100, ge=0)
    """With a corpus, which has no held-out questions: those that the base examiner writes to measure by; 0: none."""
    teacher: str = "teacher"
    """The policy that plays the same questions with their true paths; empty for none."""
    teacher_every: int = Field(10, ge=0)
    """Every so many steps of a distilled phase the teacher plays some of its tasks with their paths; 0: never."""
    teacher_tasks: int = Field(32, ge=1)
    grid: int = Field(50, ge=0)
    """Tasks of each written set that the measured policy of every iteration plays at the end, for the report; 0: its
    weights between iterations are not kept."""


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
    chat: Literal["auto", "native", "tags"] = "auto"
    """``native``: the tokenizer's own chat template and tool calls. ``tags``: plain text with <search> and <answer>,
    for any tokenizer. ``auto``: native, but not where the template rewrites earlier turns."""
    prompts: dict[str, str] = {}
    """Role to system prompt, in training and evaluation alike; a role without one has its game's. A teacher reads what
    its student reads."""
    world: Path | None = None
    """A world folder; with neither world nor corpus the default world is made."""
    corpus: Path | None = None
    """Text to search; the truth of its questions is unknown."""
    hop_odds: tuple[int, ...] = (4, 3, 2, 1)
    """How often an examiner is asked for 1, 2, … hops."""
    hop_curriculum: float = Field(0.0, ge=0, le=1)
    """The share of seeds whose hop count is drawn in proportion to how often students were torn about it of late
    (``hop_odds`` times the share of tasks with 0 < k < n); 0: by ``hop_odds`` alone."""
    search: Search = Search()
    limits: Limits = Limits()
    engine: EngineSettings = EngineSettings()
    evaluation: Evaluation = Evaluation()
    checkpoint_every: int = Field(5, ge=1)
    """Steps between checkpoints; the end of a phase always makes one."""
    trackers: tuple[Literal["tensorboard", "wandb"], ...] = ()
    """Where the numbers go besides metrics.jsonl; as text, the names with commas between them."""

    @field_validator("trackers", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return [name.strip() for name in value.split(",")] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        if self.world is not None and self.corpus is not None:
            raise ValueError("a run has a world or a corpus, not both")
        named = [policy for phase in self.phases for policy in phase.seats.values()]
        named += [learn.reference for phase in self.phases for learn in phase.learn.values() if learn.reference]
        named += [policy.follows for policy in self.policies.values() if policy.follows]
        named += [self.evaluation.policy] + ([self.evaluation.teacher] if self.evaluation.teacher else [])
        for name in named:
            if name not in self.policies:
                raise ValueError(f"there is no policy {name!r}{nearest(name, self.policies)}")
        roles = [role for phase in self.phases for role in phase.seats]
        for role in self.prompts:
            if role not in roles:
                raise ValueError(f"prompts: there is no role {role!r}{nearest(role, roles)}")
        for what, names in (("phase", [phase.name for phase in self.phases]), ("policy", list(self.policies))):
            for name in names:
                if not re.fullmatch(r"[\w-]+", name):
                    raise ValueError(f"the {what} {name!r} names files: take letters, digits, hyphens and underscores")
                if names.count(name) > 1:
                    raise ValueError(f"two phases are called {name!r}: they would draw the same; name one otherwise")
        for phase in self.phases:
            for role in phase.learn:
                if self.policies[phase.seats[role]].follows:
                    raise ValueError(f"phase {phase.name}: {role} learns, but its policy follows another")
            for one, other in combinations(phase.learn, 2):
                key = _conflict(phase, phase.learn[one], phase.learn[other])
                if phase.seats[one] == phase.seats[other] and key:
                    raise ValueError(
                        f"phase {phase.name}: {one} and {other} train {phase.seats[one]} in one step, with different "
                        f"{key}: give them the same, or each a policy of its own"
                    )
        first = next((phase for phase in self.phases if phase.tasks == "written"), None)
        if first is not None and not any(p.writes for p in self.phases[: self.phases.index(first)]):
            raise ValueError(f"phase {first.name} plays written tasks, but no phase before it writes any")
        if self.engine.cache_tokens is not None and self.engine.cache_tokens < self.limits.tokens:
            raise ValueError(
                f"engine.cache_tokens is {self.engine.cache_tokens}, and a trajectory may have {self.limits.tokens} "
                "(limits.tokens): let there be room for one at least"
            )
        if not self.hop_odds or min(self.hop_odds) < 0 or sum(self.hop_odds) == 0:
            raise ValueError("hop_odds need one number ≥ 0 a hop count, not all of them 0")
        return self


def _conflict(phase: Phase, one: Learn, other: Learn) -> str | None:
    """What two roles that are trained in one step have to agree on, and do not."""
    if one.teacher and other.teacher and phase.seats[one.teacher] != phase.seats[other.teacher]:
        return "teacher"
    keys = ["eps"]
    keys += ["top_k"] if one.teacher and other.teacher else []
    keys += ["beta", "reference"] if one.beta and other.beta else []
    return next((key for key in keys if getattr(one, key) != getattr(other, key)), None)


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
    for key, value in overrides.items():
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
            f"there is no recipe {recipe!r}{nearest(recipe, recipes())}; give one of these or a .toml file"
        )
    try:
        return tomllib.loads(text), where
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"recipe {where} is not valid TOML: {error}") from error


def validated(tree: Mapping[str, Any], where: str) -> Config:
    """The checked tree. Raises ``InputError`` naming the first setting that is wrong."""
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            known = _known(problem["loc"][:-1])
            message = f"there is no setting {key!r}{nearest(str(problem['loc'][-1]), known)}"
        else:
            message = f"{key}: {problem['msg']}" if key else problem["msg"]
        raise InputError(f"recipe {where}: {message.removeprefix('Value error, ')}") from error


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8") from error


def _recipe_folder() -> Any:
    return resources.files("piplay") / "recipes"


def _known(location: tuple[int | str, ...]) -> list[str]:
    """The settings that exist at a place of the tree."""
    model: Any = Config
    for part in location:
        if isinstance(model, type) and issubclass(model, BaseModel):
            model = model.model_fields[str(part)].annotation if str(part) in model.model_fields else None
        elif get_origin(model) in (tuple, dict):
            model = [argument for argument in get_args(model) if argument is not Ellipsis][-1]
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []


def _set(tree: dict[str, Any], key: str, value: object) -> None:
    """Put one override into the tree; text is read as TOML where it can be, a path never."""
    node: Any = tree
    *parents, last = key.split(".")
    for written in parents:
        if isinstance(node, list):
            names = [phase.get("name", "") for phase in node]
            part = written if written in names else written.replace("-", "_")
            if part not in names:
                raise InputError(f"there is no phase {part!r} in {key!r}{nearest(part, names)}")
            node = node[names.index(part)]
        else:
            part = written if written in node else written.replace("-", "_")
            policies = tree.get("policies", {})
            if node is policies and part not in policies:
                raise InputError(f"there is no policy {part!r} in {key!r}{nearest(part, policies)}")
            node = node.setdefault(part, {})
        if not isinstance(node, dict | list):
            raise InputError(f"there is no setting {key!r}: {part!r} is a value")
    if isinstance(node, list):
        raise InputError(f"{key!r} names a phase, not a setting of it")
    last = last if last in node else last.replace("-", "_")
    if isinstance(value, str) and key not in ("model", "world", "corpus"):
        # What is no TOML is text that stands without quotes.
        with suppress(tomllib.TOMLDecodeError):
            value = tomllib.loads(f"value = {value}")["value"]
    node[last] = value
