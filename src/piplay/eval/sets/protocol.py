"""How a question is put to a model: as an agent that searches, from memory alone, or with one search done for it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from piplay.chat.base import Chat
from piplay.chat.choose import choose
from piplay.envs.search.question import Question
from piplay.envs.search.tool import SearchTool, search
from piplay.methods.pi_play.views import STUDENT, student_view
from piplay.rollout.context import Context, ToolRequest
from piplay.rollout.stage import Stage
from piplay.rollout.tools import Tool, ToolError
from piplay.settings import Limits
from piplay.types import StopReason, ToolResult, ToolUse, Trajectory

AGENT, CLOSED_BOOK, ONE_SEARCH = "agent", "closed-book", "one-search"
BASELINES = (CLOSED_BOOK, ONE_SEARCH)
ROLE = "student"


class Protocol(ABC):
    """Prompts, passages and limits of an evaluation."""

    name: ClassVar[str]
    defaults: ClassVar[Mapping[str, int]] = {}
    """Limits and ``top_k`` that it sets where the command says none."""
    chat_kind: ClassVar[str] = ""
    """The chat that it has to be loaded with; empty: any."""

    @abstractmethod
    def chat(self, arm: str, given: Chat) -> Chat:
        """The chat of an arm, made from the model's."""

    @abstractmethod
    def tool(self, tool: SearchTool) -> Tool:
        """The search tool as the agent reads it."""

    @abstractmethod
    async def agent(self, task: Question, context: Context) -> Trajectory:
        """The model searches as it likes."""

    @abstractmethod
    async def closed_book(self, task: Question, context: Context) -> Trajectory:
        """The model answers from memory."""

    @abstractmethod
    async def read(self, task: Question, passages: str, context: Context) -> Trajectory:
        """The model answers with what a search for the question found."""

    async def one_search(self, task: Question, context: Context) -> Trajectory:
        """One search for the question, and an answer by what it found."""
        call = search(task.question)
        try:
            result: ToolResult = await ToolRequest(call)
        except ToolError:
            return await context.open(ROLE, "", task.question).close(StopReason.TOOL_FAILED)
        trajectory = await self.read(task, result.text, context)
        return replace(trajectory, uses=(ToolUse(call, result),))

    def stage(self, arm: str, stage: Stage, limits: Limits, tool: Tool) -> Stage:
        """Where an arm is played; the tool is asked by the agent and for one search."""
        return replace(stage, chat=self.chat(arm, stage.chat), tools={tool.spec.name: tool}, limits=limits)


class AsTheRun(Protocol):
    """The student of the model's run: its prompts, chat and limits; its baselines' chats know no tool."""

    name = "run"

    def chat(self, arm: str, given: Chat) -> Chat:
        """The model's chat, without tools for a baseline."""
        return given if arm == AGENT else choose(given.kind, given.tokenizer, (), given.stop.ids)

    def tool(self, tool: SearchTool) -> Tool:
        """The tool as it is."""
        return tool

    async def agent(self, task: Question, context: Context) -> Trajectory:
        """See ``Protocol.agent``."""
        return await context.converse(ROLE, context.system(ROLE, STUDENT), student_view(task.question))

    async def closed_book(self, task: Question, context: Context) -> Trajectory:
        """See ``Protocol.closed_book``."""
        return await context.converse(ROLE, "Answer the question.", task.question)

    async def read(self, task: Question, passages: str, context: Context) -> Trajectory:
        """See ``Protocol.read``."""
        system = "Answer the question by the passages."
        return await context.converse(ROLE, system, f"{passages}\n\nQuestion: {task.question}")
