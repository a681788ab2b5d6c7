"""What a template makes of a model's turn and what follows it: where the turn ends, and what stands around a reply."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from piplay.chat.encoding import Encoder
from piplay.chat.opening import trimmed
from piplay.chat.syntax.call import common_prefix
from piplay.chat.template import SAY, SYSTEM, THINK, TOLD, USER, VALUE, Message, Style, Template, TemplateError
from piplay.types import Json


@dataclass(frozen=True, slots=True)
class End:
    """The token that closes a model's turn."""

    token: str
    id: int
    opens: bool
    """Whether it is the first token of what follows, as <|observation|>, which the model writes all the same."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a template writes between two model turns when a tool or a user speaks there."""

    before: str
    after: str
    """What stands around what is told, without the end of the model's turn."""
    quoted: bool
    """Whether what is told stands as a JSON string."""
    trimmed: bool
    """Whether what is told stands without white space around it."""
    end: End

    def parts(self, told: Sequence[str], last: int | None, ends: Sequence[int]) -> list[str]:
        """The pieces that follow a turn whose last id is ``last``, None being the end that belongs there.

        ``told`` is given in pieces. A turn that a text ended lacks its end, which comes first; so it does where it is
        the first token of the reply and the model wrote another end.
        """
        missing = last is not None and last != self.end.id and (self.end.opens or last not in ends)
        told = trimmed(told) if self.trimmed else told
        shown = [type(part)(json.dumps(part, ensure_ascii=False)[1:-1]) if self.quoted else part for part in told]
        return [*([self.end.token] if missing else []), self.before, *shown, self.after]


@dataclass(frozen=True, slots=True)
class Exchange:
    """A model's turn and the reply to it, rendered with marks once and twice."""

    begun: str
    """The prompt."""
    turn: str
    """What the model writes, without its end; it may lack what the prompt opened, where the template rewrites."""
    reply: Reply
    kept: bool
    """Whether turns stay as they were written when more is said."""
    reasons: bool
    """Whether the turn shows its reasoning."""
    thinks: bool
    """Whether it would as the last turn."""


class Compiler:
    """Renders exchanges with a template."""

    def __init__(self, template: Template, encoder: Encoder, ends: Sequence[int]) -> None:
        """``ends``: what the model is known to end its turns with."""
        self.template, self.encoder = template, encoder
        self._known = [token for token, token_id in encoder.added.items() if token_id in ends]

    def call(self, style: Style, name: str, key: str) -> Exchange:
        """A call of a tool by one argument, and its result. Raises ``TemplateError`` where there is none."""
        message = style.call((name, {key: VALUE}), think=THINK)
        between = self._twice(style, name, key).partition(VALUE)[2].partition(VALUE)[0]
        return self._exchange(style, message, style.result(name, TOLD), VALUE, between)

    def answer(self, style: Style) -> Exchange:
        """An answer, and a user who goes on. Raises ``TemplateError`` where there is none."""
        return self._exchange(style, style.answer(SAY, THINK), style.user(TOLD), SAY, "")

    def said(self, style: Style, text: str) -> Exchange:
        """A turn that says this text, and a user who goes on. Raises ``TemplateError`` where it is not kept whole."""
        exchange = self._exchange(style, style.answer(text), style.user(TOLD), text, "")
        return replace(exchange, kept=exchange.kept and exchange.turn.strip() == text)

    def calls(self, style: Style, end: End, *calls: tuple[str, Json], think: str = "") -> str | None:
        """A turn with calls as it is rendered before a result, without its end; None where that fails."""
        start = style.start(SYSTEM, USER)
        try:
            message = style.call(*calls, think=think)
            begun = self.template.render(start)
            whole = self.template.render([*start, message, style.result(calls[0][0], TOLD)])
        except TemplateError:
            return None
        turn = behind_prompt(begun, whole)
        named = turn.find(calls[0][0])
        ended = turn.find(end.token, named) if named >= 0 else -1
        return turn[:ended] if ended >= 0 else None

    def last(self, style: Style, message: Message, end: End) -> str:
        """A turn as it is rendered where nothing follows it, without its end."""
        start = style.start(SYSTEM, USER)
        begun, closed = self.template.render(start), self.template.render([*start, message], begin=False)
        return behind_prompt(begun, closed).rstrip().removesuffix(end.token)

    def end_of_answer(self, style: Style) -> End:
        """What ends a turn that only says something. Raises ``TemplateError`` where nothing does."""
        start, message = style.start(SYSTEM, USER), style.answer(SAY)
        closed = self.template.render([*start, message], begin=False).partition(SAY)[2]
        try:
            tail = self.template.render([*start, message, style.user(TOLD)]).partition(SAY)[2]
        except TemplateError:
            tail = closed
        own = self.encoder.tokens(closed)
        if own and not closed[: own[0][0]].strip() and not _common(closed, tail).strip():
            # What ends the last turn is another token than what a past one is rendered with.
            return self._made(own[0][1], opens=False)
        at, end = self._end(closed, tail, "")
        if end.opens and tail[:at].strip():
            raise TemplateError("that does not close a turn with a control token")
        return end

    def _exchange(self, style: Style, message: Message, reply: Message, mark: str, between: str) -> Exchange:
        start = style.start(SYSTEM, USER)
        render = self.template.render
        begun, closed = render(start), render([*start, message], begin=False)
        first, second = render([*start, message, reply]), render([*start, *[message, reply] * 2])
        quoted = TOLD not in first
        shown = json.dumps(TOLD)[1:-1] if quoted else TOLD
        role = reply["role"]
        if (first.count(mark), first.count(shown)) != (1, 1) or first.index(mark) > first.index(shown):
            raise TemplateError(f"that does not show a model's turn and a {role}'s once and in order")
        tail = first.partition(mark)[2]
        at, end = self._end(closed.partition(mark)[2] if mark in closed else "", tail, between)
        opened = len(first) - len(behind_prompt(begun, first))
        kept = first.startswith(begun) and second == first + first[len(begun) :]
        turn = first[opened : len(first) - len(tail) + at]
        before, _, after = tail[at + len(end.token) :].partition(shown)
        if first.startswith(begun) and second.startswith(first) and not kept:
            raise TemplateError(f"that puts something else around a {role}'s second turn than its first")
        padded = style.user(f" {TOLD} ") if role == "user" else style.result(reply["name"], f" {TOLD} ")
        reply_frame = Reply(before, after, quoted, render([*start, message, padded]) == first, end)
        return Exchange(begun, turn, reply_frame, kept, THINK in turn.partition(mark)[0], THINK in closed)

    def _twice(self, style: Style, name: str, key: str) -> str:
        """A turn with two calls; empty where there is none."""
        try:
            message = style.call((name, {key: VALUE}), (name, {key: VALUE}), think=THINK)
            return self.template.render([*style.start(SYSTEM, USER), message], begin=False)
        except TemplateError:
            return ""

    def _end(self, closed: str, tail: str, between: str) -> tuple[int, End]:
        """Where in ``tail``, what follows a turn's mark, its end stands.

        It is the last added token of what stands there whether anything follows or not (``closed``), or one that is
        known to end turns. What also stands between two calls closes calls, not turns; then the end is what follows.
        """
        common = _common(closed, tail).rstrip()
        tokens = self.encoder.tokens(common)
        known = [(at, token) for at, token in tokens if token in self._known and token not in between]
        if known:
            return known[0][0], self._made(known[0][1], opens=False)
        if tokens and common.endswith(tokens[-1][1]) and tokens[-1][1] not in between:
            return tokens[-1][0], self._made(tokens[-1][1], opens=False)
        behind = re.match(r"\s*", tail[len(common) :])
        at = len(common) + (behind.end() if behind else 0)
        following = [token for place, token in self.encoder.tokens(tail) if place == at]
        if following and closed[len(common) :].strip():
            raise TemplateError(f"that closes a turn before others with {following[0]}, which ends no turn")
        if following:
            return at, self._made(following[0], opens=True)
        raise TemplateError("that does not close a turn with a control token")

    def _made(self, token: str, opens: bool) -> End:
        return End(token, self.encoder.added[token], opens)


def behind_prompt(begun: str, whole: str) -> str:
    """What a conversation has behind its prompt, or behind as much of it as the conversation begins with."""
    common = common_prefix(begun, whole)
    return whole[len(common if common == begun else _common(begun, whole)) :]


def _common(one: str, other: str) -> str:
    """What two texts begin with, without the half of a tag."""
    return re.sub(r"<[^<>]*$", "", common_prefix(one, other))
