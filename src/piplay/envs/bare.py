"""What is played in where a game brings all that it needs."""

from __future__ import annotations

from collections.abc import Sequence

from piplay.protocols import Audit
from piplay.rollout.tools import Tool
from piplay.types import Task


class BareEnvironment:
    """No tools to tell a role of, no truth, and no tasks that are held out."""

    tools: Sequence[Tool] = ()
    audit: Audit | None = None
    heldout: Sequence[Task] = ()

    def describe(self) -> str:
        """See ``Environment.describe``."""
        return "nothing but the game"
