"""A template's turns with calls: the style in which it takes them, an exchange in it, and the syntax of its calls."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from piplay.chat.exchange import Compiler, End, Exchange
from piplay.chat.reasoning import USUAL, Reasoning, around
from piplay.chat.syntax.call import CallSyntax
from piplay.chat.syntax.core import Schemas
from piplay.chat.syntax.derive import derive
from piplay.chat.template import ARGUMENTS, KEY, NAME, SYSTEM, THINK, USER, Style, TemplateError, styles
from piplay.types import Json

_ASSUMED = f'<tool_call>\n{{"name": "{NAME}", "arguments": {ARGUMENTS}}}\n</tool_call>'
"""What models write whose template tells them of such calls and renders none."""


class RewritesError(TemplateError):
    """A template that is not append-only."""

    def __init__(self, role: str) -> None:
        super().__init__(f"that is not append-only (it rewrites earlier turns when a {role}'s is added)")


@dataclass(frozen=True, slots=True)
class Spoken:
    """How a template takes a model's turns."""

    style: Style
    exchange: Exchange
    reasoning: Reasoning | None
    """What the template puts around reasoning; None where it knows none."""
    syntax: CallSyntax | None = None


def spoken(compiler: Compiler, like: Style, rewrites: bool) -> Spoken:
    """The first way to give calls to a template in which it writes them so that they can be read.

    Raises ``TemplateError`` where there is none, ``RewritesError`` where turns would be rewritten and must not be.
    """
    tool, schemas = compiler.template.tools[0], Schemas(compiler.template.tools)
    problem: TemplateError | None = None
    rewriting: Spoken | None = None
    for way in [*styles(like), *_assumed(compiler, like)]:
        try:
            found = _reasoned(compiler, way, partial(compiler.call, name=tool.name, key=KEY))
        except TemplateError as error:
            problem = problem or error
            continue
        plain = replace(found.style, reasoning="none")
        rendered = partial(_call_alone, compiler, plain, found.exchange.reply.end, found.reasoning)
        syntax = derive(rendered, schemas, list(compiler.encoder.added))
        found = replace(found, syntax=syntax)
        if syntax is None:
            problem = problem or TemplateError("that writes calls in a syntax that is not known")
        elif found.exchange.kept:
            return found
        else:
            rewriting = rewriting or found
    if rewriting is not None and rewrites:
        return rewriting
    if rewriting is not None:
        raise RewritesError("tool")
    raise problem or TemplateError("that never writes a call")


def answered(compiler: Compiler, like: Style) -> Spoken:
    """How a template takes answers that a user follows. Raises ``TemplateError`` where it cannot."""
    return _reasoned(compiler, like, compiler.answer)


def opened_by(begun: str, own: Reasoning | None) -> Reasoning | None:
    """The reasoning that a prompt has opened, so that the model only closes it."""
    known = [*([own] if own else []), *USUAL]
    return next((one for one in known if begun.rstrip().endswith(one.opening)), None)


def _reasoned(compiler: Compiler, way: Style, shown: Callable[[Style], Exchange]) -> Spoken:
    """With reasoning where the template keeps it; it rewrites where it shows reasoning only in the last turn."""
    found = list[Spoken]()
    problem: TemplateError | None = None
    for style in (replace(way, reasoning=where) for where in ("field", "inline", "none")):
        try:
            exchange = shown(style)
        except TemplateError as error:
            problem = problem or error
            continue
        reasoning = around(exchange.turn, THINK, exchange.begun, list(compiler.encoder.added))
        found.append(Spoken(style, exchange, reasoning))
        if exchange.kept and exchange.reasons and reasoning:
            return found[-1]
    if not found:
        raise problem or TemplateError("that cannot be played")
    best = next((one for one in found if one.exchange.kept), found[0])
    begun = best.exchange.begun.rstrip()
    # A prompt that closes the reasoning leaves none to lose.
    answers = best.exchange.kept and any(begun.endswith(one.closing) for one in USUAL)
    loses = not answers and (any(one.exchange.thinks for one in found) or opened_by(begun, None))
    return replace(best, exchange=replace(best.exchange, kept=best.exchange.kept and not loses))


def _call_alone(
    compiler: Compiler, style: Style, end: End, reasoning: Reasoning | None, *calls: tuple[str, Json]
) -> str | None:
    """A rendered turn with calls, behind what its reasoning would be."""
    turn = compiler.calls(style, end, *calls)
    if turn is None or NAME not in turn:
        return turn
    before, _, rest = turn.partition(NAME)
    for one in [*([reasoning] if reasoning else []), *USUAL]:
        before = before.rpartition(one.closing)[2] if one.closing in before else before
    return before + NAME + rest


def _assumed(compiler: Compiler, like: Style) -> Iterator[Style]:
    """A way for templates whose prompt tells of calls in tags and which render none."""
    told = compiler.template.render(like.start(SYSTEM, USER))
    if "<tool_call>" in told and re.search(r"[\"']?arguments[\"']?", told):
        yield replace(like, written=_ASSUMED)
