"""The model's own chat template, with its own tool calls, compiled once into pieces of ids.

Nothing about a family of models is known here: marks are rendered in the place of what is said, and what stands
between them is what a conversation is made of. So Qwen's ``<tool_call>`` and ``<tool_response>``, Llama's bare JSON and
its role ``ipython`` come out of their templates.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from piplay.chat.base import Chat
from piplay.chat.calls import json_text, leading_json
from piplay.errors import InputError
from piplay.types import Ints, Json, Stop, ToolCall, ToolSpec, Turn

_SYSTEM, _USER, _SAY, _VALUE = "⟦SYSTEM⟧", "⟦USER⟧", "⟦SAY⟧", "⟦VALUE⟧"
_NAME, _ARGUMENTS = "⟦NAME⟧", "⟦ARGUMENTS⟧"
_TOLD = '⟦"TOLD"⟧'
"""With quotation marks: a template that gives tool results as JSON shows by them."""
_THINK_OPEN = "<think>\n"
_START = [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": _USER}]
_ASSISTANT = {"role": "assistant", "content": f"{_THINK_OPEN}⟦THINK⟧\n</think>\n\n{_SAY}"}
_CALL_ID = "call00000"
_DATE = "01 Jan 2025"
"""For templates that name the day: a prompt that changes at midnight would be another run."""
_THINK = re.compile(r"<think>(.*?)</think>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Reply:
    """What a template writes between two model turns when a tool or a user speaks there."""

    text: str
    """All of it, from the end of one turn to the beginning of the next, with the mark ``_TOLD`` as it is shown."""
    end: str
    """The control token that closes the model's turn, with which the text begins."""
    before: list[int]
    after: list[int]
    """What stands around what is told, without the end."""
    quoted: bool
    """Whether what is told stands as a JSON string."""


@dataclass(frozen=True, slots=True)
class _Syntax:
    """How a template writes a call: ``opening {"name": …, arguments: {…}} closing``."""

    opening: str
    closing: str
    """Both empty where a turn that is nothing but JSON is the call."""
    frame: str
    """The whole call with marks in the place of its name and its arguments."""
    arguments: str
    """The JSON's key: ``arguments`` in Qwen's templates, ``parameters`` in Llama's."""
    compact: bool
    """Whether the arguments stand without spaces."""


class Native(Chat):
    """A tokenizer's chat template.

    Raises ``InputError`` where the template is missing, does not take the tools, or rewrites what stood before: an
    append-only trajectory could not be what such a model was trained on. With ``rewrites`` the last is allowed: turns
    stay as they were written where the template would, for one, drop their reasoning.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        tools: Sequence[ToolSpec] = (),
        end_ids: Sequence[int] = (),
        *,
        rewrites: bool = False,
    ) -> None:
        """``end_ids``: what else the model ends its turns with, beside the template's own token and the end of text."""
        super().__init__(tokenizer, tools)
        if not tokenizer.chat_template:
            raise self._refusal("no chat template")
        self._rewrites = rewrites
        self._begun = self._render(_START)
        before, _, tail = self._begun.partition(_USER)
        hidden = [tool for tool in self.tools if self._begun == self._render(_START, without=tool)]
        if hidden or (before.count(_SYSTEM), self._begun.count(_USER)) != (1, 1):
            raise self._refusal("a chat template that does not show each tool and each message once and in order")
        # Some templates open the reasoning themselves, in the prompt.
        self._thinks = self._begun.endswith(_THINK_OPEN)
        head, _, middle = before.partition(_SYSTEM)
        self._opening = (self._control(head), self._control(middle), self._control(tail))
        self._results = {tool.name: self._reply(_result(tool)) for tool in self.tools}
        replies = list(self._results.values())
        ends = [reply.end for reply in replies] or [self._end_of(self._render([*_START, _ASSISTANT]))]
        self._end = ends[0]
        self._syntax = self._syntax_of(self.tools[0], replies[0].text) if replies else None
        stops = [*tokenizer.convert_tokens_to_ids(ends), tokenizer.eos_token_id, *end_ids]
        self.stop = Stop(tuple(dict.fromkeys(int(end) for end in stops if end is not None)))

    def prompt(self, system: str, user: str) -> Ints:
        head, middle, tail = self._opening
        return np.array([*head, *self.encode(system), *middle, *self.encode(user), *tail], dtype=np.int64)

    def tool_turn(self, text: str, tool: str) -> Ints:
        return self._told(text, self._results[tool])

    def user_turn(self, text: str) -> Ints:
        """See ``Chat.user_turn``. Raises ``InputError`` where the template cannot put one behind a model's turn."""
        return self._told(text, self._user)

    def phrase(self, think: str = "", content: str = "", call: ToolCall | None = None) -> str:
        """See ``Chat.phrase``. Reasoning and content cannot hold what ends reasoning or begins a call."""
        opened = "" if self._thinks else "<think>"
        called = "" if call is None else self._called(call)
        return (f"{opened}{think}</think>" if think or self._thinks else "") + content + called

    def written(self, text: str) -> list[int]:
        return self._control(text + self._end)

    def parse(self, ids: Sequence[int]) -> Turn:
        """See ``Chat.parse``. Of several calls the first counts, and none within the reasoning does."""
        text = self._text(ids)
        # Bare JSON may stand behind a control token, as Llama's <|python_tag|>.
        bare = self._syntax is not None and not self._syntax.opening
        told = self._text(ids, skip_special_tokens=True) if bare else text
        told = f"<think>{told}" if self._thinks else told
        think = _THINK.search(told)
        content, call, malformed = self._read(_THINK.sub("", told, count=1))
        return Turn(text, think.group(1).strip() if think else "", content, call, malformed)

    def _read(self, text: str) -> tuple[str, ToolCall | None, bool]:
        """What a turn says beside its call, the call, and whether it tries a call that cannot be read."""
        if self._syntax is None:
            return text.strip(), None, False
        opening, closing = self._syntax.opening, self._syntax.closing
        if not opening:
            text = text.strip()
            if not text.startswith("{"):
                return text, None, False
            call = self._call(leading_json(text)[0], self._syntax.arguments)
            return "", call, call is None
        between = re.compile(f"{re.escape(opening)}(.*?){re.escape(closing)}", re.DOTALL)
        first, content = between.search(text), between.sub("", text).strip()
        inner = first.group(1).strip() if first else ""
        data, length = leading_json(inner)
        call = self._call(data, self._syntax.arguments) if length == len(inner) else None
        malformed = (call is None and opening in text) or opening in content
        return content, None if malformed else call, malformed

    def _call(self, data: Json, arguments: str) -> ToolCall | None:
        """The call that a JSON value is, where it is one."""
        return self._toolset.call(data.get("name"), data.get(arguments)) if isinstance(data, dict) else None

    def _called(self, call: ToolCall) -> str:
        """A call as the template writes it."""
        if self._syntax is None:
            raise ValueError(f"a chat without tools cannot call {call.name!r}")
        syntax, added = self._syntax, self.tokenizer.get_added_vocab()
        unspoken = (syntax.opening, syntax.closing, "<think>", "</think>", *added)
        arguments = json_text(dict(call.arguments), unspoken, syntax.compact)
        return syntax.frame.replace(_NAME, call.name).replace(_ARGUMENTS, arguments)

    def _told(self, text: str, reply: _Reply) -> Ints:
        told = self.encode(_quoted(text) if reply.quoted else text)
        return np.array([*reply.before, *told, *reply.after], dtype=np.int64)

    @cached_property
    def _user(self) -> _Reply:
        reply = self._reply({"role": "user", "content": _TOLD})
        if self.tokenizer.convert_tokens_to_ids(reply.end) not in self.stop.ids:
            raise self._refusal(
                f"a chat template that closes a turn before a user's with {reply.end}, which ends no turn"
            )
        return reply

    def _reply(self, message: dict[str, Any]) -> _Reply:
        """What stands around a message that follows a model's turn, checked on two such turns."""
        turn = [_ASSISTANT, message]
        first, second = self._render(_START + turn), self._render(_START + turn * 2)
        quoted = _TOLD not in first
        shown = _quoted(_TOLD) if quoted else _TOLD
        role = message["role"]
        if (first.count(_SAY), first.count(shown)) != (1, 1):
            raise self._refusal(f"a chat template that does not show a model's turn and a {role}'s once and in order")
        said = _ASSISTANT["content"].removeprefix(_THINK_OPEN) if self._thinks else _ASSISTANT["content"]
        if not self._rewrites and not (first.startswith(self._begun + said) and second.startswith(first + said)):
            raise self._refusal(
                f"a chat template that is not append-only (it rewrites earlier turns when a {role}'s is added)",
                "use --chat native, which keeps turns as they were written all the same",
            )
        text = first.partition(_SAY)[2]
        between, _, after = text.partition(shown)
        if not second.endswith(_SAY + text):
            raise self._refusal(
                f"a chat template that puts something else around a {role}'s second turn than its first"
            )
        end = self._end_of(first)
        return _Reply(text, end, self._control(between.removeprefix(end)), self._control(after), quoted)

    def _end_of(self, rendered: str) -> str:
        """The control token that closes the model's turn."""
        rest = rendered.partition(_SAY)[2]
        end = max((token for token in self.tokenizer.get_added_vocab() if rest.startswith(token)), key=len, default="")
        if not end:
            raise self._refusal("a chat template that does not close a turn with a control token")
        return end

    def _syntax_of(self, tool: ToolSpec, rest: str) -> _Syntax:
        """How calls read, from the rendering of one that ``rest`` follows."""
        arguments = {next(iter(tool.parameters.get("properties", {})), "value"): _VALUE}
        called = {"id": _CALL_ID, "type": "function", "function": {"name": tool.name, "arguments": arguments}}
        rendered = self._render([*_START, {**_ASSISTANT, "tool_calls": [called]}, _result(tool)])
        turn = rendered.removesuffix(rest)
        for begin in (match.start() for match in re.finditer(r"\{", turn)):
            data, length = leading_json(turn[begin:])
            keys = [key for key, value in data.items() if value == arguments] if isinstance(data, dict) else []
            if turn != rendered and keys and data.get("name") == tool.name:
                _, say, head = turn[:begin].rpartition(_SAY)
                head = (head if say else head.removeprefix(self._begun)).lstrip()
                frame, compact = _frame(turn[begin:], tool.name, arguments)
                return _Syntax(head.strip(), turn[begin + length :].strip(), head + frame, keys[0], compact)
        raise self._refusal("a chat template that does not write a call as one JSON object with a name and arguments")

    def _render(self, messages: Sequence[dict[str, Any]], without: ToolSpec | None = None) -> str:
        tools = [_function(tool) for tool in self.tools if tool is not without]
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    list(messages),
                    tools=tools or None,
                    add_generation_prompt=True,
                    tokenize=False,
                    date_string=_DATE,
                )
            )
        except Exception as error:  # jinja raises what a template wants to say
            roles = ", ".join(message["role"] for message in messages)
            raise self._refusal(f"a chat template that cannot render a conversation of {roles} ({error})") from error

    def _refusal(self, problem: str, instead: str = "") -> InputError:
        instead = instead or f"use {'a chat model whose template takes tools' if self.tools else 'another chat model'}"
        return InputError(
            f"the tokenizer of {self.tokenizer.name_or_path} has {problem}: {instead}, or --chat tags, which needs no "
            "template"
        )


def _function(tool: ToolSpec) -> dict[str, Any]:
    """A tool as templates take it."""
    function = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    return {"type": "function", "function": function}


def _result(tool: ToolSpec) -> dict[str, Any]:
    """A message with a tool's result, as templates take it."""
    return {"role": "tool", "content": _TOLD, "name": tool.name, "tool_call_id": _CALL_ID}


def _frame(call: str, name: str, arguments: Json) -> tuple[str, bool]:
    """A rendered call with marks for its name and its arguments, and whether the arguments stand without spaces."""
    starts = (match.start() for match in re.finditer(r"\{", call))
    start = next(start for start in starts if leading_json(call[start:])[0] == arguments)
    length = leading_json(call[start:])[1]
    frame = call[:start] + _ARGUMENTS + call[start + length :]
    named = re.sub(rf'("name"\s*:\s*"){name}"', rf'\g<1>{_NAME}"', frame, count=1)
    return named, not re.search(r"\s", call[start : start + length])


def _quoted(text: str) -> str:
    """Text as it stands between the quotation marks of a JSON string."""
    return json.dumps(text, ensure_ascii=False)[1:-1]
