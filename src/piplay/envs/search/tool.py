"""The search tool: a ``Searcher`` as models call it, and what of a trajectory is a search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from piplay.envs.search.question import Passage, show
from piplay.envs.search.searcher import Searcher
from piplay.envs.search.words import beginning, length
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
    shown_words: int | None = None
    """Words of them all that it shows; by default all."""
    timeout: float | None = None
    """Seconds for a batch of searches; by default they are waited for."""
    patience: float = 0.0
    """Seconds that a run waits for a searcher that failed to answer again."""
    spec: ToolSpec = SEARCH

    def answer(self, calls: Sequence[ToolCall]) -> list[ToolResult]:
        """See ``Tool.answer``; the data of a result are its passages, best first."""
        found = self.searcher.search([query_of(call) for call in calls], self.top_k)
        shown = [cut(passages, self.shown_words) for passages in found]
        return [ToolResult(show(passages), passages) for passages in shown]


def cut(passages: Sequence[Passage], words: int | None) -> tuple[Passage, ...]:
    """The passages, their texts cut so that they have at most so many words together, titles aside.

    Each has the same share; what one leaves of its share the later ones have.
    """
    if words is None:
        return tuple(passages)
    left = float(words)
    shown: list[Passage] = []
    for passage in passages:
        text = beginning(passage.text, left / (len(passages) - len(shown)))
        left -= length(text)
        shown.append(passage if text == passage.text else replace(passage, text=f"{text} …"))
    return tuple(shown)


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
