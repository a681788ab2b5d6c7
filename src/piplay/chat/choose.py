"""Which chat a tokenizer gets: the one that is named, or the first of native, chat and tags that can be played."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from piplay.chat.base import Chat
from piplay.chat.native import Native
from piplay.chat.tags import Tags
from piplay.chat.templated import Templated
from piplay.errors import InputError
from piplay.types import ToolSpec


def choose(kind: str, tokenizer: PreTrainedTokenizerBase, tools: Sequence[ToolSpec], end_ids: Sequence[int]) -> Chat:
    """A chat of that kind, with one line on what was taken and why.

    Args:
        kind: ``native``, ``chat``, ``tags``, or ``auto`` for the first of these that can be played as its template
            would render it.
        tokenizer: the model's.
        tools: what the model is told of.
        end_ids: what else it ends its turns with.

    Raises:
        InputError: the chat that is named cannot be played, or no vocabulary is there.
    """
    reasons = list[str]()
    if kind == "native":
        chat: Chat = Native(tokenizer, tools, end_ids, rewrites=True)
    elif kind == "chat":
        chat = Templated(tokenizer, tools, end_ids)
    elif kind == "tags" or not tokenizer.chat_template:
        chat = Tags(tokenizer, tools, end_ids)
    else:
        chat, reasons = _first(tokenizer, tools, end_ids)
    chat.why = "; ".join([f"{chat.kind}, {chat.about}", *reasons])
    return chat


def _first(
    tokenizer: PreTrainedTokenizerBase, tools: Sequence[ToolSpec], end_ids: Sequence[int]
) -> tuple[Chat, list[str]]:
    """The first chat that can be played, and why those before it cannot."""
    reasons = list[str]()
    for make in (Native, Templated):
        try:
            return make(tokenizer, tools, end_ids), reasons
        except InputError as error:
            reasons.append(f"not {make.kind}: {_reason(error)}")
    return Tags(tokenizer, tools, end_ids), reasons


def _reason(error: InputError) -> str:
    """What a refusal finds wrong, without what to do about it."""
    return str(error).partition(" has ")[2].partition(": use ")[0] or str(error)
