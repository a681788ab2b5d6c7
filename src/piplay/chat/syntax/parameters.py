"""A call whose arguments stand one by one between a template's own pieces, as ``<parameter=query>Bor</parameter>``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from piplay.chat.dialects import leading_value, literal
from piplay.chat.syntax.core import LONGEST, WORD, Closes, Found, Schemas, loose
from piplay.chat.template import KEY
from piplay.types import Json

_KEY = re.compile(r"[\w.-]+")


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands around a value of one kind."""

    before: str
    """Between the key and its value."""
    between: str
    """Between a value and the next key."""
    after: str
    """Behind the last value."""

    def of(self, key: str) -> Frame:
        """The frame of an argument: its key may also close it."""
        return Frame(*(piece.replace(KEY, key) for piece in (self.before, self.between, self.after)))


@dataclass(frozen=True, slots=True)
class Parameters:
    """Texts stand as they are, so a value ends where the rest of a call follows it; other values are JSON."""

    first: str
    """Between the name and the first key."""
    text: Frame
    other: Frame
    empty: str
    """Behind the name of a call without arguments."""
    python: bool
    """Whether other values are written as Python does: True for true."""
    schemas: Schemas

    @property
    def begins(self) -> str:
        """See ``Core.begins``."""
        return rf"\b(?:{self.schemas.names}){loose(self.first).pattern}"

    def write(self, name: str, arguments: Mapping[str, Json], unspoken: Iterable[str]) -> str:
        """See ``Core.write``. A text cannot be escaped here."""
        if not arguments:
            return name + self.empty
        said, before, after = name, self.first, ""
        for key, value in arguments.items():
            frame = (self.text if isinstance(value, str) else self.other).of(key)
            said += before + key + frame.before + self._said(value)
            before, after = frame.between, frame.after
        return said + after

    def _said(self, value: Json) -> str:
        if isinstance(value, str):
            return value
        return repr(value) if self.python else json.dumps(value, ensure_ascii=False)

    def read(self, text: str, at: int, closes: Closes) -> Found | None:
        """See ``Core.read``."""
        named = re.compile(rf"\s*({WORD})").match(text, at)
        if named is None:
            return None
        first = loose(self.first).match(text, named.end())
        found = self._values(named[1], text, first.end(), closes) if first else None
        if found is None:
            nothing = loose(self.empty).match(text, named.end())
            end = closes(nothing.end()) if nothing else None
            found = None if end is None else Found(named[1], {}, end)
        return found

    def _values(self, name: str, text: str, at: int, closes: Closes) -> Found | None:
        arguments: dict[str, Json] = {}
        raw = []
        while key := _KEY.match(text, at):
            frames = [one.of(key[0]) for one in (self.text, self.other)]
            frame = next((one for one in frames if loose(one.before).match(text, key.end())), None)
            begun = loose(frame.before).match(text, key.end()) if frame else None
            if frame is None or begun is None:
                return None
            found = self._end(text, begun.end(), frame, closes)
            if found is None:
                return None
            stop, at, last = found
            value = text[begun.end() : stop]
            is_text = self.schemas.is_text(name, key[0]) or (frame is frames[0] and self.text != self.other)
            arguments[key[0]] = value if is_text else _read(value)
            raw += [(begun.end(), stop)] if is_text else []
            if last:
                return Found(name, arguments, at, tuple(raw))
        return None

    def _end(self, text: str, at: int, frame: Frame, closes: Closes) -> tuple[int, int, bool] | None:
        """Where a value ends, where one goes on, and whether the call ends there: the first place that fits."""
        for place in range(at, min(at + LONGEST, len(text)) + 1):
            after = loose(frame.after).match(text, place)
            end = closes(after.end()) if after else None
            if end is not None:
                return place, end, True
            between = loose(frame.between).match(text, place)
            key = _KEY.match(text, between.end()) if between else None
            if key and any(loose(one.before).match(text, key.end()) for one in (self.text, self.other)):
                assert between is not None
                return place, between.end(), False
        return None


def _read(text: str) -> Json:
    """A value that is no text; what cannot be read is the text itself, which no other type takes."""
    stripped = text.strip()
    try:
        return json.loads(stripped)
    except (ValueError, RecursionError):
        value, length = leading_value(stripped)
    if length and length == len(stripped):
        return value
    try:
        return literal(stripped)
    except ValueError:
        return text
