"""What both APIs say of an answer: how it ended, what was thought and found, and how many tokens it took."""

from __future__ import annotations

from piplay.agent import Reply, searched, written_call
from piplay.envs.search.tool import passages_of
from piplay.serving.asked import ApiError
from piplay.types import Owner, StopReason, ToolUse, Turn


def told(step: Turn | ToolUse) -> str:
    """A step as lines of reasoning: the thought and the search, or what was found; empty for an answer alone."""
    if isinstance(step, Turn):
        lines = [step.think] if step.think else []
        if step.call is not None:
            query = searched(step.call)
            lines.append(f"calls {written_call(step.call)}" if query is None else f"searches: {query}")
    elif searched(step.call) is None:
        lines = [f"found: {step.result.text}"]
    else:
        lines = [f"found: {'; '.join(passage.name for passage in passages_of(step)) or 'nothing'}"]
    return "".join(f"{line}\n" for line in lines)


def reasoning(reply: Reply) -> str:
    """All of an answer's steps as they were told."""
    return "".join(map(told, reply.steps))


def check(reply: Reply) -> Reply:
    """The reply. Raises ``ApiError`` where the search tool failed, so that it says nothing of the question."""
    failure = reply.trajectory.failure
    if reply.stop is StopReason.TOOL_FAILED:
        raise ApiError(502, f"the search tool failed ({failure.reason if failure else 'without a reason'})")
    return reply


def tokens(reply: Reply) -> tuple[int, int]:
    """Those that the agent read, prompts and passages, and those that it wrote."""
    written = int((reply.trajectory.owner_T == Owner.MODEL).sum())
    return len(reply.trajectory.ids_T) - written, written
