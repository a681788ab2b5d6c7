"""What stands around reasoning, call and answer in the turns that a template renders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from piplay.chat.compiled import Spoken, opened_by
from piplay.chat.exchange import Compiler, End
from piplay.chat.reasoning import USUAL, Reasoning, around
from piplay.chat.template import KEY, SAY, THINK, VALUE, TemplateError
from piplay.types import ToolCall


@dataclass(frozen=True, slots=True)
class Frames:
    """Turns of a model."""

    known: tuple[Reasoning, ...]
    """What reasoning may stand between; the template's own first."""
    opened: str
    """The opening of reasoning that the prompt holds already; empty where it holds none."""
    before_call: tuple[str, str, str]
    """Before reasoning, between it and a call, and before a call without reasoning."""
    before_answer: tuple[str, str, str]
    """The same of an answer."""
    after_answer: str
    channel: tuple[str, str]
    """What an answer stands between; mostly nothing."""

    def turn(self, think: str, said: str, calls: bool) -> str:
        """A turn that reasons and then says something, or calls."""
        before, between, alone = self.before_call if calls else self.before_answer
        return (before + think + between if think else alone) + said + ("" if calls else self.after_answer)

    def content(self, said: str) -> str:
        """What a turn says beside reasoning and calls, without the frame of an answer."""
        opening, closing = self.channel
        said = said.rpartition(opening)[2] if opening and opening in said else said
        return said.strip().removesuffix(closing).strip() if closing else said.strip()


def frames_of(compiler: Compiler, way: Spoken, end: End, tool: str | None) -> Frames:
    """The frames of a template's turns; ``end`` is that of an answer, ``tool`` the name of one.

    Raises ``TemplateError`` where the template does not show what a model says.
    """
    style, begun = way.style, way.exchange.begun
    thought = compiler.last(style, style.answer(SAY, THINK), end)
    alone, said, after = compiler.last(style, style.answer(SAY), end).partition(SAY)
    if not said:
        raise TemplateError("that does not show what a model says")
    own = way.reasoning or around(thought, THINK, begun, list(compiler.encoder.added))
    known = (*([own] if own else []), *(one for one in USUAL if one != own))
    opened = opened_by(begun, own)
    before_answer = _before(thought, SAY, alone, known[0], opened)
    before_call = _before_call(compiler, way, tool, known[0], opened) if tool else before_answer
    channel = behind(alone, known).strip(), after.strip()
    return Frames(known, opened.opening if opened else "", before_call, before_answer, after, channel)


def behind(text: str, known: Sequence[Reasoning]) -> str:
    """What stands behind reasoning, where there is any."""
    for one in known:
        text = text.rpartition(one.closing)[2]
    return text


def _before_call(
    compiler: Compiler, way: Spoken, tool: str, own: Reasoning, opened: Reasoning | None
) -> tuple[str, str, str]:
    assert way.syntax is not None
    call = way.syntax.write(ToolCall(tool, {KEY: VALUE}), ())
    end, arguments = way.exchange.reply.end, (tool, {KEY: VALUE})
    plain = compiler.calls(way.style, end, arguments) or ""
    thought = compiler.calls(way.style, end, arguments, think=THINK) or ""
    call = call if call in plain else way.syntax.opening
    return _before(thought, call, plain.partition(call)[0] if call in plain else "", own, opened)


def _before(turn: str, mark: str, alone: str, own: Reasoning, opened: Reasoning | None) -> tuple[str, str, str]:
    """What stands before reasoning, between it and a mark, and before the mark where there is none (``alone``)."""
    if opened and opened.closing not in alone:
        alone = opened.closing + alone
    before, found, rest = turn.partition(THINK)
    if found and mark and mark in rest:
        return before, rest[: rest.index(mark)], alone
    return "" if opened else own.opening, own.closing + behind(alone, [own]), alone
