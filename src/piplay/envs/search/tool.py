"""The search tool: a ``Searcher`` as models call it, and what of a trajectory is a search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from piplay.envs.search.question import Passage, show
from piplay.envs.search.searcher import Searcher
from piplay.types import ToolCall, ToolResult, ToolSpec, ToolUse, Trajectory

SEARCH = ToolSpec(
    "search",
    "Finds passages about a query.",
    {
        "type": "object",
        "properties": {"query": {"type": "string", "description": "What to look for."}},
        "required": ["query"],
    },
)


@dataclass(frozen=True, slots=True)
class SearchTool:
    """Passages for a query."""

    searcher: Searcher
    top_k: int = 1
    """Passages that one search returns."""
    spec: ToolSpec = SEARCH

    def answer(self, calls: Sequence[ToolCall]) -> list[ToolResult]:
        """See ``Tool.answer``; the data of a result are its passages, best first."""
        found = self.searcher.search([query_of(call) for call in calls], self.top_k)
        return [ToolResult(show(passages), tuple(passages)) for passages in found]


def search(query: str) -> ToolCall:
    """The call of the search tool for a query."""
    return ToolCall(SEARCH.name, {"query": query})


def query_of(call: ToolCall) -> str:
    """What a call of the search tool looks for."""
    return str(call.arguments["query"])


def passages_of(use: ToolUse) -> tuple[Passage, ...]:
    """What a search found, best first."""
    return tuple(use.result.data)


def searches(trajectory: Trajectory) -> list[ToolUse]:
    """The searches among a trajectory's tool calls, in order."""
    return [use for use in trajectory.uses if use.call.name == SEARCH.name]
