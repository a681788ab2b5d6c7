"""What trainer and samplers both know: versions, and what a sampler's process is told first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    """A sampler. Both ends of the socket pair import this, and only one of them vLLM."""

    model: Path
    seed: int
    """The run's; with a request's key it names the draws."""
    slots: int
    """The most sequences in one forward."""
    longest: int
    """The most tokens of a sequence."""
    cache_tokens: int | None
    """Tokens whose keys and values are kept; None: the longest sequence in every slot."""
    micro_batch_tokens: int
    """The most tokens in one forward."""
    device: str
    dtype: str
    threads: int
    rank: int
    """Of adapters; 0: whole weights are given."""
    adapters: int
    """Adapters in one forward at most."""
    tensor_parallel: int
    """GPUs that it shares its weights out over."""
    exact: bool
    """Whether what it computes of a turn is to be the same whatever else is in the batch."""
    gpus: tuple[int, ...] = ()
    """Those that it is to see; none: whatever its process sees."""


@dataclass(frozen=True, slots=True)
class Version:
    """The weights of a policy as they were after so many updates; its name is ``POLICY@UPDATES``."""

    policy: str
    """With a snapshot's name, where it is one: ``POLICY@SNAPSHOT``."""
    updates: int
    loads: int = 0
    """How many checkpoints were loaded before: behind each of them the same number of updates are other weights."""

    def __str__(self) -> str:
        return f"{self.policy}@{self.updates}" + (f".{self.loads}" if self.loads else "")
