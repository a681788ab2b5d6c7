"""What the syntaxes of a call have in common: a core, which names a tool and gives it arguments."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from piplay.chat.template import NAME
from piplay.types import Json, ToolSpec

WORD = r"[A-Za-z0-9_]+"
LONGEST = 100_000
"""Characters of a call's arguments: what is longer is none, and a turn of many that never end is read all the same."""
Closes = Callable[[int], "int | None"]
"""Where what closes a call ends, if it stands at that place of the text."""


@dataclass(frozen=True, slots=True)
class Found:
    """A call as it was read; whether it is well-formed is the toolset's to say."""

    name: Json
    arguments: Json
    end: int
    """Where it ends, what closes it included."""
    raw: tuple[tuple[int, int], ...] = ()
    """The stretches in which a text stands as it is, with no way to escape what it spells."""


class Core(Protocol):
    """One way to write a tool's name and its arguments."""

    def write(self, name: str, arguments: Mapping[str, Json], unspoken: Iterable[str]) -> str:
        """A call. No text in it spells one of the ``unspoken`` words, where the syntax has a way to escape them."""

    def read(self, text: str, at: int, closes: Closes) -> Found | None:
        """The call that begins there, where it is closed."""

    @property
    def begins(self) -> str:
        """A pattern of how a core begins, for a syntax in which nothing stands before it."""


@dataclass(frozen=True, slots=True)
class Schemas:
    """What a syntax asks about the tools: which they are, and which of their arguments are texts."""

    tools: tuple[ToolSpec, ...]

    @property
    def names(self) -> str:
        """A pattern of the tools' names."""
        return "|".join(sorted((re.escape(tool.name) for tool in self.tools), key=len, reverse=True))

    def keys(self, name: str) -> list[str]:
        """The arguments of a tool in their order."""
        return [key for tool in self.tools if tool.name == name for key in tool.parameters.get("properties", {})]

    def is_text(self, name: str, key: str) -> bool:
        """Whether an argument of a tool is a text."""
        found = [tool.parameters.get("properties", {}).get(key) for tool in self.tools if tool.name == name]
        return any(isinstance(schema, Mapping) and schema.get("type") == "string" for schema in found)


@lru_cache(maxsize=1024)
def loose(text: str) -> re.Pattern[str]:
    """A pattern for a piece of a template: white space is as one likes, numbers and a tool's name may be others.

    White space may stand behind every tag: some tokenizers put it there.
    """
    pattern = ""
    for piece in re.findall(rf"\s+|\d+|{NAME}|>|.", text, re.DOTALL):
        if piece.isspace():
            pattern += r"\s*"
        elif piece.isdecimal():
            pattern += r"\d+"
        else:
            pattern += WORD if piece == NAME else r">\s*" if piece == ">" else re.escape(piece)
    return re.compile(rf"\s*{pattern}\s*")


def tags(text: str, added: Sequence[str]) -> list[str]:
    """What of a template's piece is unmistakable: its added tokens, and what stands in angle brackets."""
    known = sorted((re.escape(token) for token in added), key=len, reverse=True)
    pattern = "|".join([*known, r"</?[A-Za-z|｜][^<>\n]*>", r"<[A-Za-z_]+[ =]"])
    return re.findall(pattern, text)
