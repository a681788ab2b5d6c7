"""Token-exact chat: the only place that knows templates, tags and control tokens.

A trajectory starts with ``prompt`` and grows by what the model writes and by ``tool_turn``; nothing is ever rendered
twice. Text from outside (questions, passages, paths) is encoded by a copy of the tokenizer without any added token, so
that it can never become a control token, whatever it spells.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from piplay.errors import InputError
from piplay.types import Ints, Passage, Turn

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
_SYSTEM, _USER, _ASSISTANT, _TOOL = ("⟦SYSTEM⟧", "⟦USER⟧", "<think>\n⟦THINK⟧\n</think>\n\n⟦SAY⟧", "⟦TOOL⟧")
_CALL = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)
_THINK = re.compile(r"<think>(.*?)</think>", re.DOTALL)


def show(passages: Sequence[Passage]) -> str:
    """Search results as a role reads them."""
    if not passages:
        return "Nothing found."
    if len(passages) == 1:
        return f"{passages[0].title}: {passages[0].text}"
    return " ".join(f"({i}) {passage.title}: {passage.text}" for i, passage in enumerate(passages, 1))


class Chat:
    """One tokenizer's chat template, compiled once into token pieces.

    Raises ``InputError`` where the template is missing or rewrites what stood before: an append-only trajectory could
    not be what such a model was trained on.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self._plain = _without_added_tokens(tokenizer)
        if not tokenizer.chat_template:
            raise InputError(f"the tokenizer of {tokenizer.name_or_path} has no chat template: use a chat model")
        if tokenizer.eos_token is None:
            raise InputError(f"the tokenizer of {tokenizer.name_or_path} has no end token: set eos_token")
        start = [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": _USER}]
        once = [{"role": "assistant", "content": _ASSISTANT}, {"role": "tool", "content": _TOOL}]
        opening, first, second = (self._render(start + once * n) for n in range(3))
        marks = (opening.count(_SYSTEM), opening.count(_USER), first.count(_TOOL))
        if marks != (1, 1, 1) or opening == self._render(start, tools=None):
            raise InputError(
                f"the chat template of {tokenizer.name_or_path} does not show the system message, the user's, the tool "
                "and its answer once each: use a model whose template takes tools and the roles system, user, "
                "assistant and tool"
            )
        grown = opening + _ASSISTANT
        if not (first.startswith(grown) and second.startswith(first + _ASSISTANT)):
            raise InputError(
                f"the chat template of {tokenizer.name_or_path} is not append-only (it rewrites earlier turns when one "
                "is added): use a model whose template keeps every turn, reasoning included, as it was written"
            )
        before, _, after = first[len(grown) :].partition(_TOOL)
        if not before.startswith(tokenizer.eos_token):
            raise InputError(
                f"the chat template of {tokenizer.name_or_path} does not close a turn with its end token "
                f"{tokenizer.eos_token!r}: set eos_token to the token that ends a turn"
            )
        system, user = opening.partition(_SYSTEM), opening.partition(_USER)
        self._opening = (
            self._control(system[0]),
            self._control(system[2].partition(_USER)[0]),
            self._control(user[2]),
        )
        self._tool = (self._control(before[len(tokenizer.eos_token) :]), self._control(after))
        self.end_ids: tuple[int, ...] = (int(tokenizer.eos_token_id),)

    def encode(self, text: str) -> list[int]:
        """Ids of text from outside: no id of an added token, whatever the text spells."""
        return list(self._plain.encode(text, add_special_tokens=False).ids)

    def prompt(self, system: str, user: str) -> Ints:
        """The ids of a conversation's opening, up to where the model writes."""
        head, middle, tail = self._opening
        return np.array([*head, *self.encode(system), *middle, *self.encode(user), *tail], dtype=np.int64)

    def tool_turn(self, text: str) -> Ints:
        """The ids that follow a closed model turn when a tool answers, up to where the model writes again."""
        before, after = self._tool
        return np.array([*before, *self.encode(text), *after], dtype=np.int64)

    def written(self, text: str) -> list[int]:
        """Ids of a turn as the model would write it, control tokens included. For pre-training and tests only."""
        return self._control(text + str(self.tokenizer.eos_token))

    def parse(self, ids: Sequence[int]) -> Turn:
        """What a stretch of model tokens says. A missing end token is no error here: limits are the caller's."""
        text = str(self.tokenizer.decode(list(ids), skip_special_tokens=False)).removesuffix(
            str(self.tokenizer.eos_token)
        )
        think = _THINK.search(text)
        rest = _THINK.sub("", text, count=1)
        call = _CALL.search(rest)
        query = _query(call.group(1)) if call else None
        content = _CALL.sub("", rest).strip()
        malformed = (query is None and "<tool_call>" in rest) or content.count("<tool_call>") > 0
        return Turn(text, think.group(1).strip() if think else "", content, None if malformed else query, malformed)

    def _render(self, messages: list[dict[str, str]], tools: Sequence[dict[str, Any]] | None = (SEARCH_TOOL,)) -> str:
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    messages, tools=tools and list(tools), add_generation_prompt=True, tokenize=False
                )
            )
        except Exception as error:  # jinja raises what a template wants to say
            raise InputError(
                f"the chat template of {self.tokenizer.name_or_path} cannot render a tool conversation ({error}): "
                "use a model whose template takes tools and the roles system, user, assistant and tool"
            ) from error

    def _control(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False))


def _query(call: str) -> str | None:
    """The query of a search call's JSON, or None where it is none."""
    try:
        data = json.loads(call)
        query = data["arguments"]["query"] if data["name"] == "search" else None
    except (ValueError, TypeError, KeyError):
        return None
    return query.strip() or None if isinstance(query, str) else None


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
        data["model"]["vocab"] = {token: i for token, i in vocab.items() if token not in added}
    elif isinstance(vocab, list):
        # Here a token's place is its id: it stays, under a name that no text holds.
        data["model"]["vocab"] = [
            [f"\x00{i}" if token in added else token, score] for i, (token, score) in enumerate(vocab)
        ]
    return Tokenizer.from_str(json.dumps(data))
