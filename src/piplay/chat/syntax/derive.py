"""How a template writes a call, read off calls that it renders with marks in them.

What stands around the marks is the syntax. No family of models is known by name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from piplay.chat.calls import leading_json
from piplay.chat.dialects import called
from piplay.chat.syntax.call import CallSyntax, common_prefix, common_suffix
from piplay.chat.syntax.core import Core, Schemas
from piplay.chat.syntax.json_object import ARGUMENTS as ARGUMENTS_MARK
from piplay.chat.syntax.json_object import NAME as NAME_MARK
from piplay.chat.syntax.json_object import JsonObject
from piplay.chat.syntax.keywords import Keywords
from piplay.chat.syntax.named_json import NamedJson
from piplay.chat.syntax.parameters import Frame, Parameters
from piplay.chat.template import KEY, NAME, OTHER_KEY, VALUE
from piplay.types import Json

Rendered = Callable[..., "str | None"]
"""A turn with these calls, each a pair of name and arguments: from its call to its end; None where none is rendered."""
_ONE: Json = {KEY: VALUE}
_NUMBER, _OTHER_NUMBER = 4711, 4712
_ANOTHER = "zqANOTHERqz"


class _Place(NamedTuple):
    """A core in a rendered turn."""

    core: Core
    begin: int
    end: int


def derive(rendered: Rendered, schemas: Schemas, added: Sequence[str]) -> CallSyntax | None:
    """The syntax of calls, or None where it is none of those that are known."""
    turn = rendered((NAME, _ONE))
    if turn is None or NAME not in turn or VALUE not in turn:
        return None
    place = (
        _json_object(turn)
        or _named_json(turn, schemas)
        or _keywords(turn, schemas)
        or _parameters(turn, rendered, schemas)
    )
    if place is None:
        return None
    opening, closing = turn[: place.begin].lstrip(), turn[place.end :].rstrip()
    first, last = _of_each(rendered, place, turn, opening, closing)
    return CallSyntax(place.core, opening, closing, first, last, tuple(added))


def _json_object(turn: str) -> _Place | None:
    for begin in (match.start() for match in re.finditer(r"[\[{]", turn)):
        data, length = leading_json(turn[begin:])
        found = called(data)
        if found is None or found[0] != NAME:
            continue
        as_text = isinstance(found[1], str) and leading_json(found[1])[0] == _ONE
        if found[1] != _ONE and not as_text:
            continue
        frame, compact = _frame(turn[begin : begin + length], as_text)
        return _Place(JsonObject(frame.replace(NAME, NAME_MARK), compact, as_text), begin, begin + length)
    return None


def _frame(call: str, as_text: bool) -> tuple[str, bool]:
    """A rendered object with a mark for its arguments, and whether these stand without spaces."""
    if as_text:
        for how in (None, (",", ":")):
            said = json.dumps(json.dumps(_ONE, separators=how))[1:-1]
            if said in call:
                return call.replace(said, ARGUMENTS_MARK), how is not None
    starts = (match.start() for match in re.finditer(r"\{", call))
    start = next(start for start in starts if leading_json(call[start:])[0] == _ONE)
    length = leading_json(call[start:])[1]
    compact = not re.search(r"\s", call[start : start + length])
    return call[:start] + ARGUMENTS_MARK + call[start + length :], compact


def _named_json(turn: str, schemas: Schemas) -> _Place | None:
    name = turn.index(NAME)
    for begin in (match.start() for match in re.finditer(r"\{", turn)):
        data, length = leading_json(turn[begin:])
        if data == _ONE and name < begin:
            compact = not re.search(r"\s", turn[begin : begin + length])
            return _Place(NamedJson(turn[name + len(NAME) : begin], compact, schemas), name, begin + length)
    return None


def _keywords(turn: str, schemas: Schemas) -> _Place | None:
    call = re.search(rf"{NAME}\({KEY}=(['\"]){VALUE}\1\)", turn)
    return _Place(Keywords(call[1], schemas), call.start(), call.end()) if call else None


def _parameters(turn: str, rendered: Rendered, schemas: Schemas) -> _Place | None:
    if KEY not in turn or not 0 <= turn.find(NAME) < turn.index(KEY) < turn.index(VALUE):
        return None
    name = turn.rindex(NAME, 0, turn.index(KEY))
    text = _frame_of(rendered, VALUE, _ANOTHER)
    other = _frame_of(rendered, _NUMBER, _OTHER_NUMBER)
    if text is None or other is None:
        return None
    first = turn[name + len(NAME) : turn.index(KEY)]
    nothing = rendered((NAME, {}))
    empty = text.after if nothing is None or NAME not in nothing else nothing.rpartition(NAME)[2]
    shown = rendered((NAME, {KEY: True})) or ""
    # What closes a list of calls is no part of one.
    twice = rendered((NAME, _ONE), (NAME, {KEY: _ANOTHER})) or ""
    gap = twice.partition(VALUE)[2].partition(KEY)[0].rpartition(NAME)[0]
    inner = _whole_tags(common_prefix(text.after, gap), text.after) if _ANOTHER in twice and gap else text.after
    outer = text.after[len(inner) :]
    text, other = (replace(one, after=one.after.removesuffix(outer)) for one in (text, other))
    core = Parameters(first, text, other, empty.removesuffix(outer), f"{True}" in shown, schemas)
    return _Place(core, name, len(turn) - len(outer))


def _frame_of(rendered: Rendered, value: Json, another: Json) -> Frame | None:
    """What stands around values such as these."""
    one, two = rendered((NAME, {KEY: value})), rendered((NAME, {KEY: value, OTHER_KEY: another}))
    if one is None or two is None or any(mark not in two for mark in (KEY, OTHER_KEY, str(value), str(another))):
        return None
    before = one.partition(KEY)[2].partition(str(value))[0]
    between = two.partition(str(value))[2].partition(OTHER_KEY)[0]
    return Frame(before, between, one.rpartition(str(value))[2])


def _of_each(rendered: Rendered, place: _Place, turn: str, opening: str, closing: str) -> tuple[str, str]:
    """What of opening and closing stands around every call, seen where a turn has two."""
    twice = rendered((NAME, _ONE), (NAME, {KEY: _ANOTHER})) or ""
    core = turn[place.begin : place.end]
    _, begun, rest = twice.partition(core)
    gap, again, _ = rest.partition(core.replace(VALUE, _ANOTHER))
    if not begun or not again or not gap.strip(", \n"):
        return opening, closing
    first, last = common_suffix(opening, gap), common_prefix(closing, gap)
    return (first if first == opening else re.sub(r"^[^<]*[^<\s]>", "", first)), _whole_tags(last, closing)


def _whole_tags(piece: str, whole: str) -> str:
    """What two texts begin with, without the half of a tag at its end."""
    return piece if piece == whole else re.sub(r"<[^>]*$", "", piece)
