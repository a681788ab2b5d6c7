"""The protocol of tags, Search-R1's convention (arXiv 2503.09516), for any tools: how it is told, and how it is read.

The model writes ``<think>…</think>``, calls a tool by ``<search>query</search>`` and at last writes
``<answer>…</answer>``; what a tool finds is put in as ``<information>…</information>``. A tool that takes one text is
called by that text, any other by a JSON object of its arguments. A turn ends with the token that completes the
closing tag of a tool or of the answer. Such a token may hold more, say ``>\\n``: it stays in the ids as it was sampled,
and what it holds behind the tag says nothing.

The tags are ordinary text, so what counts is who wrote them: only a turn's own ids are searched for tags. In text from
outside the protocol's tags are shown with other brackets, ‹search›, so that the model is not misled either.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from transformers import PreTrainedTokenizerBase

from piplay.chat.base import Chat
from piplay.chat.calls import json_text, leading_json
from piplay.chat.encoding import Foreign
from piplay.errors import InputError
from piplay.types import ToolCall, ToolSpec, Turn

_RESERVED = ("think", "answer", "information")


class Tagged(Chat):
    """A chat whose turns are marked by tags."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, tools: Sequence[ToolSpec] = ()) -> None:
        """Raises ``InputError`` for a tool that has the name of another tag."""
        super().__init__(tokenizer, tools)
        names = [tool.name for tool in self.tools]
        for name in names:
            if name in _RESERVED:
                raise InputError(
                    f"a tool is named {name!r}, which is a tag of its own in --chat {self.kind}: name it otherwise"
                )
        closing = (*names, "answer")
        self._stop_texts = tuple(f"</{name}>" for name in closing)
        self._closing = re.compile(f"</({'|'.join(closing)})>")
        self._tag = re.compile(f"<(/?(?:{'|'.join((*names, *_RESERVED))}))>")
        self._text_argument = {tool.name: _text_argument(tool) for tool in self.tools}

    def encode(self, text: str) -> list[int]:
        """Ids of text from outside: no added token and no tag of the protocol, whatever the text spells."""
        return super().encode(self._shown(text))

    def phrase(self, think: str = "", content: str = "", call: ToolCall | None = None) -> str:
        """See ``Chat.phrase``. An answer, and a call by a text, cannot hold a tag that ends a turn or begins theirs."""
        name, said = ("answer", content) if call is None else (call.name, self._said(call))
        return (f"<think>{think}</think>" if think else "") + f"<{name}>{said}</{name}>"

    def _closed(self, text: str) -> list[str]:
        """A turn's pieces, with what stands between the tags that count as plain text; none where no tag ends it."""
        closed = self._closing.search(text)
        if closed is None:
            return []
        before, opened, said = text[: closed.start()].rpartition(f"<{closed[1]}>")
        return [before + opened, Foreign(said), text[closed.start() :]]

    def parse(self, ids: Sequence[int]) -> Turn:
        """See ``Chat.parse``. The first closing tag counts, with the nearest that opens it, wherever they stand.

        A turn with neither a call nor an answer is malformed. A </think> that nothing opens ends reasoning that the
        prompt opened.
        """
        text = self._text(ids)
        closing = self._closing.search(text)
        name, told = (closing.group(1), text[: closing.start()]) if closing else ("", text)
        before, opened, said = told.rpartition(f"<{name}>") if closing else (told, "", "")
        call = self._called(name, said.strip()) if opened and name != "answer" else None
        return Turn(
            text,
            _thought(before if opened else told),
            said.strip() if name == "answer" else "",
            call,
            malformed=not opened or (name != "answer" and call is None),
        )

    def _information(self, text: str) -> list[str]:
        """The pieces of what a tool found."""
        return ["<information>\n", Foreign(self._shown(text)), "\n</information>"]

    def _shown(self, text: str) -> str:
        return self._tag.sub(r"‹\1›", text)

    def _called(self, name: str, said: str) -> ToolCall | None:
        """The call that a text between a tool's tags is, where it is one."""
        argument = self._text_argument[name]
        if argument is not None:
            return self._toolset.call(name, {argument: said})
        arguments, length = leading_json(said)
        return self._toolset.call(name, arguments) if length == len(said) else None

    def _said(self, call: ToolCall) -> str:
        """What stands between a tool's tags in a call of it."""
        argument = self._text_argument[call.name]
        if argument is not None:
            return str(call.arguments[argument])
        tags = [f"<{slash}{name}>" for name in (*self._text_argument, *_RESERVED) for slash in ("", "/")]
        return json_text(dict(call.arguments), [*tags, *self.tokenizer.get_added_vocab()])


def _thought(text: str) -> str:
    """The reasoning in what stands before an answer or a call; what nothing opened began with the turn."""
    _, opened, behind = text.partition("<think>")
    within, closed, _ = behind.partition("</think>")
    if opened and closed:
        return within.strip()
    before, found, _ = text.partition("</think>")
    return before.strip() if found else ""


def instruction(tools: Sequence[ToolSpec]) -> str:
    """What a model is told of the protocol and of its tools. Search-R1's tool has words of its own."""
    calls = [_call(tool) for tool in tools]
    found = "what is found will stand between <information> and </information>."
    if len(calls) > 1:
        told = f"{' '.join(f'{call}.' for call in calls)} W{found[1:]} Call tools as often as you need. "
    elif calls:
        told = f"{calls[0]}: {found} {'Search' if _searches(tools[0]) else 'Call it'} as often as you need. "
    else:
        told = ""
    return (
        f"Reason between <think> and </think> whenever you learn something new. {told}When you are done, write what is "
        "asked for between <answer> and </answer>, and nothing else."
    )


def _call(tool: ToolSpec) -> str:
    """How a tool is called, in words without a full stop."""
    if _searches(tool):
        return "To look something up write <search>a query</search>"
    begun = f"To call {tool.name} ({tool.description}) write <{tool.name}>"
    argument = _text_argument(tool)
    if argument is not None:
        return f"{begun}the {argument}</{tool.name}>"
    if not tool.parameters.get("properties"):
        return f"{begun}{{}}</{tool.name}>"
    schema = json.dumps(dict(tool.parameters), ensure_ascii=False)
    return f"{begun}a JSON object</{tool.name}> with its arguments, as this schema has them: {schema}"


def _searches(tool: ToolSpec) -> bool:
    return (tool.name, _text_argument(tool)) == ("search", "query")


def _text_argument(tool: ToolSpec) -> str | None:
    """The argument of a tool that takes one text and nothing else, which is required; else None."""
    properties = tool.parameters.get("properties", {})
    if len(properties) != 1 or list(tool.parameters.get("required", ())) != list(properties):
        return None
    ((name, schema),) = properties.items()
    return name if isinstance(schema, Mapping) and schema.get("type") == "string" else None
