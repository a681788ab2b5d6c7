"""A call as one JSON object with a name and arguments, or as a list of such."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from piplay.chat.calls import json_text
from piplay.chat.dialects import called, leading_value
from piplay.chat.syntax.core import LONGEST, Closes, Found
from piplay.types import Json

NAME, ARGUMENTS = "⟦NAME⟧", "⟦ARGUMENTS⟧"


@dataclass(frozen=True, slots=True)
class JsonObject:
    """``{"name": "search", "arguments": {"query": "Bor"}}``, whatever its keys are called."""

    frame: str
    """The object, or the list of one, with marks in the place of its name and its arguments."""
    compact: bool
    """Whether the arguments stand without spaces."""
    as_text: bool
    """Whether the arguments stand as a JSON string that holds JSON."""

    begins = r"\{|\[\s*\{"

    def write(self, name: str, arguments: Mapping[str, Json], unspoken: Iterable[str]) -> str:
        """See ``Core.write``."""
        said = json_text(dict(arguments), unspoken, self.compact)
        if self.as_text:
            said = json.dumps(said, ensure_ascii=False)[1:-1]
        return self.frame.replace(NAME, name).replace(ARGUMENTS, said)

    def read(self, text: str, at: int, closes: Closes) -> Found | None:
        """See ``Core.read``. The JSON is decoded first: what closes a call may stand in it."""
        data, length = leading_value(text[at : at + LONGEST])
        found, end = called(data), closes(at + length) if length else None
        return None if found is None or end is None else Found(*found, end)
