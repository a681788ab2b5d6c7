"""Tags in plain text, for any tokenizer and for base models without a chat template: see ``tagged.py``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from piplay.chat.encoding import Foreign, Place
from piplay.chat.tagged import Tagged, instruction
from piplay.types import Ints, Stop, ToolSpec


class Tags(Tagged):
    """Turns marked by tags in plain text. Each piece is encoded by itself: no template says how they join."""

    kind = "tags"

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, tools: Sequence[ToolSpec] = (), end_ids: Sequence[int] = ()
    ) -> None:
        """``end_ids``: what else the model ends its text with, beside the tokenizer's end of text."""
        super().__init__(tokenizer, tools)
        ends = [tokenizer.eos_token_id, *end_ids]
        self.stop = Stop(tuple(dict.fromkeys(int(end) for end in ends if end is not None)), self._stop_texts)
        first = tokenizer.encode("")[:1]
        begin = first if first == [tokenizer.bos_token_id] else []
        place = Place.TOKEN if begin else Place.START
        self._begun = [*begin, *self._encoder.join([f"{instruction(self.tools)}\n\n"], place)]

    @property
    def about(self) -> str:
        """See ``Chat.about``."""
        if self.tokenizer.chat_template:
            return "plain text, although the tokenizer has a chat template: an instruct model may write noise so"
        return "plain text: the tokenizer has no chat template"

    def prompt(self, system: str, user: str) -> Ints:
        told = [Foreign(f"{system}\n\n"), Foreign(self._shown(user)), "\n\n"]
        return np.array([*self._begun, *self._pieces(told)], dtype=np.int64)

    def tool_turn(self, text: str, tool: str, last: int | None = None) -> Ints:
        """See ``Chat.tool_turn``. It reads the same for every tool, and however the turn ended."""
        opening, shown, closing = self._information(text)
        return np.array(self._pieces([f"\n\n{opening}", shown, f"{closing}\n\n"]), dtype=np.int64)

    def user_turn(self, text: str, last: int | None = None) -> Ints:
        return np.array(self._pieces(["\n\n", Foreign(self._shown(text)), "\n\n"]), dtype=np.int64)

    def written(self, text: str) -> list[int]:
        """See ``Chat.written``. What stands between the tags that count is plain text."""
        parts = self._closed(text)
        return self._encoder.join(parts or [text], Place.TEXT) + ([] if parts else list(self.stop.ids[:1]))

    def _pieces(self, parts: Sequence[str]) -> list[int]:
        return [i for part in parts for i in self._encoder.join([part], Place.TEXT)]
