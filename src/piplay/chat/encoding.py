"""From text to ids, as a tokenizer encodes a whole conversation, while text from outside stays plain text.

A tokenizer splits a text at its added tokens and encodes each stretch between two of them by itself. Here the same is
done for pieces of a template with foreign text between them: the template's pieces are cut at their added tokens, and
each stretch, foreign text included, is encoded in one call of a copy of the tokenizer that has no added token at all.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Sequence
from enum import Enum
from functools import lru_cache
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from piplay.errors import InputError
from piplay.types import Json

_UNASSIGNED = "\ufdd0"
"""A character that stands for nothing and is in no vocabulary."""


class Place(Enum):
    """What a stretch of text stands behind: SentencePiece's tokenizers put a space before it in some places."""

    START = "start"
    """Nothing."""
    TOKEN = "token"
    """An added token."""
    TEXT = "text"
    """Text that is encoded already."""


class Foreign(str):
    """Text from outside (questions, passages, moves): it never becomes an added token, whatever it spells."""


class Encoder:
    """A tokenizer that encodes templates and foreign text together."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Raises ``InputError`` for a tokenizer without tokenizer.json or without a vocabulary."""
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise InputError(f"{tokenizer.name_or_path} has no fast tokenizer (tokenizer.json): convert it first")
        self._tokenizer = tokenizer
        self.added: dict[str, int] = dict(tokenizer.get_added_vocab())
        self._added_ids = frozenset(self.added.values())
        ends = {tokenizer.eos_token, tokenizer.bos_token}
        data = _without_added_tokens(json.loads(backend.to_str()), ends)
        self._plain: dict[Place, Any] = {}
        made: dict[str, Any] = {}
        for place in Place:
            text = json.dumps(data | {key: _prefixed(data.get(key), place) for key in ("normalizer", "pre_tokenizer")})
            self._plain[place] = made[text] if text in made else made.setdefault(text, Tokenizer.from_str(text))
        if not self.plain("a"):
            raise InputError(
                f"{tokenizer.name_or_path} has no tokenizer with a vocabulary: copy its tokenizer.json there"
            )
        self._check_unknown(ends)
        self.cut = lru_cache(maxsize=512)(self._cut)

    def _check_unknown(self, ends: set[Any]) -> None:
        """Raises ``InputError`` where a character that the vocabulary lacks fails, or would begin or end a turn."""
        name = self._tokenizer.name_or_path
        try:
            ids = self.plain(_UNASSIGNED)
        except Exception as error:  # tokenizers raises Exception itself
            raise InputError(
                f"the tokenizer of {name} has no token for a character that it does not know ({error}): give its model "
                "an unk_token in tokenizer.json"
            ) from error
        if taken := [token for token in ends if self.added.get(token) in ids]:
            raise InputError(
                f"the tokenizer of {name} writes {taken[0]} for a character that it does not know, so that any text "
                "could end a turn: give its model an unk_token of its own in tokenizer.json"
            )

    def plain(self, text: str, place: Place = Place.START) -> list[int]:
        """Ids of text that holds no added token, whatever it spells."""
        return list(self._plain[place].encode(text, add_special_tokens=False).ids)

    def join(self, parts: Iterable[str], place: Place) -> list[int]:
        """Ids of a template's pieces with ``Foreign`` text between them, as of one text behind ``place``."""
        ids: list[int] = []
        stretch = ""
        for part in parts:
            for piece in [str(part)] if isinstance(part, Foreign) else self.cut(part):
                if isinstance(piece, str):
                    stretch += piece
                    continue
                ids += self.plain(stretch, place) if stretch else []
                ids.append(piece)
                stretch, place = "", Place.TOKEN
        return ids + (self.plain(stretch, place) if stretch else [])

    def behind(self, text: str) -> Place:
        """Where what follows a template's piece stands."""
        pieces = self.cut(text)
        return Place.TOKEN if pieces and isinstance(pieces[-1], int) else Place.TEXT

    def tokens(self, text: str) -> list[tuple[int, str]]:
        """The added tokens in a template's piece, each with where it begins."""
        return [(start, token) for start, _, token in self._spans(text)]

    def _spans(self, text: str) -> list[tuple[int, int, str]]:
        told = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        names = {token_id: token for token, token_id in self.added.items()}
        spans = zip(told["input_ids"], told["offset_mapping"], strict=True)
        return [(start, end, names[token]) for token, (start, end) in spans if token in self._added_ids]

    def _cut(self, text: str) -> Sequence[int | str]:
        """A template's piece, split at its added tokens, of which the ids stand."""
        pieces: list[int | str] = []
        done = 0
        for start, end, token in self._spans(text):
            pieces += [text[done:start], self.added[token]]
            done = end
        return tuple(piece for piece in [*pieces, text[done:]] if piece != "")


def _without_added_tokens(data: Json, ends: set[Any]) -> Json:
    """A tokenizer's JSON in which no token is added and no text spells an added token.

    The token for what is unknown stays, unless it is one of ``ends`` and the vocabulary can do without.
    """
    ids = {token["content"]: token["id"] for token in data["added_tokens"]}
    data |= {"added_tokens": [], "post_processor": None, "truncation": None, "padding": None}
    model = data["model"]
    vocab = model.get("vocab")
    if isinstance(vocab, dict):
        known = model["vocab"] = {token: i for token, i in vocab.items() if token not in ids}
        if (unknown := model.get("unk_token")) in ids:
            model["unk_token"] = None
            if unknown not in ends or model.get("type") != "BPE":
                model["unk_token"] = _unspeakable()
                known[model["unk_token"]] = ids[unknown]
        if "merges" in model:
            # A merge that makes or needs a token that is gone would not load.
            pairs = [tuple(merge.split(" ")) if isinstance(merge, str) else merge for merge in model["merges"]]
            inner = len(model.get("continuing_subword_prefix") or "")
            model["merges"] = [(a, b) for a, b in pairs if a in known and b in known and a + b[inner:] in known]
    elif isinstance(vocab, list):
        # Here a token's place is its id: it stays, under a name that no text holds.
        model["vocab"] = [[_unspeakable() if token in ids else token, score] for token, score in vocab]
    return data


def _unspeakable() -> str:
    """A name that no text has, because nobody could know it: it is drawn anew each time, and decides no id."""
    return f"\x00{secrets.token_hex(16)}"


def _prefixed(part: Json, place: Place) -> Json:
    """A normaliser or pre-tokeniser that puts SentencePiece's space where the tokenizer would in that place."""
    if isinstance(part, list):
        return [_prefixed(one, place) for one in part]
    if not isinstance(part, dict) or place == Place.START:
        return part
    if part.get("type") == "Prepend" and place == Place.TEXT:
        return {"type": "Sequence", "normalizers": []}
    if part.get("type") == "Metaspace":
        always = place == Place.TOKEN and part.get("prepend_scheme") == "always"
        return part | {"prepend_scheme": "always" if always else "never"}
    return {key: _prefixed(value, place) for key, value in part.items()}
