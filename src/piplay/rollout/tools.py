"""What a tool is: a model calls it by name, the rollout takes the calls of all episodes to it together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from piplay.types import ToolCall, ToolResult, ToolSpec


class ToolError(Exception):
    """The tool itself failed (say, a server is down): neither an empty result nor the policy's doing."""


class Tool(Protocol):
    """Answers calls. The same call always gets the same answer, whatever the other calls are."""

    @property
    def spec(self) -> ToolSpec:
        """What a model is told of it."""
        ...

    def answer(self, calls: Sequence[ToolCall]) -> Sequence[ToolResult]:
        """One result a call, in order. Raises ``ToolError`` where the tool does not answer."""
        ...
