"""A scripted engine and searcher, and stories made by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from piplay.chat.base import Chat
from piplay.engine.protocol import Generate, Generated
from piplay.envs.search.question import Passage, show
from piplay.envs.search.searcher import Searcher
from piplay.envs.search.tool import SearchTool, search
from piplay.rollout.context import Context
from piplay.rollout.tools import Tool, ToolError
from piplay.settings import Limits
from piplay.types import Key, Owner, PolicyRef, StopReason, ToolResult, ToolUse, Trajectory, Turn

LIMITS = Limits(turns=4, turn_tokens=200, tokens=4000)
SEATS = {role: PolicyRef(role) for role in ("examiner", "student", "teacher")}
SEATS |= {role: PolicyRef("teacher") for role in ("checker", "reader")}


class ScriptedEngine:
    """Writes what a script says for each request, and hands turns out in whatever order a test wants."""

    deterministic = True

    def __init__(
        self,
        chat: Chat,
        script: Callable[[Generate], str],
        choose: Callable[[list[Generate]], Sequence[Generate]] = list,
    ) -> None:
        """``choose`` picks the requests that finish next, at least one, out of those that are pending."""
        self.chat, self.script, self.choose = chat, script, choose
        self.pending: list[Generate] = []
        self.seen: list[Generate] = []
        self.closed: list[Key] = []

    def submit(self, request: Generate) -> None:
        self.pending.append(request)
        self.seen.append(request)

    def ready(self, pause: Callable[[], bool] | None = None) -> list[Generated]:
        done = list(self.choose(list(self.pending)))
        self.pending = [request for request in self.pending if request.key not in {r.key for r in done}]
        return [self._write(request) for request in done]

    def close(self, session: Key) -> None:
        self.closed.append(session)
        self.pending = [request for request in self.pending if request.session != session]

    def _write(self, request: Generate) -> Generated:
        ids = np.array(self.chat.written(self.script(request))[: request.max_new], dtype=np.int64)
        text = self.chat.tokenizer.decode(ids)
        closed = ids[-1] in request.stop.ids or any(end in text for end in request.stop.texts)
        return Generated(request.key, ids, -np.ones(len(ids), np.float32), bool(closed), 0)


class DictSearcher:
    """Finds the passage whose title is the query; a query among ``down`` finds the tool broken."""

    def __init__(self, passages: Sequence[Passage], down: Sequence[str] = ()) -> None:
        self.passages, self.down = {passage.title: passage for passage in passages}, set(down)
        self.batches: list[list[str]] = []

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        self.batches.append(list(queries))
        if self.down.intersection(queries):
            raise ToolError("the index is down")
        return [[self.passages[query]][:k] if query in self.passages else [] for query in queries]


def tools(searcher: Searcher, top_k: int = 1) -> dict[str, Tool]:
    """The search tool over a searcher, by its name."""
    return {"search": SearchTool(searcher, top_k)}


def used(query: str, passages: Sequence[Passage]) -> ToolUse:
    """A search and what it found."""
    return ToolUse(search(query), ToolResult(show(passages), tuple(passages)))


def context(chat: Chat, key: Key = ("m1", "test", 0, 0), limits: Limits = LIMITS, temperature: float = 1.0) -> Context:
    return Context(key, chat, SEATS, limits, temperature)


def searching(query: str, think: str = "") -> str:
    """A turn that searches."""
    call = f'<tool_call>{{"name": "search", "arguments": {{"query": "{query}"}}}}</tool_call>'
    return (f"<think>{think}</think>" if think else "") + call


def says(content: str, think: str = "") -> str:
    """A turn that ends the episode."""
    return (f"<think>{think}</think>" if think else "") + content


def told(
    turns: Sequence[Turn],
    uses: Sequence[ToolUse] = (),
    stop: StopReason = StopReason.ANSWERED,
    role: str = "examiner",
    written: int = 3,
    key: Key = ("story",),
) -> Trajectory:
    """A trajectory of which only what it says matters: two prompt ids, ``written`` model ids a turn, one tool id."""
    owner = [Owner.PROMPT] * 2
    for number, _ in enumerate(turns):
        owner += [Owner.MODEL] * written + ([Owner.TOOL] if number < len(uses) else [])
    owner_T = np.array(owner, np.int8)
    logprobs_T = -(owner_T == Owner.MODEL).astype(np.float32)
    ids_T = np.arange(len(owner), dtype=np.int64)
    return Trajectory(key, role, SEATS[role], ids_T, owner_T, logprobs_T, 2, tuple(turns), tuple(uses), stop)


def turn(content: str = "", think: str = "", query: str | None = None) -> Turn:
    return Turn(content, think, content, None if query is None else search(query))
