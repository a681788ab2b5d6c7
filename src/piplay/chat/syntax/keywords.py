"""A call as Python writes one: ``search(query='Bor')``."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from piplay.chat.syntax.core import LONGEST, WORD, Closes, Found, Schemas
from piplay.types import Json

_CONSTANTS = {"true": True, "false": False, "null": None}


@dataclass(frozen=True, slots=True)
class Keywords:
    """Arguments by keyword, each a literal. Texts that hold quotes or line breaks are escaped as Python does."""

    quote: str
    schemas: Schemas

    @property
    def begins(self) -> str:
        """See ``Core.begins``."""
        return rf"\b(?:{self.schemas.names})\("

    def write(self, name: str, arguments: Mapping[str, Json], unspoken: Iterable[str]) -> str:
        """See ``Core.write``."""
        words = [word for word in unspoken if word]
        said = (f"{key}={self._literal(value, words)}" for key, value in arguments.items())
        return f"{name}({', '.join(said)})"

    def read(self, text: str, at: int, closes: Closes) -> Found | None:
        """See ``Core.read``. It ends at the first parenthesis up to which it is Python and behind which it closes.

        Of several calls with commas between them it is the first.
        """
        if not re.compile(rf"\s*{WORD}\(").match(text, at):
            return None
        for last in re.compile(r"\)").finditer(text, at, at + LONGEST):
            end = closes(last.end())
            call = None if end is None else self._first(text[at : last.end()].strip())
            if call is not None and end is not None:
                return Found(*call, end)
        return None

    def _literal(self, value: Json, unspoken: Iterable[str]) -> str:
        if not isinstance(value, str):
            return repr(value)
        escaped = value.replace("\\", "\\\\").replace(self.quote, f"\\{self.quote}")
        escaped = re.sub(r"[\x00-\x1f\x7f]", lambda control: f"\\x{ord(control[0]):02x}", escaped.replace("\n", "\\n"))
        for word in unspoken:
            escaped = escaped.replace(word, f"\\x{ord(word[0]):02x}{word[1:]}" if ord(word[0]) < 256 else word)
        return self.quote + escaped + self.quote

    def _first(self, text: str) -> tuple[str, dict[str, Json]] | None:
        """The first of some calls; arguments without a keyword go by the tool's order."""
        for said in (text, text.replace("\n", "\\n")):
            try:
                with warnings.catch_warnings(action="ignore"):
                    listed = getattr(ast.parse(f"[{said}]", mode="eval").body, "elts", [])
                calls = [one for one in listed if isinstance(one, ast.Call)]
                if not calls or len(calls) != len(listed) or not isinstance(calls[0].func, ast.Name):
                    return None
                name = calls[0].func.id
                placed = dict(zip(self.schemas.keys(name), map(_value, calls[0].args), strict=False))
                return name, placed | {str(keyword.arg): _value(keyword.value) for keyword in calls[0].keywords}
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                continue
        return None


def _value(node: ast.expr) -> Json:
    if isinstance(node, ast.Name) and node.id in _CONSTANTS:
        return _CONSTANTS[node.id]
    return ast.literal_eval(node)
