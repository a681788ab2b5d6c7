"""A call in a turn: a core, and what a template puts around it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from piplay.chat.syntax.core import Core, Found, loose, tags
from piplay.chat.syntax.json_object import JsonObject
from piplay.chat.template import NAME
from piplay.types import ToolCall

_FALLBACK = JsonObject("", compact=False, as_text=False)


@dataclass(frozen=True)
class CallSyntax:
    """How a template writes a call, found by what stands around the query in a rendered one."""

    core: Core
    opening: str
    """What stands before the core in a turn of one call."""
    closing: str
    """What stands behind it. Empty: the call ends where its core does."""
    first: str
    """Of the opening what stands before every call; the rest opens a list of calls."""
    last: str
    """Of the closing what stands behind every call."""
    added: Sequence[str] = field(repr=False, default=())
    """The tokenizer's added tokens."""

    def write(self, call: ToolCall, unspoken: Iterable[str]) -> str:
        """A turn's only call, as the template writes it."""
        spelled = [*unspoken, self.opening.strip(), self.closing.strip(), *self._closing_tags]
        opening, closing = (piece.replace(NAME, call.name) for piece in (self.opening, self.closing))
        return opening + self.core.write(call.name, call.arguments, spelled) + closing

    def find(self, text: str, at: int, blank: bool) -> int:
        """Where the next call begins in a syntax without ``anchor``, or -1.

        ``blank``: whether nothing is said before ``at`` beside reasoning.
        """
        if isinstance(self.core, JsonObject) and not blank:
            return -1
        skipped = "|".join(re.escape(token) for token in self.added) or "(?!)"
        if isinstance(self.core, JsonObject):
            found = re.compile(rf"(?:\s|{skipped})*(?:{self.core.begins})").match(text, at)
        else:
            found = re.compile(self.core.begins).search(text, at)
        return -1 if found is None else found.start()

    def read(self, text: str, at: int) -> Found | None:
        """The call that begins there, or None where none can be read."""
        if not self.anchor:
            begun = re.compile(rf"(?:{'|'.join(map(re.escape, self.added)) or '(?!)'}|\s)*").match(text, at)
            assert begun is not None
            return self.core.read(text, begun.end(), lambda place: self._closes(text, place))
        for opening in dict.fromkeys((self.opening, self.first)):
            opened = loose(opening.strip()).match(text, at)
            found = self.core.read(text, opened.end(), lambda place: self._closes(text, place)) if opened else None
            if found is not None:
                return found
        return self._as_json(text, at + len(self.anchor))

    def begins_at(self, text: str, at: int) -> bool:
        """Whether a call begins there, with a tool's name or its JSON, readable or not."""
        return self._begun.match(text, at) is not None

    def malformed(self, content: str) -> bool:
        """Whether what is said beside calls has a piece of one."""
        return any(tag in content for tag in self._closing_tags)

    def without_list(self, content: str) -> str:
        """What is said beside calls, without what opens and closes a list of them."""
        for piece in (self.opening.removesuffix(self.first), self.closing.removeprefix(self.last)):
            content = loose(piece).sub("", content) if piece.strip() else content
        return content

    @cached_property
    def anchor(self) -> str:
        """What a call begins with, up to its first tag: by this it is found. Empty where a call may begin with none."""
        opening = self.first.strip()
        found = tags(opening, self.added)
        begun = opening[: opening.index(found[0]) + len(found[0])] if found else opening
        return begun.partition(NAME)[0].rstrip()

    @cached_property
    def strict(self) -> bool:
        """Whether a turn in which a call cannot be read is malformed: the anchor has a tag, or a call is a turn."""
        return bool(tags(self.anchor, self.added)) or not self.anchor

    @cached_property
    def _begun(self) -> re.Pattern[str]:
        openings = "|".join(loose(opening.strip()).pattern for opening in (self.opening, self.first))
        return re.compile(f"(?:{openings})(?:{self.core.begins})")

    @cached_property
    def _closing_tags(self) -> list[str]:
        return tags(self._core_end + self.last, self.added)

    @property
    def _core_end(self) -> str:
        return str(getattr(getattr(self.core, "text", None), "after", ""))

    def _closes(self, text: str, at: int) -> int | None:
        closed = loose(self.last.rstrip()).match(text, at) if self.last.strip() else re.compile("").match(text, at)
        if closed is None or (self._core_end and not self._over(text, closed.end())):
            return None
        return at + len(closed[0].rstrip())

    def _over(self, text: str, at: int) -> bool:
        """Whether nothing stands there but another call or the list's end: how a text that is not escaped ends."""
        begun = re.compile(r"\s*").match(text, at)
        assert begun is not None
        outer = self.closing.removeprefix(self.last).strip()
        return begun.end() == len(text) or text.startswith((outer or "\0", self.anchor or "\0"), begun.end())

    def _as_json(self, text: str, at: int) -> Found | None:
        """A call that is written as one JSON object where the template has another syntax."""
        begun = re.compile(r"\s*").match(text, at)
        assert begun is not None
        closing = self._closing_tags[-1:] or [""]

        def closes(place: int) -> int | None:
            closed = loose(f" {closing[0]}").match(text, place)
            return closed.end() if closed else None

        return _FALLBACK.read(text, begun.end(), closes)


def common_prefix(one: str, other: str) -> str:
    """What both begin with."""
    length = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return one[:length]


def common_suffix(one: str, other: str) -> str:
    """What both end with."""
    return common_prefix(one[::-1], other[::-1])[::-1]
