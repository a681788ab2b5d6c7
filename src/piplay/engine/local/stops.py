"""Texts that end a turn, looked for in what the turn has written so far."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from piplay.engine.local.folders import LOCAL
from piplay.errors import InputError


class StopTexts:
    """Finds stop texts with the tokenizer of a model folder, which is loaded when the first request has such texts."""

    def __init__(self, model_path: Path) -> None:
        self._path = model_path
        self._alone: dict[int, str] = {}

    def complete(self, texts: Sequence[str], ids: Sequence[int]) -> bool:
        """Whether a turn that says ``ids``, at least one, has one of the texts in it.

        It is asked after each token. So the turn is decoded only where its last token can have completed a text: where
        the token's own text has the last character of one in it.

        Raises:
            InputError: the model folder has no tokenizer.
        """
        if not any(self._may_complete(text, ids[-1]) for text in texts):
            return False
        said = self._decoded(ids)
        return any(text in said for text in texts)

    def _may_complete(self, text: str, token: int) -> bool:
        last = text[-1:]
        if last.isspace() or not last.isascii():
            # A token decoded by itself may lack its space, or hold only a part of such a character's bytes.
            return True
        if token not in self._alone:
            self._alone[token] = self._decoded([token])
        return last in self._alone[token]

    def _decoded(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    @cached_property
    def _tokenizer(self) -> PreTrainedTokenizerBase:
        try:
            return AutoTokenizer.from_pretrained(self._path, **LOCAL)
        except Exception as error:  # a damaged file raises whatever its reader stumbles over
            reason = repr(error).splitlines()[0]
            raise InputError(
                f"turns end by text, and the tokenizer of {self._path} cannot be loaded to look for it: {reason}"
            ) from error
