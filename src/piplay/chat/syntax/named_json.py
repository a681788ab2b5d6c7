"""A call as a name, something between, and the arguments as a JSON object."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from piplay.chat.calls import json_text
from piplay.chat.dialects import leading_value
from piplay.chat.syntax.core import LONGEST, WORD, Closes, Found, Schemas
from piplay.types import Json

_BETWEEN = 100
"""Characters that models put between name and arguments at most, as ``<|constrain|>json<|message|>``."""


@dataclass(frozen=True, slots=True)
class NamedJson:
    """``search[ARGS]{"query": "Bor"}``: what stands between name and object is read however it is written."""

    between: str
    compact: bool
    schemas: Schemas

    @property
    def begins(self) -> str:
        """See ``Core.begins``."""
        return rf"\b(?:{self.schemas.names})[^{{\w\s]"

    def write(self, name: str, arguments: Mapping[str, Json], unspoken: Iterable[str]) -> str:
        """See ``Core.write``."""
        return name + self.between + json_text(dict(arguments), unspoken, self.compact)

    def read(self, text: str, at: int, closes: Closes) -> Found | None:
        """See ``Core.read``."""
        begun = re.compile(rf"\s*(?:functions\.)?({WORD})[^{{]{{0,{_BETWEEN}}}").match(text, at)
        if begun is None:
            return None
        arguments, length = leading_value(text[begun.end() : begun.end() + LONGEST])
        end = closes(begun.end() + length) if length else None
        return None if end is None else Found(begun[1], arguments, end)
