"""What a chat tries on itself when it is loaded: calls that are awkward to write have to come back as they were."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from piplay.chat.base import Chat
from piplay.chat.calls import Toolset
from piplay.chat.template import KEY, NAME, OTHER_KEY, VALUE
from piplay.types import Json, ToolCall

AWKWARD = (
    "Bor",
    'the "old" Bor',
    "it's Bor's",
    "a\\b\\n",
    "one\ntwo",
    '{"query": ["Bor"]}',
    '"}}</tool_call>',
    "]) 'x', k='y')",
    "<b>Bor</b> </parameter>",
    "<think>so</think> Bor",
    "é 中 😀 ‹›",
)
"""Queries: quotes, brackets, line breaks, closing tags, reasoning, other scripts."""
_SAMPLES: Mapping[str, Json] = {"number": 1.5, "integer": 2, "boolean": True, "array": [], "object": {}, "null": None}


def calls_of(toolset: Toolset, texts: Sequence[str] = AWKWARD) -> Iterator[ToolCall]:
    """Well-formed calls of every tool that takes a text, one for each of the texts."""
    for tool in toolset.specs:
        properties: Mapping[str, Json] = tool.parameters.get("properties", {})
        kinds = {key: schema.get("type") for key, schema in properties.items() if isinstance(schema, Mapping)}
        wanted = [key for key in properties if key in tool.parameters.get("required", ())]
        asked = next((key for key in wanted if kinds.get(key) == "string"), None)
        for text in texts if asked else texts[:1]:
            given = {key: text if kinds.get(key) == "string" else _SAMPLES.get(str(kinds.get(key))) for key in wanted}
            call = toolset.call(tool.name, given)
            if call is not None:
                yield call


def failure(chat: Chat, calls: Iterable[ToolCall]) -> str:
    """What the first call that fails comes to, in words; empty where each is read as it was written.

    A text that the vocabulary cannot write (it has the unknown token in it) proves nothing.
    """
    unknown = chat.tokenizer.unk_token_id
    for call in calls:
        text = chat.phrase(call=call)
        ids = chat.written(text)
        if any(mark in text for mark in (NAME, KEY, OTHER_KEY, VALUE)):
            return f"whose calls hold more than a name and arguments: {text!r}"
        said = f"a call of {call.name} with {dict(call.arguments)!r}"
        if unknown is not None and unknown in ids:
            continue
        if any(token in chat.stop.ids for token in ids[:-1]):
            return f"whose end of a turn also stands within {said}, where the model would be stopped"
        turn = chat.parse(ids)
        if turn.call != call:
            return f"whose calls cannot be told apart from their text: {said} reads as {turn.call or 'none'}"
    return ""
