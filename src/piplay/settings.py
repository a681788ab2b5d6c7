"""The parts of a run's settings, each checked by itself; ``config.py`` puts them together.

The formulas that settings refer to are those of docs/method.md.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from piplay.algo.schedules import Number
from piplay.registry import listed


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
    """``local``: in this process. ``vllm``: vLLM writes the turns, in processes of its own. ``ray``: these stand on the
    machines of a Ray cluster. Or ``module:Class``."""
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
    cuda_graphs: bool = False
    """Of the kind ``local``, on a CUDA device: replay each forward that only decodes as one CUDA graph."""
    trainers: int = Field(1, ge=1)
    """Of the kinds ``vllm`` and ``ray``: processes that learn from a part of each batch. Each has all adapters; whole
    weights they share out (FSDP2)."""
    min_trainers: int | None = Field(None, ge=1)
    """The fewest of ``trainers`` that a run starts or goes on with where there is no room for all; by default all."""
    samplers: int = Field(1, ge=1)
    """Of the kinds ``vllm`` and ``ray``: processes that write. Each holds all policies' adapters, or one's weights."""
    tensor_parallel: int = Field(1, ge=1)
    """Of the kinds ``vllm`` and ``ray``: GPUs of one machine that each sampler shares its weights and cache out over
    (tensor parallelism). It has to divide the model's attention heads."""
    placement: Literal["shared", "split"] = "shared"
    """Of the kinds ``vllm`` and ``ray``, on GPUs. ``shared``: trainers and samplers stand on the same ones, and take
    turns. ``split``: trainers have the last GPUs of this machine, samplers the others; of the kind ``ray`` the first
    trainer has the last GPU of this machine, and Ray places the others, as it does on CPUs."""
    exact: bool = False
    """Of the kinds ``vllm`` and ``ray``, on GPUs: what is computed depends neither on the batch nor on which thread is
    first (vLLM's batch invariance, torch's deterministic algorithms). Slower."""
    restarts: int = Field(3, ge=0)
    """Of the kinds ``vllm`` and ``ray``: how many samplers may die, and be started again, before the engine is lost."""
    address: str = "auto"
    """Of the kind ``ray``: the cluster. ``auto``: the one that this machine is of; empty: one that is started here."""

    @model_validator(mode="after")
    def _of_its_kind(self) -> EngineSettings:
        kinds = {
            "cuda_graphs": ("local",),
            "trainers": ("vllm", "ray"),
            "min_trainers": ("vllm", "ray"),
            "samplers": ("vllm", "ray"),
            "tensor_parallel": ("vllm", "ray"),
            "placement": ("vllm", "ray"),
            "exact": ("vllm", "ray"),
            "restarts": ("vllm", "ray"),
            "address": ("ray",),
        }
        for name, of in kinds.items():
            # By value: a run's own settings, read back, name them all.
            given = getattr(self, name) != type(self).model_fields[name].default
            if given and self.kind not in of and self.kind in ("local", "vllm", "ray"):
                raise ValueError(f'{name}: of engine.kind "{of[-1]}", and it is "{self.kind}": leave it out')
            if given and name in ("tensor_parallel", "placement", "exact") and self.device == "cpu":
                raise ValueError(f'{name}: of GPUs, and engine.device is "cpu": leave it out')
        if self.min_trainers is not None and self.min_trainers > self.trainers:
            raise ValueError(f"min_trainers is {self.min_trainers}, of {self.trainers} trainers: lower it")
        return self


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
    every: int = Field(1, ge=1)
    """It learns from each ``every``-th step's batch alone; what it played in the others is left."""
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
    snapshots: tuple[str, ...] = ()
    """Policies as they are before its first step, as ``policy@name``: losses of this phase and of later ones may ask
    them. Each iteration takes them anew."""
    opponents: Opponents | None = None
    """Play against snapshots of the policies that learn; by default all seats are live."""
    learn: dict[str, Learn] = {}
    """Role to how it learns."""
    options: dict[str, Any] = {}
    """What the game's constructor takes."""

    @property
    def asked(self) -> set[str]:
        """The policies and snapshots that its losses ask."""
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
