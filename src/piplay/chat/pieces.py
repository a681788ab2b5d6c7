"""The text that each token of a stretch adds."""

from __future__ import annotations

from collections.abc import Sequence

from piplay.chat.base import Chat


def text_of(chat: Chat, ids: Sequence[int]) -> str:
    """Ids decoded, control tokens included."""
    return str(chat.tokenizer.decode(list(ids), skip_special_tokens=False))


def pieces(chat: Chat, ids: Sequence[int]) -> list[str]:
    """The text that each token adds; together they are the whole text.

    A token that ends within a character adds nothing; the one that completes the character adds it.
    """
    found, told = [], ""
    for end in range(1, len(ids) + 1):
        text = text_of(chat, ids[:end])
        whole = end == len(ids) or not text.endswith("\ufffd")
        found.append(text[len(told) :] if whole else "")
        told = text if whole else told
    return found
