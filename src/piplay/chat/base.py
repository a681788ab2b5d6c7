"""What games, rollout and pre-training know of a chat: two protocols, ``native`` and ``tags``, behind one class.

A trajectory starts with ``prompt`` and grows by what the model writes, by ``tool_turn`` and by ``user_turn``; nothing
is ever rendered twice. Text from outside (questions, passages, moves) is encoded by a copy of the tokenizer without any
added token, so that it can never become a control token, whatever it spells.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from piplay.chat.calls import Toolset
from piplay.errors import InputError
from piplay.types import Ints, Stop, ToolCall, ToolSpec, Turn


class Chat(ABC):
    """How a model and a run talk to each other, in ids."""

    stop: Stop
    """What ends a model's turn."""
    tools: tuple[ToolSpec, ...]
    """The tools that a model is told of; a call of any other is malformed."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, tools: Sequence[ToolSpec]) -> None:
        """Raises ``InputError`` for a tokenizer without a vocabulary and for tools that cannot be (see ``Toolset``)."""
        self.tokenizer = tokenizer
        self._toolset = Toolset(tools)
        self.tools = self._toolset.specs
        self._plain = _without_added_tokens(tokenizer)
        if not self._plain.encode("a").ids:
            raise InputError(
                f"{tokenizer.name_or_path} has no tokenizer with a vocabulary: copy its tokenizer.json there"
            )
        self._refuse_special_tokens()

    @abstractmethod
    def prompt(self, system: str, user: str) -> Ints:
        """The ids of a conversation's opening, up to where the model writes."""

    @abstractmethod
    def tool_turn(self, text: str, tool: str) -> Ints:
        """The ids that follow a closed model turn when that tool answers, up to where the model writes again."""

    @abstractmethod
    def user_turn(self, text: str) -> Ints:
        """The ids that follow a closed model turn when a person, an opponent or the game speaks, up to the model's."""

    @abstractmethod
    def parse(self, ids: Sequence[int]) -> Turn:
        """What a stretch of model tokens says. One that is not closed is no error here: limits are the caller's."""

    @abstractmethod
    def phrase(self, think: str = "", content: str = "", call: ToolCall | None = None) -> str:
        """The text of a turn that says this, of which ``parse`` is the inverse. For lessons and tests."""

    @abstractmethod
    def written(self, text: str) -> list[int]:
        """Ids of a turn as the model would write and close it, control tokens included. For pre-training and tests."""

    def check(self, call: ToolCall) -> None:
        """Raises ``InputError`` for a call of a tool that there is not, or whose arguments do not fit its schema."""
        self._toolset.check(call)

    def encode(self, text: str) -> list[int]:
        """Ids of text from outside: no id of an added token, whatever the text spells."""
        return list(self._plain.encode(text, add_special_tokens=False).ids)

    def _control(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def _refuse_special_tokens(self) -> None:
        """Tools stand in the prompt among control tokens, so they must not spell one."""
        special = [token.content for token in self.tokenizer.added_tokens_decoder.values() if token.special]
        for tool in self.tools:
            told = tool.description + json.dumps(dict(tool.parameters), ensure_ascii=False)
            for token in special:
                if token in told:
                    raise InputError(f"the tool {tool.name!r} spells the control token {token}: describe it without")

    def _text(self, ids: Sequence[int], skip_special_tokens: bool = False) -> str:
        """Ids decoded without an end token, which says nothing."""
        said = list(ids[:-1] if len(ids) and ids[-1] in self.stop.ids else ids)
        return str(
            self.tokenizer.decode(said, skip_special_tokens=skip_special_tokens, clean_up_tokenization_spaces=False)
        )


def _without_added_tokens(tokenizer: PreTrainedTokenizerBase) -> Tokenizer:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise InputError(f"{tokenizer.name_or_path} has no fast tokenizer (tokenizer.json): convert it first")
    data = json.loads(backend.to_str())
    added = {token["content"] for token in data["added_tokens"]}
    data["added_tokens"] = []
    data["post_processor"] = None
    vocab = data["model"].get("vocab")
    if isinstance(vocab, dict):
        vocab = data["model"]["vocab"] = {token: i for token, i in vocab.items() if token not in added}
        if "merges" in data["model"]:
            # A merge that makes or needs a token that is gone would not load.
            merges = data["model"]["merges"]
            data["model"]["merges"] = [(a, b) for a, b in merges if a in vocab and b in vocab and a + b in vocab]
    elif isinstance(vocab, list):
        # Here a token's place is its id: it stays, under a name that no text holds.
        data["model"]["vocab"] = [
            [f"\x00{i}" if token in added else token, score] for i, (token, score) in enumerate(vocab)
        ]
    return Tokenizer.from_str(json.dumps(data))
