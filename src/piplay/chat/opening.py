"""How a template begins a conversation: what stands around the system text and the user's first message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from piplay.chat.encoding import Foreign
from piplay.chat.template import SYSTEM, USER, Style, Template, TemplateError


@dataclass(frozen=True, slots=True)
class Opening:
    """Pieces of a template around what is said first."""

    pieces: tuple[str, str, str]
    """Before the system text, between it and the user's, and behind this, up to where the model writes."""
    without: tuple[str, str]
    """Around the user's where the system text is empty."""
    trimmed: tuple[bool, bool]
    """Whether the two stand without white space around them."""
    style: Style
    """How messages are given to the template."""

    def parts(self, system: Sequence[str], user: str) -> list[str]:
        """The pieces of a prompt; the system text is given in pieces."""
        told = trimmed(system) if self.trimmed[0] else list(system)
        asked = Foreign(user.strip() if self.trimmed[1] else user)
        if not any(told):
            return [self.without[0], asked, self.without[1]]
        head, middle, tail = self.pieces
        return [head, *told, middle, asked, tail]


def trimmed(pieces: Sequence[str]) -> list[str]:
    """Pieces of a text without white space around the whole."""
    kept = [piece for piece in pieces if piece.strip()]
    if not kept:
        return []
    kept[0] = type(kept[0])(kept[0].lstrip())
    kept[-1] = type(kept[-1])(kept[-1].rstrip())
    return kept


def opening_of(template: Template) -> Opening:
    """How a template begins, with every tool in it. Raises ``TemplateError`` where it cannot be played."""
    problem: TemplateError | None = None
    for parts, folded in product((False, True), (False, True)):
        style = Style(folded=folded, parts=parts)
        try:
            return _compiled(template, style)
        except TemplateError as error:
            problem = problem or error
    assert problem is not None
    raise problem


def _compiled(template: Template, style: Style) -> Opening:
    begun = template.render(style.start(SYSTEM, USER))
    head, _, rest = begun.partition(SYSTEM)
    middle, _, tail = rest.partition(USER)
    if (begun.count(SYSTEM), begun.count(USER), USER in rest) != (1, 1, True) or _hides(template, style, begun):
        raise TemplateError("that does not show each tool and each message once and in order")
    try:
        bare = template.render(style.start("", USER))
    except TemplateError:
        bare = ""
    before, found, after = bare.partition(USER)
    without = (before, after) if found and USER not in after else (head + middle, tail)
    trims = (_trims(template, style, SYSTEM, begun), _trims(template, style, USER, begun))
    return Opening((head, middle, tail), without, trims, style)


def _hides(template: Template, style: Style, begun: str) -> bool:
    """Whether some tool makes no difference. A template that cannot render without one does show it."""
    for tool in template.tools:
        try:
            if template.render(style.start(SYSTEM, USER), without=tool) == begun:
                return True
        except TemplateError:
            continue
    return False


def _trims(template: Template, style: Style, mark: str, begun: str) -> bool:
    said = [f" {text} " if text == mark else text for text in (SYSTEM, USER)]
    try:
        return template.render(style.start(*said)) == begun
    except TemplateError:
        return False
