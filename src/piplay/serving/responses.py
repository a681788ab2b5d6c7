"""``/v1/responses``: what was thought as ``reasoning`` items, each search as a ``file_search_call`` with its results.

The answer is a message; the passages that hold it are its citations.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

from piplay.agent import Reply, searched
from piplay.envs.search.question import Passage
from piplay.envs.search.tool import passages_of
from piplay.serving.answers import check, tokens, told
from piplay.serving.asked import ApiError
from piplay.serving.questions import Ticket
from piplay.types import ToolUse, Turn

Tree = dict[str, Any]


def response(reply: Reply, model: str) -> Tree:
    """A whole answer."""
    made = _Response(model)
    for step in (*reply.steps, reply):
        for _ in made.events(step):
            pass
    return made.tree


async def events(ticket: Ticket, model: str) -> AsyncIterator[Tree]:
    """An answer as it comes, event by event; the last is ``response.completed``, ``.incomplete`` or ``.failed``."""
    made = _Response(model)
    yield made.event("response.created", response=dict(made.tree))
    yield made.event("response.in_progress", response=dict(made.tree))
    try:
        async for step in ticket.steps():
            if isinstance(step, Reply):
                check(step)
            for event in made.events(step):
                yield event
    except ApiError as error:
        failed = made.tree | {"status": "failed", "error": {"code": "server_error", "message": str(error)}}
        yield made.event("response.failed", response=failed)


@dataclass(slots=True)
class _Response:
    """A response while it grows, and the events that tell it."""

    model: str
    tree: Tree = field(init=False)
    _sent: int = 0

    def __post_init__(self) -> None:
        self.tree = {
            "id": f"resp_{secrets.token_hex(12)}",
            "object": "response",
            "created_at": int(time.time()),
            "status": "in_progress",
            "model": self.model,
            "output": [],
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "metadata": {},
            "parallel_tool_calls": False,
            "tool_choice": "auto",
            "tools": [],
            "usage": None,
        }

    def event(self, kind: str, **values: Any) -> Tree:
        made = {"type": kind, "sequence_number": self._sent, **values}
        self._sent += 1
        return made

    def events(self, step: Turn | ToolUse | Reply) -> Iterator[Tree]:
        """What a step adds, told and put into the tree."""
        match step:
            case Reply():
                yield from self._end(step)
            case Turn():
                if step.think:
                    yield from self._reasoning(step.think)
            case ToolUse() if (query := searched(step.call)) is not None:
                yield from self._search(query, passages_of(step))
            case ToolUse():
                yield from self._reasoning(told(step).strip())

    def _reasoning(self, text: str) -> Iterator[Tree]:
        item: Tree = {"type": "reasoning", "id": _id("rs"), "summary": []}
        place = {"item_id": item["id"], "output_index": len(self.tree["output"]), "summary_index": 0}
        part = {"type": "summary_text", "text": text}
        yield self._added(item)
        yield self.event("response.reasoning_summary_part.added", part=part | {"text": ""}, **place)
        yield self.event("response.reasoning_summary_text.delta", delta=text, **place)
        yield self.event("response.reasoning_summary_text.done", text=text, **place)
        yield self.event("response.reasoning_summary_part.done", part=part, **place)
        yield self._done(item | {"summary": [part]})

    def _search(self, query: str, found: tuple[Passage, ...]) -> Iterator[Tree]:
        item: Tree = {"type": "file_search_call", "id": _id("fs"), "queries": [query], "status": "in_progress"}
        place = {"item_id": item["id"], "output_index": len(self.tree["output"])}
        yield self._added(item | {"results": None})
        for state in ("in_progress", "searching", "completed"):
            yield self.event(f"response.file_search_call.{state}", **place)
        results = [{"file_id": one.id, "filename": one.name, "text": one.text, "attributes": {}} for one in found]
        yield self._done(item | {"status": "completed", "results": results})

    def _end(self, reply: Reply) -> Iterator[Tree]:
        notes = [
            {"type": "file_citation", "file_id": one.id, "filename": one.name, "index": len(reply.answer)}
            for one in reply.sources
        ]
        item: Tree = {"type": "message", "id": _id("msg"), "role": "assistant", "status": "in_progress", "content": []}
        place = {"item_id": item["id"], "output_index": len(self.tree["output"]), "content_index": 0}
        part: Tree = {"type": "output_text", "text": reply.answer, "annotations": notes, "logprobs": []}
        yield self._added(item)
        yield self.event("response.content_part.added", part=part | {"text": "", "annotations": []}, **place)
        yield self.event("response.output_text.delta", delta=reply.answer, logprobs=[], **place)
        for number, note in enumerate(notes):
            yield self.event("response.output_text.annotation.added", annotation=note, annotation_index=number, **place)
        yield self.event("response.output_text.done", text=reply.answer, logprobs=[], **place)
        yield self.event("response.content_part.done", part=part, **place)
        status = "incomplete" if reply.stop.truncated else "completed"
        yield self._done(item | {"status": status, "content": [part]})
        read, written = tokens(reply)
        self.tree |= {
            "status": status,
            "incomplete_details": {"reason": "max_output_tokens"} if reply.stop.truncated else None,
            "usage": {
                "input_tokens": read,
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": written,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": read + written,
            },
            "piplay": reply.to_dict(),
        }
        yield self.event(f"response.{status}", response=dict(self.tree))

    def _added(self, item: Tree) -> Tree:
        return self.event("response.output_item.added", output_index=len(self.tree["output"]), item=item)

    def _done(self, item: Tree) -> Tree:
        self.tree["output"] = [*self.tree["output"], item]
        return self.event("response.output_item.done", output_index=len(self.tree["output"]) - 1, item=item)


def _id(kind: str) -> str:
    return f"{kind}_{secrets.token_hex(12)}"
