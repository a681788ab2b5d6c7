"""A tokenizer's chat template, rendered with marks in the place of what will be said.

A template is rendered at load only. Which messages it takes differs (a system role or none, arguments as an object or
as JSON text, reasoning as a field of its own or within the content): a ``Style`` says which way is tried.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from itertools import product
from typing import Any, Literal

from transformers import PreTrainedTokenizerBase

from piplay.types import Json, ToolSpec

SYSTEM, USER, SAY, THINK, VALUE = "zqSYSTEMqz", "zqUSERqz", "zqSAYqz", "zqTHINKqz", "zqVALUEqz"
NAME, KEY, OTHER_KEY, ARGUMENTS = "zqname", "zqfirst", "zqsecond", "zqarguments"
TOLD = 'zq"TOLD"qz'
"""With quotation marks: a template that gives tool results as JSON shows by them."""
DAY = date(2025, 1, 1)
"""The day in every prompt that names one: if it changed at midnight, it would be another run."""

_ASKS = re.compile(r"strftime_now\(\s*(['\"])(.*?)\1\s*\)")

Message = Mapping[str, Any]


class TemplateError(Exception):
    """What a template says where it cannot render."""


@dataclass(frozen=True, slots=True)
class Style:
    """How messages are given to a template."""

    folded: bool = False
    """Whether the system text stands in the first user's message, for templates without a system role."""
    reasoning: Literal["field", "inline", "none"] = "none"
    """Where a message has its reasoning: in ``reasoning_content`` and fields alike, within the content, or nowhere."""
    as_text: bool = False
    """Whether a call's arguments are given as JSON text."""
    blank: bool = True
    """Whether a message that only calls has an empty content; else its content is None."""
    numbered: bool = False
    """Whether a call's id is made of its tool's name, as ``functions.search:0``."""
    parts: bool = False
    """Whether a content is a list of parts, as templates of models that see take it."""
    written: str = ""
    """A call that the template itself never writes, with marks: then it stands in the content."""

    def start(self, system: str, user: str) -> list[Message]:
        """A conversation's first messages."""
        if self.folded:
            return [self.user(f"{system}\n\n{user}" if system else user)]
        return [{"role": "system", "content": self._content(system)}, self.user(user)]

    def user(self, said: str) -> Message:
        """A user's message."""
        return {"role": "user", "content": self._content(said)}

    def call(self, *calls: tuple[str, Json], think: str = "") -> Message:
        """A model's turn that calls tools, each by name and arguments."""
        if self.written:
            return self._thought(think, "\n".join(self._spelled(*call) for call in calls))
        message = self._thought(think, "")
        if not self.blank and (self.reasoning != "inline" or not think):
            message["content"] = None
        return message | {"tool_calls": [self._called(name, arguments) for name, arguments in calls]}

    def answer(self, say: str, think: str = "") -> Message:
        """A model's turn that calls nothing."""
        return self._thought(think, say)

    def result(self, name: str, told: str) -> Message:
        """A message with a tool's result."""
        return {"role": "tool", "content": self._content(told), "name": name, "tool_call_id": self._id(name)}

    def _thought(self, think: str, say: str) -> dict[str, Any]:
        inline = f"<think>{think}</think>" if think and self.reasoning == "inline" else ""
        message: dict[str, Any] = {"role": "assistant", "content": self._content(inline + say)}
        if think and self.reasoning == "field":
            message |= {"reasoning_content": think, "reasoning": think, "thinking": think}
        return message

    def _content(self, text: str) -> Any:
        return [{"type": "text", "text": text}] if self.parts else text

    def _spelled(self, name: str, arguments: Json) -> str:
        return self.written.replace(NAME, name).replace(ARGUMENTS, json.dumps(arguments, ensure_ascii=False))

    def _called(self, name: str, arguments: Json) -> dict[str, Any]:
        given = json.dumps(arguments, ensure_ascii=False) if self.as_text else arguments
        return {"id": self._id(name), "type": "function", "function": {"name": name, "arguments": given}}

    def _id(self, name: str) -> str:
        return f"functions.{name}:0" if self.numbered else "call00000"


def styles(like: Style) -> Iterator[Style]:
    """The ways to give a template turns with calls, the commonest first; the rest is as in ``like``."""
    for numbered, as_text, blank in product((False, True), (False, True), (True, False)):
        yield replace(like, numbered=numbered, as_text=as_text, blank=blank)


class Template:
    """The chat template of a tokenizer, told of some tools."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, tools: Sequence[ToolSpec]) -> None:
        self.tokenizer, self.tools = tokenizer, tuple(tools)

    def render(self, messages: Sequence[Message], begin: bool = True, without: ToolSpec | None = None) -> str:
        """The text of a conversation, up to where the model writes, or with ``begin`` False up to its last message.

        Raises ``TemplateError`` where the template does.
        """
        tools = [_function(tool) for tool in self.tools if tool is not without]
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    [dict(message) for message in messages],
                    tools=tools or None,
                    chat_template=self.source(bool(tools)),
                    add_generation_prompt=begin,
                    tokenize=False,
                    date_string=DAY.strftime("%d %b %Y"),
                )
            )
        except Exception as error:  # jinja raises what a template wants to say
            roles = ", ".join(message["role"] for message in messages)
            reason = str(error).strip().splitlines()
            raise TemplateError(
                f"that cannot render a conversation of {roles} ({reason[0] if reason else repr(error)})"
            ) from error

    @cache  # noqa: B019 (a template lives as long as its chat)
    def source(self, equipped: bool) -> str:
        """The template's text, for a chat with tools or without, in which every day that it asks for is ``DAY``."""
        source = str(self.tokenizer.get_chat_template(tools=[{}] if equipped else None))
        return _ASKS.sub(lambda asked: json.dumps(DAY.strftime(asked[2]), ensure_ascii=False), source)


def _function(tool: ToolSpec) -> dict[str, Any]:
    """A tool as templates take it."""
    function = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    return {"type": "function", "function": function}
