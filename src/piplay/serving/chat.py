"""``/v1/chat/completions``: the answer in ``content``, thoughts and searches in ``reasoning_content``.

Steps and sources are under ``piplay``. Nothing is ever sent as ``tool_calls``, which clients would run.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

from piplay.agent import Reply
from piplay.serving.answers import check, reasoning, tokens, told
from piplay.serving.questions import Ticket

Tree = dict[str, Any]


def completion(reply: Reply, model: str) -> Tree:
    """A whole answer."""
    message = {"role": "assistant", "content": reply.answer, "reasoning_content": reasoning(reply), "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": _finish(reply), "logprobs": None}
    head = _head(model) | {"object": "chat.completion"}
    return head | {"choices": [choice], "usage": _usage(reply), "piplay": reply.to_dict()}


async def chunks(ticket: Ticket, model: str, with_usage: bool) -> AsyncIterator[Tree]:
    """An answer as it comes: each step's reasoning, the content, how it ended with ``piplay``, the usage if wanted."""
    head = _head(model) | {"object": "chat.completion.chunk"}

    def chunk(delta: Tree, finish: str | None = None) -> Tree:
        return head | {"choices": [{"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}]}

    yield chunk({"role": "assistant", "content": ""})
    async for step in ticket.steps():
        if not isinstance(step, Reply):
            if said := told(step):
                yield chunk({"reasoning_content": said})
            continue
        check(step)
        if step.answer:
            yield chunk({"content": step.answer})
        yield chunk({}, _finish(step)) | {"piplay": step.to_dict()}
        if with_usage:
            yield head | {"choices": [], "usage": _usage(step)}


def _head(model: str) -> Tree:
    return {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": int(time.time()), "model": model}


def _finish(reply: Reply) -> str:
    return "length" if reply.stop.truncated else "stop"


def _usage(reply: Reply) -> Tree:
    read, written = tokens(reply)
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
