"""What a tool is: a model calls it by name, the rollout takes the calls of all episodes to it together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from piplay.errors import Unavailable
from piplay.types import ToolCall, ToolResult, ToolSpec


class ToolError(Exception):
    """The tool itself failed (say, a server is down): neither an empty result nor the policy's doing."""


class ToolTimeoutError(ToolError):
    """The tool did not answer within its ``timeout``."""


class ToolsFailed(Unavailable):
    """Too many trajectories ended because a tool failed for what was played to be of use."""

    def __init__(self, sentence: str, call: ToolCall) -> None:
        """``call``: one that was not answered."""
        super().__init__(sentence)
        self.call = call


class Tool(Protocol):
    """Answers calls. The same call always gets the same answer, whatever the other calls are.

    It may have ``timeout``, the seconds after which a batch of calls counts as failed (``ToolTimeoutError``); and
    ``patience``, those that a run waits for it to answer again before it ends. Without them nothing is cut short, and
    nothing is waited for.
    """

    @property
    def spec(self) -> ToolSpec:
        """What a model is told of it."""
        ...

    def answer(self, calls: Sequence[ToolCall]) -> Sequence[ToolResult]:
        """One result a call, in order. Raises ``ToolError`` where the tool does not answer."""
        ...
