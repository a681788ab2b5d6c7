"""Tags in plain text, for any tokenizer and for base models without a chat template: Search-R1's convention
(arXiv 2503.09516).

The model writes ``<think>…</think>``, ``<search>query</search>`` and at last ``<answer>…</answer>``; what a search
finds is put in as ``<information>…</information>``. A turn ends with the token that completes ``</search>`` or
``</answer>``. Such a token may hold more, say ``>\\n``: it stays in the ids as it was sampled, and what it holds behind
the tag says nothing.

The tags are ordinary text, so what counts is who wrote them: only a turn's own ids are searched for tags. In text from
outside the protocol's tags are shown with other brackets, ‹search›, so that the model is not misled either.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from piplay.chat.base import Chat
from piplay.types import Ints, Turn

INSTRUCTION = (
    "Reason between <think> and </think> whenever you learn something new. To look something up write <search>a query"
    "</search>: what is found will stand between <information> and </information>. Search as often as you need. When "
    "you are done, write what is asked for between <answer> and </answer>, and nothing else."
)
_TAG = re.compile(r"<(/?(?:think|search|answer|information))>")
_THINK = re.compile(r"<think>(.*?)</think>", re.DOTALL)
_CLOSING = re.compile(r"</(search|answer)>")


class Tags(Chat):
    """Turns marked by tags in plain text."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, end_ids: Sequence[int] = ()) -> None:
        """``end_ids``: what else the model ends its text with, beside the tokenizer's end of text."""
        super().__init__(tokenizer)
        ends = [tokenizer.eos_token_id, *end_ids]
        self.end_ids = tuple(dict.fromkeys(int(end) for end in ends if end is not None))
        self.closes = self._closes
        first = tokenizer.encode("")[:1]
        self._begin = first if first == [tokenizer.bos_token_id] else []
        self._completes: dict[int, bool] = {}

    def prompt(self, system: str, user: str) -> Ints:
        told = [*self._control(f"{INSTRUCTION}\n\n"), *super().encode(f"{system}\n\n"), *self.encode(user)]
        return np.array([*self._begin, *told, *self._control("\n\n")], dtype=np.int64)

    def tool_turn(self, text: str) -> Ints:
        before, after = self._control("\n\n<information>\n"), self._control("\n</information>\n\n")
        return np.array([*before, *self.encode(text), *after], dtype=np.int64)

    def encode(self, text: str) -> list[int]:
        """Ids of text from outside: no added token and no tag of the protocol, whatever the text spells."""
        return super().encode(_TAG.sub(r"‹\1›", text))

    def phrase(self, think: str = "", content: str = "", query: str | None = None) -> str:
        said = f"<answer>{content}</answer>" if query is None else f"<search>{query}</search>"
        return (f"<think>{think}</think>" if think else "") + said

    def written(self, text: str) -> list[int]:
        return self._control(text) + ([] if _CLOSING.search(text) else list(self.end_ids[:1]))

    def parse(self, ids: Sequence[int]) -> Turn:
        """See ``Chat.parse``. The first closing tag counts, with the nearest that opens it, wherever they stand.

        A turn with neither a search nor an answer is malformed, and so is an empty search.
        """
        text = self._text(ids)
        closing = _CLOSING.search(text)
        name, told = (closing.group(1), text[: closing.start()]) if closing else ("", text)
        before, opened, said = told.rpartition(f"<{name}>") if closing else (told, "", "")
        think = _THINK.search(before if opened else told)
        malformed = not opened or (name == "search" and not said.strip())
        return Turn(
            text,
            think.group(1).strip() if think else "",
            said.strip() if name == "answer" else "",
            said.strip() if name == "search" and not malformed else None,
            malformed,
        )

    def _closes(self, ids: Ints) -> bool:
        last = int(ids[-1])
        if last not in self._completes:
            self._completes[last] = ">" in self._text([last])
        return self._completes[last] and _CLOSING.search(self._text(ids.tolist())) is not None
