"""What games, rollout and pre-training know of a chat: three protocols behind one class.

``native``: a model's own template and tool calls. ``chat``: tags within its template. ``tags``: tags in plain text. A
trajectory starts with ``prompt`` and grows by what the model writes, by ``tool_turn`` and by ``user_turn``; nothing is
ever rendered twice. Text from outside (questions, passages, moves) never becomes a control token, whatever it spells
(``encoding.py``).
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar

import numpy as np
from transformers import PreTrainedTokenizerBase

from piplay.chat.calls import Toolset
from piplay.chat.encoding import Encoder, Place
from piplay.errors import InputError
from piplay.types import Ints, Stop, ToolCall, ToolSpec, Turn


class Chat(ABC):
    """How a model and a run talk to each other, in ids."""

    kind: ClassVar[str]
    """How settings name the protocol."""
    why: str = ""
    """One line on what was taken and why, where it was chosen (``choose``)."""
    stop: Stop
    """What ends a model's turn."""
    tools: tuple[ToolSpec, ...]
    """The tools that a model is told of; a call of any other is malformed."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, tools: Sequence[ToolSpec]) -> None:
        """Raises ``InputError`` for a tokenizer without a vocabulary and for tools that cannot be (see ``Toolset``)."""
        self.tokenizer = tokenizer
        self._toolset = Toolset(tools)
        self.tools = self._toolset.specs
        self._encoder = Encoder(tokenizer)
        self._refuse_special_tokens()

    @abstractmethod
    def prompt(self, system: str, user: str) -> Ints:
        """The ids of a conversation's opening, up to where the model writes."""

    @abstractmethod
    def tool_turn(self, text: str, tool: str, last: int | None = None) -> Ints:
        """The ids that follow a closed model turn when that tool answers, up to where the model writes again.

        ``last`` is the turn's last id, None the end that the chat would have: where a turn was ended by a text, the end
        that it lacks comes first.
        """

    @abstractmethod
    def user_turn(self, text: str, last: int | None = None) -> Ints:
        """The ids that follow a closed model turn when a person, an opponent or the game speaks, up to the model's.

        ``last`` as in ``tool_turn``.
        """

    @abstractmethod
    def parse(self, ids: Sequence[int]) -> Turn:
        """What a stretch of model tokens says. One that is not closed is no error here: limits are the caller's."""

    @abstractmethod
    def phrase(self, think: str = "", content: str = "", call: ToolCall | None = None) -> str:
        """The text of a turn that says this, of which ``parse`` is the inverse. For turns that a game puts itself."""

    @abstractmethod
    def written(self, text: str) -> list[int]:
        """Ids of a turn as the model would write and close it, control tokens included. For pre-training and tests."""

    def check(self, call: ToolCall) -> None:
        """Raises ``InputError`` for a call of a tool that there is not, or whose arguments do not fit its schema."""
        self._toolset.check(call)

    @property
    @abstractmethod
    def about(self) -> str:
        """What was found of the tokenizer that one should know, in a few words."""

    def encode(self, text: str) -> list[int]:
        """Ids of text from outside: no id of an added token, whatever the text spells."""
        return self._encoder.plain(text)

    def _joined(self, parts: Iterable[str], place: Place) -> Ints:
        return np.array(self._encoder.join(parts, place), dtype=np.int64)

    def _refuse_special_tokens(self) -> None:
        """Tools stand in the prompt among control tokens, so they must not spell one."""
        special = [token.content for token in self.tokenizer.added_tokens_decoder.values() if token.special]
        for tool in self.tools:
            told = tool.description + json.dumps(dict(tool.parameters), ensure_ascii=False)
            for token in special:
                if token in told:
                    raise InputError(f"the tool {tool.name!r} spells the control token {token}: describe it without")

    def _text(self, ids: Sequence[int]) -> str:
        """Ids decoded without an end token, which says nothing."""
        said = list(ids[:-1] if len(ids) and ids[-1] in self.stop.ids else ids)
        return str(self.tokenizer.decode(said, skip_special_tokens=False, clean_up_tokenization_spaces=False))
