"""An arm of an evaluation, and the part of a set that it plays at once."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from piplay.envs.search.question import Question
from piplay.envs.search.tool import SearchTool
from piplay.errors import InputError
from piplay.eval.contestants import Contestant
from piplay.eval.sets.answers import Row
from piplay.eval.sets.protocol import AGENT, CLOSED_BOOK, ROLE, Protocol
from piplay.eval.sets.summary import row_of
from piplay.rollout.context import Context, Request
from piplay.rollout.stage import Stage
from piplay.rollout.tools import Tool, ToolError
from piplay.settings import Limits
from piplay.types import Episode, ScoredTrajectory, ToolCall, ToolResult, ToolSpec, Trajectory

Ask = Callable[[Question, Context], Coroutine[Request, Any, Trajectory]]


@dataclass(slots=True)
class Watched:
    """A tool of which it is noted why it last failed."""

    tool: Tool
    reason: str = field(default="", init=False)

    @property
    def spec(self) -> ToolSpec:
        """The tool's."""
        return self.tool.spec

    def answer(self, calls: Sequence[ToolCall]) -> Sequence[ToolResult]:
        """See ``Tool.answer``."""
        try:
            return self.tool.answer(calls)
        except ToolError as failure:
            self.reason = str(failure)
            raise


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to put the questions to the model."""

    name: str
    stage: Stage
    policy: str
    tool: Watched
    ask: Ask


def arms_of(names: Sequence[str], protocol: Protocol, one: Contestant) -> list[Arm]:
    """The agent and the baselines, on the model's own engine and limits.

    Raises ``InputError`` where the model's chat cannot be played so, or what it searches has another tool.
    """
    [tool] = one.stage.tools.values()
    if not isinstance(tool, SearchTool):
        raise InputError(
            f"{one.name} plays with the tool {tool.spec.name!r}: sets are played with the search tool alone."
        )
    watched, limits = Watched(protocol.tool(tool)), Limits(**one.stage.limits.model_dump())
    torch.set_num_threads(one.settings["threads"])
    asks = {AGENT: protocol.agent, CLOSED_BOOK: protocol.closed_book}
    return [
        Arm(
            name,
            protocol.stage(name, one.stage, limits, watched),
            one.policy,
            watched,
            asks.get(name, protocol.one_search),
        )
        for name in names
    ]


def part(arm: Arm, name: str, tasks: Sequence[Question], start: int, count: int, note: Callable[[Row], None]) -> None:
    """Play the questions of a set from ``start`` on, greedily; each answer is noted as it comes."""

    async def play(task: Question, context: Context) -> Episode:
        trajectory = await arm.ask(task, context)
        return Episode(context.key, task, (ScoredTrajectory(trajectory, context.key),))

    def answered(episode: Episode) -> None:
        number = start + int(episode.key[-1])
        note(row_of(arm.name, name, number, tasks[number], episode.trajectories[0].trajectory))

    key = ("eval", arm.name, name, start)
    arm.stage.play(play, key, tasks[start : start + count], {ROLE: arm.policy}, 0.0, check=answered, tolerated=1.0)
