"""What an advantage is: one number a trajectory, from a role's trajectories of one step.

One class in one file; a recipe names it as ``advantage`` of a role that learns. What it remembers is in ``state``, a
JSON dict that checkpoints keep.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from piplay.types import Floats, ScoredTrajectory


class Advantage(Protocol):
    """A class whose constructor takes ``state`` (see ``State``) and its options by name."""

    def __call__(self, scored: Sequence[ScoredTrajectory]) -> Floats:
        """One advantage a trajectory (N,), in the order of the episodes; called once a step."""
        ...
