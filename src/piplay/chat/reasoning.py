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
    thought, said = list[str](), list[str]()
    call, malformed, at = None, False, 0
    openings = [_Next(text, one.opening) for one in known]
    closings = [_Next(text, one.closing) for one in known]
    calls = _Next(text, syntax.anchor) if syntax is not None and syntax.anchor else None
    blank, seen = True, 0  # nothing but white space in ``said``, as far as it was looked at
    while True:
        blank, seen = blank and not any(map(str.strip, said[seen:])), len(said)
        events = [(openings[i].behind(at), 0, one) for i, one in enumerate(known)]
        events += [(closings[i].behind(at), 1, one) for i, one in enumerate(known)]
        if calls is not None:
            events.append((calls.behind(at), 2, known[0]))
        elif syntax is not None:
            events.append((syntax.find(text, at, call is None and blank), 2, known[0]))
        place, kind, one = min((event for event in events if event[0] >= 0), key=_earliest, default=(-1, -1, known[0]))
        if place < 0:
            said.append(text[at:])
            break
        if kind == 0:
            said.append(text[at:place])
            begun = place + len(one.opening)
            end = text.find(one.closing, begun)
            thought.append(text[begun : end if end >= 0 else len(text)])
            if end < 0:
                malformed = malformed or call is None
                break
            at = end + len(one.closing)
        elif kind == 1:
            thought, said, call, malformed = [text[:place]], [], None, False
            blank, seen = True, 0
            at = place + len(one.closing)
        elif syntax is not None:
            said.append(text[at:place])
            found = syntax.read(text, place)
            if found is None:
                unread = syntax.strict
                malformed = malformed or unread
                at = place + max(1, len(syntax.anchor))
                said.append(text[place:at])
                if unread and not syntax.anchor:
                    break
                continue
            call, at = call or found, found.end
            if not syntax.anchor:
                break
    content = "".join(said)
    if syntax is not None:
        content = syntax.without_list(content)
        malformed = malformed or syntax.malformed(content)
    thoughts = "\n".join(filter(None, map(str.strip, thought)))
    return Said(thoughts, content.strip(), None if malformed else call, malformed)


class _Next:
    """Where a text has a piece next: looked for once, however often it is asked for before that place."""

    def __init__(self, text: str, piece: str) -> None:
        self._text, self._piece = text, piece
        self._found = text.find(piece)

    def behind(self, at: int) -> int:
        """From ``at`` on, which never goes back; −1 where it has none."""
        if 0 <= self._found < at:
            self._found = self._text.find(self._piece, at)
        return self._found


def _earliest(event: tuple[int, int, Reasoning]) -> tuple[int, int, int]:
    """Of two that begin at one place the longer counts: <|channel|>analysis before what begins like it."""
    place, kind, one = event
    return place, kind, -len(one.opening)
