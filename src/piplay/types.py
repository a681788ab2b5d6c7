"""The nouns every room shares: frozen, slotted, validated once at the border where they are made.

Axis suffixes on names: ``_T`` is one value per token of a trajectory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

Key = tuple[str | int, ...]
"""The whole path of a thing in a run, e.g. ``("m1", "examine", step, episode, "student", 3)``."""


Memory = dict[str, list[str]]
"""What a game remembers from step to step; kept in checkpoints."""


class Owner(IntEnum):
    """Who put a token into a trajectory. Only ``MODEL`` tokens are trained on."""

    PROMPT = 0
    MODEL = 1
    TOOL = 2


class StopReason(StrEnum):
    """Why a trajectory ended."""

    ANSWERED = "answered"
    """The model closed a turn that calls no tool."""
    MALFORMED = "malformed"
    """The model closed a turn whose tool call cannot be read, or, with tags, that neither searches nor answers."""
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
        """Whether a limit, not the model, ended it. Such an episode is paid 0 and trained."""
        return self in (StopReason.TURNS, StopReason.TURN_TOKENS, StopReason.TOTAL_TOKENS)


@dataclass(frozen=True, slots=True)
class Passage:
    """One retrievable piece of a corpus."""

    id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a question construction path (QCP)."""

    query: str
    """What was searched for; for the first step, the seed passage's title."""
    passage_id: str
    """The passage that came back first; empty when nothing did."""
    evidence: str
    """What the examiner took from that passage, in its own words."""


@dataclass(frozen=True, slots=True)
class Task:
    """What an episode is about. A seed for the examiner has no question yet; a student's task has one."""

    id: str
    hops: int
    question: str = ""
    answers: tuple[str, ...] = ()
    """The gold answer first, then its aliases."""
    source: Passage | None = None
    """The seed passage: kept on every written task, so that a wrong answer can be traced."""
    path: tuple[Step, ...] = ()
    """The QCP, first hop first."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One closed stretch of model tokens and what it says."""

    text: str
    """The tokens decoded, control tokens included: a view, never re-encoded."""
    think: str
    """The reasoning between the think tags, stripped; empty when the turn has none."""
    content: str
    """What remains beside reasoning and tool call, stripped."""
    query: str | None = None
    """The argument of a well-formed search call."""
    malformed: bool = False
    """Whether the turn tries what cannot be read."""


@dataclass(frozen=True, slots=True)
class Call:
    """A search that a trajectory made, and what came back, best first."""

    query: str
    passages: tuple[Passage, ...]


@dataclass(frozen=True, slots=True)
class PolicyRef:
    """A policy of the engine by name."""

    name: str


@dataclass(frozen=True, slots=True)
class Trajectory:
    """The ids one seat saw and wrote in one episode: append-only, never re-rendered."""

    key: Key
    role: str
    policy: PolicyRef
    ids_T: Ints
    owner_T: npt.NDArray[np.int8]
    logprobs_T: Floats
    """The sampler's log-probability of each model token at temperature 1; 0 elsewhere."""
    prompt_len: int
    turns: tuple[Turn, ...]
    calls: tuple[Call, ...]
    stop: StopReason

    @property
    def answer(self) -> str:
        """What the last turn says when the model ended the episode itself, else nothing."""
        return self.turns[-1].content if self.stop is StopReason.ANSWERED else ""


@dataclass(frozen=True, slots=True)
class Seat:
    """A trajectory with what its game made of it."""

    trajectory: Trajectory
    group: Key
    """Whose rewards its advantage is measured against: the question for students, the hop count for examiners."""
    reward: float = 0.0
    teacher_prefix: Ints | None = None
    """The teacher's prompt, which stands before the same response."""


@dataclass(frozen=True, slots=True)
class Episode:
    """One task as it was played, paid by its game."""

    key: Key
    task: Task
    seats: tuple[Seat, ...]
    written: Task | None = None
    """The task that an examiner wrote, where it passed every gate."""
    gate: str = ""
    """The first gate that refused what the examiner wrote; empty when none did."""
    facts: Mapping[str, float] = field(default_factory=dict)
    """What a game wants logged of an episode, e.g. ``{"k": 2, "r_d": 0.75, "r_f": 1.0}``."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One seat's view of one episode, for one policy: flat arrays of one length T."""

    key: Key
    role: str
    policy: PolicyRef
    group: Key
    ids_T: Ints
    owner_T: npt.NDArray[np.int8]
    logprobs_T: Floats
    reward: float
    terms: Mapping[str, Floats]
    """Weight of each token in each loss term: ``{"pg": advantage_T / tokens, "distill": lambda_T / ...}``.

    Weights are already averaged, and 0 where the model did not write: the trainer only sums weight times loss.
    """
    prompt_len: int
    teacher_prefix: Ints | None = None
    """Another prompt that stands before the same response, for the teacher."""
