"""What games, losses and the loop know of an engine: the same for one process and for a cluster."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from piplay.types import Floats, Ints, Key, PolicyRef, Sample


@dataclass(frozen=True, slots=True)
class Generate:
    """A turn to be written: tokens are drawn until one ends the turn, or ``max_new``."""

    key: Key
    """Names the draws: ``stream(seed, key)`` gives one uniform a token, in order."""
    policy: PolicyRef
    ids_T: Ints
    """The whole context so far."""
    session: Key
    """Whose key–value cache may be extended. A hint: it never changes the distribution."""
    max_new: int
    """The most tokens to draw, at least 1."""
    temperature: float
    """Above 0: sample from the whole distribution (no top-p, no top-k). 0: greedy. Rollouts to learn from have 1."""

    def __post_init__(self) -> None:
        if len(self.ids_T) == 0 or self.max_new < 1 or not 0 <= self.temperature < math.inf:
            raise ValueError(
                f"request {self.key} needs a context, max_new ≥ 1 and a temperature ≥ 0; "
                f"it has {len(self.ids_T)} ids, {self.max_new} and {self.temperature}"
            )


@dataclass(frozen=True, slots=True)
class Generated:
    """The turn that was written."""

    key: Key
    ids: Ints
    logprobs: Floats
    """Log-probability of each token at temperature 1, also where it was chosen greedily."""
    closed: bool
    """Whether its last token ended the turn: an end token, or one that completes a text that does."""


@dataclass(slots=True)
class Usage:
    """What writing took, counted from the engine's start. A step is one forward of one policy."""

    steps: int = 0
    drawn: int = 0
    """Tokens written."""
    room: int = 0
    """Tokens that the steps could have written: each one for the most sessions that had a slot at once until then."""
    prefilled: int = 0
    """Tokens of prompts and tool results that were computed, and of all that had to be read again."""
    shared: int = 0
    """Tokens of prompts and tool results that were not, because another session had the same before it."""
    evicted: int = 0
    """Tokens of sessions under way that made room for others': they are computed again, or copied where others are."""

    def since(self, before: Usage) -> dict[str, float]:
        """``occupancy`` (``drawn`` over ``room``), ``prefilled``, ``shared`` and ``evicted`` since ``before``."""
        room = self.room - before.room
        return {
            "occupancy": (self.drawn - before.drawn) / room if room else 0.0,
            "prefilled": self.prefilled - before.prefilled,
            "shared": self.shared - before.shared,
            "evicted": self.evicted - before.evicted,
        }


@dataclass(frozen=True, slots=True)
class Objective:
    """How ``train`` turns a sample's terms into a loss (docs/method.md, formula 5).

        loss = Σ_samples Σ_t  pg_t · L_t  +  distill_t · D_t  +  β · kl_t · k3_t

    over the tokens the model wrote. The weights come averaged in ``Sample.terms``; λ and the advantage are in them,
    β is here. One call is one strictly on-policy step, so the importance ratio is 1 by construction.
    """

    eps: float = 0.2
    """ε of the clipped ratio."""
    top_k: int = 32
    """Size of the student's top-k set in D; the rest of the vocabulary is one bucket."""
    beta: float = 0.0
    """β, multiplies the ``kl`` term."""
    teacher: str | None = None
    """The policy that scores the ``distill`` term behind ``Sample.teacher_prefix``."""
    reference: str | None = None
    """π_ref of the ``kl`` term."""


class Engine(Protocol):
    """Named policies that write turns and learn from samples."""

    deterministic: bool
    """Whether the same calls in the same order give the same bits."""

    def submit(self, request: Generate) -> None:
        """Queue a turn. Several policies and sessions may be pending at once; turns of one session wait in line."""

    def ready(self) -> list[Generated]:
        """Finished turns in submission order: at least one while anything is pending, else none."""

    def close(self, session: Key) -> None:
        """Forget a session's cache. It must have nothing pending."""

    def usage(self) -> Usage:
        """A copy of the counts so far."""

    def train(
        self, policy: str, samples: Sequence[Sample], objective: Objective, lr: float | None = None
    ) -> dict[str, float]:
        """One optimiser step on ``policy``, then one move of each policy that follows it.

        ``lr`` overrides the policy's own for this step. Where no token has a loss weight other than 0 the optimiser's
        step is left out (its moments would decay on nothing); the followers move all the same.
        """

    def save(self, folder: Path) -> None:
        """Write every policy and optimiser state, to the bit."""

    def load(self, folder: Path) -> None:
        """Read back what ``save`` wrote. Raises ``InputError`` where a file is missing, cut short or of another run."""

    def export(self, policy: str, folder: Path) -> None:
        """Write the live weights as an ordinary Hugging Face folder, tokenizer files included."""
