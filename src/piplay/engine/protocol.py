"""What games, losses and the loop know of an engine: the same for one process and for a cluster.

An engine is a ``Sampler``, which writes turns, and a ``Trainer``, which owns the policies' weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from piplay.algo.losses.base import Loss
from piplay.errors import InputError, Unavailable
from piplay.types import Floats, Ints, Key, PolicyRef, Sample, Stop


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
    stop: Stop
    """What ends the turn."""

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
    version: int
    """How many updates the policy had seen when it wrote this; a snapshot's are those of when it was taken."""


@dataclass(slots=True)
class Usage:
    """What writing took, counted from the engine's start. A step is one forward of one policy."""

    steps: int = 0
    drawn: int = 0
    """Tokens written."""
    capacity: int = 0
    """Tokens that the steps could have written: each one for the most sessions that had a slot at once until then."""
    prefilled: int = 0
    """Tokens of prompts and tool results that were computed, and of all that had to be read again."""
    shared: int = 0
    """Tokens of prompts and tool results that were not, because another session had the same before it."""
    evicted: int = 0
    """Tokens of sessions under way that made room for others': they are computed again, or copied where others are."""

    def since(self, before: Usage) -> dict[str, float]:
        """``occupancy`` (``drawn`` over ``capacity``), ``prefilled``, ``shared`` and ``evicted`` since ``before``."""
        capacity = self.capacity - before.capacity
        return {
            "occupancy": (self.drawn - before.drawn) / capacity if capacity else 0.0,
            "prefilled": self.prefilled - before.prefilled,
            "shared": self.shared - before.shared,
            "evicted": self.evicted - before.evicted,
        }


class EngineLost(Unavailable):
    """The engine or a part of it died; the run can be resumed from its last checkpoint."""


class TooFewDevices(InputError):  # noqa: N818 (said of the machine)
    """There are fewer devices than the settings ask for; where a run had them before, it stops until it has them."""


class Sampler(Protocol):
    """Writes turns under named policies.

    How errors travel: a request that cannot be served (an unknown policy, more tokens than can be cached) raises
    ``ValueError``, by ``submit`` or, where turns are written elsewhere, by a later ``ready``. What goes wrong while
    turns are written raises by ``ready``. In both cases the run is over. Once a part of the engine has died, every call
    raises ``EngineLost``.
    """

    deterministic: bool
    """Whether the same calls in the same order give the same bits. The rollout then asks in an order that is always
    the same, and waits for tools; else turns are written while tools answer."""

    def submit(self, request: Generate) -> None:
        """Queue a turn. Several policies and sessions may be pending at once; turns of one session wait in line."""

    def ready(self, pause: Callable[[], bool] | None = None) -> list[Generated]:
        """Finished turns: at least one while anything is pending, else none.

        A deterministic engine gives them in the order of submission, others as they come. ``pause`` is asked now and
        then while turns are being written: once it is true, what is finished is given at once, be it nothing.
        """

    def close(self, session: Key) -> None:
        """Forget a session's cache, and give up the turn of it that is pending, if there is one."""

    def usage(self) -> Usage:
        """A copy of the counts so far."""


class Trainer(Protocol):
    """Owns the policies' weights."""

    def train(
        self, policy: str, samples: Sequence[Sample], losses: Mapping[str, Loss], lr: float | None = None
    ) -> dict[str, float]:
        """One optimiser step on ``policy``, then one move of each policy that follows it; its version rises by one.

            loss = Σ_samples Σ_t Σ_term  terms[term]_t · losses[term]_t      over the tokens the model wrote

        ``lr`` overrides the policy's own for this step. Where no token has a weight other than 0 the optimiser's step
        is left out (its moments would decay on nothing); the followers move all the same.
        """

    def score(self, policy: PolicyRef, samples: Sequence[Sample], view: str = "") -> list[Floats]:
        """Log-probabilities of the samples' tokens behind one of their views, by default their own prompt.

        One array (T,) a sample; 0 where the model did not write.
        """

    def read(self, policy: PolicyRef, samples: Sequence[Sample], losses: Mapping[str, Loss]) -> list[dict[str, Floats]]:
        """What each loss reports of each token, with the policy in the place of the trained one; nothing is learnt.

        One dict a sample: by ``TERM/NAME``, for every name in the loss's ``metrics``, an array (T,), 0 where the model
        did not write. The samples' own terms are not looked at; every weight is 0.
        """

    def snapshot(self, policy: str, name: str) -> PolicyRef:
        """Keep the policy as it is now under a name, to play and to be scored, until it is forgotten."""

    def forget(self, snapshot: PolicyRef) -> None:
        """Free a snapshot's weights. It must have nothing pending."""

    def save(self, folder: Path) -> None:
        """Write every policy, snapshot and optimiser state, to the bit."""

    def load(self, folder: Path) -> None:
        """Read back what ``save`` wrote. Raises ``InputError`` where a file is missing, cut short or of another run."""

    def export(self, policy: str, folder: Path) -> None:
        """Write the live weights as an ordinary Hugging Face folder, tokenizer files included."""


class Engine(Sampler, Trainer, Protocol):
    """Named policies that write turns and learn from samples."""
