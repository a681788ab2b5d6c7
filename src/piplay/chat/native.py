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
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from piplay.chat.base import Chat
from piplay.errors import InputError
from piplay.types import Ints, Turn

SEARCH_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "search",
        "description": "Finds passages about a query.",
        "parameters": {
            "type": "object",
            "properties": {"query": {"type": "string", "description": "What to look for."}},
            "required": ["query"],
        },
    },
}
_SYSTEM, _USER, _SAY, _QUERY = "⟦SYSTEM⟧", "⟦USER⟧", "⟦SAY⟧", "⟦QUERY⟧"
_FOUND = '⟦"FOUND"⟧'
"""With quotation marks: a template that gives tool results as JSON shows by them."""
_THINK_OPEN = "<think>\n"
_ASSISTANT = f"{_THINK_OPEN}⟦THINK⟧\n</think>\n\n{_SAY}"
_CALL = {"id": "call00000", "type": "function", "function": {"name": "search", "arguments": {"query": _QUERY}}}
_DATE = "01 Jan 2025"
"""For templates that name the day: a prompt that changes at midnight would be another run."""
_THINK = re.compile(r"<think>(.*?)</think>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Syntax:
    """How a template writes a search: ``opening {"name": "search", arguments: {"query": …}} closing``."""

    opening: str
    closing: str
    """Both empty where a turn that is nothing but JSON is the call."""
    before: str
    after: str
    """What stands around the query, tags included."""
    arguments: str
    """The JSON's key: ``arguments`` in Qwen's templates, ``parameters`` in Llama's."""

    def query(self, data: Any) -> str | None:
        """The query of a call's JSON, or None where it is none."""
        try:
            query = data[self.arguments]["query"] if data["name"] == "search" else None
            # Half of a surrogate pair can be written in JSON, and is no text.
            return query.strip() if isinstance(query, str) and query.strip().encode() else None
        except (TypeError, KeyError, UnicodeEncodeError):
            return None


class Native(Chat):
    """A tokenizer's chat template.

    Raises ``InputError`` where the template is missing, takes no tools, or rewrites what stood before: an append-only
    trajectory could not be what such a model was trained on. With ``rewrites`` the last is allowed: turns stay as they
    were written where the template would, for one, drop their reasoning.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, end_ids: Sequence[int] = (), *, rewrites: bool = False
    ) -> None:
        """``end_ids``: what else the model ends its turns with, beside the template's own token and the end of text."""
        super().__init__(tokenizer)
        if not tokenizer.chat_template:
            raise self._refusal("no chat template")
        start: list[dict[str, Any]] = [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": _USER}]
        found = {"role": "tool", "content": _FOUND, "name": "search", "tool_call_id": _CALL["id"]}
        turn: list[dict[str, Any]] = [{"role": "assistant", "content": _ASSISTANT}, found]
        call: list[dict[str, Any]] = [{"role": "assistant", "content": _ASSISTANT, "tool_calls": [_CALL]}, found]
        opening, first, second, called = (self._render(start + rest) for rest in ([], turn, turn * 2, call))
        self._json = _FOUND not in first
        shown = self._told(_FOUND)
        begun, _, tail = opening.partition(_USER)
        marks = (begun.count(_SYSTEM), opening.count(_USER), first.count(_SAY), first.count(shown))
        if marks != (1, 1, 1, 1) or opening == self._render(start, tools=None):
            raise self._refusal(
                "a chat template that does not show the tool, each message and the tool's result once and in order"
            )
        # Some templates open the reasoning themselves, in the prompt.
        self._thinks = opening.endswith(_THINK_OPEN)
        said = _ASSISTANT.removeprefix(_THINK_OPEN) if self._thinks else _ASSISTANT
        if not rewrites and not (first.startswith(opening + said) and second.startswith(first + said)):
            raise self._refusal(
                "a chat template that is not append-only (it rewrites earlier turns when one is added)",
                "use --chat native, which keeps turns as they were written all the same",
            )
        between, _, after = first.partition(_SAY)[2].partition(shown)
        if not second.endswith(_SAY + between + shown + after):
            raise self._refusal(
                "a chat template that puts something else around a tool's second result than around its first"
            )
        self._end = max(
            (token for token in tokenizer.get_added_vocab() if between.startswith(token)), key=len, default=""
        )
        if not self._end:
            raise self._refusal("a chat template that does not close a turn with a control token")
        head, _, middle = begun.partition(_SYSTEM)
        self._opening = (self._control(head), self._control(middle), self._control(tail))
        self._tool = (self._control(between.removeprefix(self._end)), self._control(after))
        self._call = self._syntax(called, opening, between + shown + after)
        ends = [tokenizer.convert_tokens_to_ids(self._end), tokenizer.eos_token_id, *end_ids]
        self.end_ids = tuple(dict.fromkeys(int(end) for end in ends if end is not None))

    def prompt(self, system: str, user: str) -> Ints:
        head, middle, tail = self._opening
        return np.array([*head, *self.encode(system), *middle, *self.encode(user), *tail], dtype=np.int64)

    def tool_turn(self, text: str) -> Ints:
        before, after = self._tool
        return np.array([*before, *self.encode(self._told(text)), *after], dtype=np.int64)

    def phrase(self, think: str = "", content: str = "", query: str | None = None) -> str:
        opened = "" if self._thinks else "<think>"
        call = "" if query is None else self._call.before + _escaped(query) + self._call.after
        return (f"{opened}{think}</think>" if think or self._thinks else "") + content + call

    def written(self, text: str) -> list[int]:
        return self._control(text + self._end)

    def parse(self, ids: Sequence[int]) -> Turn:
        """See ``Chat.parse``. Of several calls the first counts, and none within the reasoning does."""
        text = self._text(ids)
        # Bare JSON may stand behind a control token, as Llama's <|python_tag|>.
        told = text if self._call.opening else self._text(ids, skip_special_tokens=True)
        told = f"<think>{told}" if self._thinks else told
        think = _THINK.search(told)
        content, query, malformed = self._called(_THINK.sub("", told, count=1))
        return Turn(text, think.group(1).strip() if think else "", content, query, malformed)

    def _called(self, text: str) -> tuple[str, str | None, bool]:
        """What a turn says beside its call, the call's query, and whether it tries a call that cannot be read."""
        opening, closing = self._call.opening, self._call.closing
        if not opening:
            text = text.strip()
            if not text.startswith("{"):
                return text, None, False
            query = self._call.query(_leading_json(text)[0])
            return "", query, query is None
        call = re.compile(f"{re.escape(opening)}(.*?){re.escape(closing)}", re.DOTALL)
        first, content = call.search(text), call.sub("", text).strip()
        inner = first.group(1).strip() if first else ""
        data, length = _leading_json(inner)
        query = self._call.query(data) if length == len(inner) else None
        malformed = (query is None and opening in text) or opening in content
        return content, None if malformed else query, malformed

    def _syntax(self, called: str, opening: str, rest: str) -> _Syntax:
        """How a search reads, from the rendering of one that ``rest`` follows."""
        turn = called.removesuffix(rest)
        for begin in (match.start() for match in re.finditer(r"\{", turn)):
            data, length = _leading_json(turn[begin:])
            names = [key for key, value in data.items() if value == {"query": _QUERY}] if isinstance(data, dict) else []
            if turn != called and names and data.get("name") == "search":
                _, say, head = turn[:begin].rpartition(_SAY)
                head = (head if say else head.removeprefix(opening)).lstrip()
                before, _, after = turn[begin:].partition(_QUERY)
                return _Syntax(head.strip(), turn[begin + length :].strip(), head + before, after, names[0])
        raise self._refusal("a chat template that does not write a call as one JSON object with a name and arguments")

    def _told(self, text: str) -> str:
        """A tool's result as the template quotes it."""
        return _escaped(text) if self._json else text

    def _render(
        self, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]] | None = (SEARCH_TOOL,)
    ) -> str:
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    list(messages),
                    tools=tools and list(tools),
                    add_generation_prompt=True,
                    tokenize=False,
                    date_string=_DATE,
                )
            )
        except Exception as error:  # jinja raises what a template wants to say
            raise self._refusal(f"a chat template that cannot render a tool conversation ({error})") from error

    def _refusal(self, problem: str, instead: str = "use a chat model whose template takes tools") -> InputError:
        return InputError(
            f"the tokenizer of {self.tokenizer.name_or_path} has {problem}: {instead}, or --chat tags, which needs no "
            "template"
        )


def _leading_json(text: str) -> tuple[Any, int]:
    """The JSON value that a text begins with and its length, or (None, 0)."""
    try:
        return json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return None, 0


def _escaped(text: str) -> str:
    """Text as it stands between the quotation marks of a JSON string."""
    return json.dumps(text, ensure_ascii=False)[1:-1]
