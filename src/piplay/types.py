"""The nouns every room shares: frozen, slotted, validated once at the border where they are made.

Axis suffixes on names: ``_T`` is one value per token of a trajectory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

Json: TypeAlias = Any
"""What JSON can hold: None, bool, int, float, str, and lists and dicts of these."""

Key = tuple[str | int, ...]
"""The whole path of a thing in a run, e.g. ``("m1", "examine", step, episode, "student", 3)``."""

State = dict[str, Json]
"""What a game, a task source, an advantage or an evaluation remembers from step to step; kept in checkpoints."""


class Owner(IntEnum):
    """Who put a token into a trajectory. Only ``MODEL`` tokens are trained on."""

    PROMPT = 0
    MODEL = 1
    TOOL = 2
    USER = 3
    """What the model is told between its turns: by a person, an opponent or the game."""


class StopReason(StrEnum):
    """Why a trajectory ended."""

    ANSWERED = "answered"
    """The model closed a turn that calls no tool, or the game closed the dialogue."""
    MALFORMED = "malformed"
    """The model closed a turn whose tool call cannot be read, or, with tags, that neither calls a tool nor answers."""
    TURNS = "turns"
    """The model called a tool in its last permitted turn."""
    TURN_TOKENS = "turn_tokens"
    """A turn reached its token limit before it was closed."""
    TOTAL_TOKENS = "total_tokens"
    """The trajectory reached its token limit."""
    TOOL_FAILED = "tool_failed"
    """The tool itself failed: masked out of training, counted, not the policy's doing."""

    @property
    def truncated(self) -> bool:
        """Whether a limit, not the model, ended it. Such a trajectory has no answer and is trained."""
        return self in (StopReason.TURNS, StopReason.TURN_TOKENS, StopReason.TOTAL_TOKENS)


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as a model is told of it."""

    name: str
    """Letters, digits and underscores; with tags also the name of its tag."""
    description: str
    parameters: Mapping[str, Json]
    """A JSON schema of type object. With tags a tool of one text is called by that text, any other by JSON."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A well-formed call: a tool that there is, with arguments that fit its schema."""

    name: str
    arguments: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool answered."""

    text: str
    """What the model reads."""
    data: Any = None
    """What the game reads: for a search the passages, best first."""


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A call that a trajectory made, and what came back."""

    call: ToolCall
    result: ToolResult


@dataclass(frozen=True, slots=True)
class Task:
    """What an episode is about. An environment's or a game's own tasks are subclasses with fields of their own."""

    kind: ClassVar[str] = "task"
    """Names the class in files; each subclass has its own."""
    id: str

    def row(self) -> dict[str, Json]:
        """The columns that it has in the rollouts on disk, beside its id."""
        return {}


@dataclass(frozen=True, slots=True)
class Turn:
    """One closed stretch of model tokens and what it says."""

    text: str
    """The tokens decoded, control tokens included: a view, never encoded again."""
    think: str
    """The reasoning between the think tags, stripped; empty when the turn has none."""
    content: str
    """What remains beside reasoning and tool call, stripped."""
    call: ToolCall | None = None
    """A well-formed tool call."""
    malformed: bool = False
    """Whether the turn tries what cannot be read."""


@dataclass(frozen=True, slots=True)
class Stop:
    """What ends a turn, as data: any engine can look for it while it decodes."""

    ids: tuple[int, ...]
    """Tokens that do."""
    texts: tuple[str, ...] = ()
    """Texts that do, with the token that completes one of them."""


@dataclass(frozen=True, slots=True)
class PolicyRef:
    """A policy of the engine by name: as it is now, or as it was when a snapshot was taken."""

    name: str
    snapshot: str = ""
    """Empty: the live policy, the only one that is trained."""

    @classmethod
    def of(cls, text: str) -> PolicyRef:
        """Of ``policy`` or ``policy@snapshot``, as ``str`` gives it."""
        name, _, snapshot = text.partition("@")
        return cls(name, snapshot)

    @property
    def live(self) -> bool:
        """Whether it is the policy as it is now."""
        return not self.snapshot

    def __str__(self) -> str:
        return f"{self.name}@{self.snapshot}" if self.snapshot else self.name


@dataclass(frozen=True, slots=True)
class ToolFailure:
    """A call that a tool did not answer."""

    call: ToolCall
    reason: str


@dataclass(frozen=True, slots=True)
class Trajectory:
    """The ids that one role saw and wrote in one episode: append-only, never rendered again."""

    key: Key
    role: str
    policy: PolicyRef
    ids_T: Ints
    owner_T: npt.NDArray[np.int8]
    logprobs_T: Floats
    """The sampler's log-probability of each model token at temperature 1; 0 elsewhere."""
    prompt_len: int
    turns: tuple[Turn, ...]
    uses: tuple[ToolUse, ...]
    """The tool calls that were answered, in order."""
    stop: StopReason
    version: int = 0
    """How many updates the policy had seen when its last turn was written."""
    failure: ToolFailure | None = None
    """What ended it where a tool failed."""

    @property
    def answer(self) -> str:
        """What the last turn says when the model ended the episode itself, else nothing."""
        return self.turns[-1].content if self.turns and self.stop is StopReason.ANSWERED else ""

    @property
    def tool_failed(self) -> bool:
        """Whether a tool's failure ended it: it says nothing about who wrote it, and nothing is learnt from it."""
        return self.stop is StopReason.TOOL_FAILED


@dataclass(frozen=True, slots=True)
class ScoredTrajectory:
    """A trajectory with what its game made of it."""

    trajectory: Trajectory
    group: Key
    """Whose rewards its advantage is measured against: the question for students, the hop count for examiners."""
    reward: float = 0.0
    views: Mapping[str, Ints] = field(default_factory=dict)
    """Other prompts that stand before the same response, by name: what a teacher sees."""
    turn_rewards: Floats | None = None
    """One reward a turn, besides ``reward``, which is for all of them."""
    mask_T: Bools | None = None
    """Of the model's tokens, those that are trained on; None: all."""
    weight: float = 1.0
    """How much it counts in every loss."""
    baseline: Key = ()
    """Whose running mean its reward is compared with, for advantages that keep one; empty: its role's."""


@dataclass(frozen=True, slots=True)
class Episode:
    """One task as it was played, rewarded by its game."""

    key: Key
    task: Task
    trajectories: tuple[ScoredTrajectory, ...]
    written: tuple[Task, ...] = ()
    """Tasks that it leaves for later phases."""
    facts: Mapping[str, float | str] = field(default_factory=dict)
    """What a game notes of an episode, for its metrics and the rollouts on disk: ``{"k": 2, "gate": "leak"}``."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One role's view of one episode, for one policy: flat arrays of one length T."""

    key: Key
    role: str
    policy: PolicyRef
    group: Key
    ids_T: Ints
    owner_T: npt.NDArray[np.int8]
    logprobs_T: Floats
    """The sampler's: the old log-probabilities of a ratio."""
    reward: float
    terms: Mapping[str, Floats]
    """Weight of each token in each loss: ``{"pg": advantage_T / tokens, "distill": lambda_T / ...}``.

    Weights are already averaged, and 0 where the model did not write: the trainer only sums weight times loss.
    """
    prompt_len: int
    views: Mapping[str, Ints] = field(default_factory=dict)
    """See ``ScoredTrajectory.views``."""
    advantage_T: Floats | None = None
    """The advantage of each token; None where nothing asks for it."""
