"""What a turn's reasoning stands between, and a turn cut into reasoning, call and what it says beside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from piplay.chat.syntax.call import CallSyntax
from piplay.chat.syntax.core import Found, tags


@dataclass(frozen=True, slots=True)
class Reasoning:
    """What opens reasoning and what closes it, without white space around."""

    opening: str
    closing: str


USUAL = (Reasoning("<think>", "</think>"), Reasoning("[THINK]", "[/THINK]"))
"""Known of every model: many were taught one of them, whatever their template knows."""


def around(turn: str, mark: str, prompt: str, added: Sequence[str]) -> Reasoning | None:
    """The reasoning of a turn as a template renders it with a mark in it; the prompt may open it already."""
    before, found, after = turn.partition(mark)
    if not found:
        return None
    closing = tags(after, [*added, "[/THINK]"])
    opened = before.strip() or _last_tag(prompt.rstrip(), added)
    return Reasoning(opened, closing[0]) if closing and opened and after.lstrip().startswith(closing[0]) else None


def _last_tag(text: str, added: Sequence[str]) -> str:
    """What a text ends with, from its last tag on."""
    found = tags(text, [*added, "[THINK]"])
    return text[text.rindex(found[-1]) :] if found else ""


_UNREAD = 8
"""Calls that begin and cannot be read, before a turn is read no further."""


@dataclass(frozen=True, slots=True)
class Said:
    """A turn, cut up."""

    think: str
    content: str
    """All that is said beside reasoning and calls."""
    call: Found | None
    """The first call."""
    malformed: bool
    """Whether reasoning is open at the end, or something begins like a call and is none."""


def cut(text: str, known: Sequence[Reasoning], syntax: CallSyntax | None) -> Said:
    """A turn from left to right.

    Reasoning that is never closed goes on to the end; a closing that nothing opened ends reasoning that began with the
    turn. A call within the reasoning is none. Of several calls the first counts, if all that begin can be read.
    """
    thought, said = list[tuple[int, int]](), list[str]()  # of a thought where it stands: a turn may have 100,000
    call, malformed, at, unread = None, False, 0, 0
    events = [_Next(text, one.opening, 0, one) for one in known] + [_Next(text, one.closing, 1, one) for one in known]
    if syntax is not None and syntax.anchor:
        events.append(_Next(text, syntax.anchor, 2, known[0]))
    blank, seen = True, 0  # nothing but white space in ``said``, as far as it was looked at
    while True:
        place, kind, one = min((event.behind(at) for event in events), key=_earliest)
        if syntax is not None and not syntax.anchor:
            blank, seen = blank and not any(map(str.strip, said[seen:])), len(said)
            found_at = syntax.find(text, at, call is None and blank)
            if 0 <= found_at < place:
                place, kind = found_at, 2
        if place == len(text):
            said.append(text[at:])
            break
        if kind == 0:
            said.append(text[at:place])
            begun = place + len(one.opening)
            end = text.find(one.closing, begun)
            thought.append((begun, end if end >= 0 else len(text)))
            if end < 0:
                malformed = malformed or call is None
                break
            at = end + len(one.closing)
        elif kind == 1:
            thought, said, call, malformed = [(0, place)], [], None, False
            blank, seen = True, 0
            at = place + len(one.closing)
        elif syntax is not None:
            said.append(text[at:place])
            found = syntax.read(text, place)
            if found is None:
                unread += syntax.strict or syntax.begins_at(text, place)
                malformed = malformed or syntax.strict or unread == _UNREAD
                at = place + max(1, len(syntax.anchor))
                said.append(text[place:at])
                if unread == _UNREAD or not syntax.anchor:
                    break
                continue
            call, at = call or found, found.end
            if not syntax.anchor:
                break
    content = "".join(said)
    if syntax is not None:
        content = syntax.without_list(content)
        malformed = malformed or syntax.malformed(content)
    thoughts = "\n".join(filter(None, (text[begun:end].strip() for begun, end in thought)))
    return Said(thoughts, content.strip(), None if malformed else call, malformed)


class _Next:
    """Where a text has a piece next: looked for once, however often it is asked for before that place."""

    def __init__(self, text: str, piece: str, kind: int, one: Reasoning) -> None:
        self._text, self._piece, self._event = text, piece, (-1, kind, one)

    def behind(self, at: int) -> tuple[int, int, Reasoning]:
        """From ``at`` on, which never goes back: the place, the text's end where there is none, and what it is."""
        place, kind, one = self._event
        if place < at:
            place = self._text.find(self._piece, at)
            self._event = (place if place >= 0 else len(self._text), kind, one)
        return self._event


def _earliest(event: tuple[int, int, Reasoning]) -> tuple[int, int, int]:
    """Of two that begin at one place the longer counts: <|channel|>analysis before what begins like it."""
    place, kind, one = event
    return place, kind, -len(one.opening)
