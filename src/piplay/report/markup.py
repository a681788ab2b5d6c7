"""HTML that cannot be forgotten to be escaped: whatever is not made by ``tag`` is text."""

from __future__ import annotations

from html import escape

VOID = ("meta", "br")


class Html(str):
    """Text that is markup."""

    __slots__ = ()


def tag(name: str, /, *children: str | None, **attributes: str | float | None) -> Html:
    """An element. Children that are no ``Html`` are escaped, None is left out; ``class_`` is the attribute class."""
    words = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_number(value)).replace(chr(10), "&#10;")}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{words}>" if name in VOID else f"<{name}{words}>{join(*children)}</{name}>")


def join(*children: str | None) -> Html:
    """Several children one after the other, escaped where they are text."""
    return Html("".join(c if isinstance(c, Html) else escape(c, quote=False) for c in children if c is not None))


def number(value: float) -> str:
    """A number as a reader wants it: three significant digits, no exponent where it can be helped."""
    if value == 0 or not 1e-4 <= abs(value) < 1e6:
        return f"{value:.3g}"
    return f"{float(f'{value:.3g}'):,.6f}".rstrip("0").rstrip(".")


def share(value: float) -> str:
    """A share of 1, always with two decimals."""
    return f"{value:.2f}"


def _number(value: str | float) -> str:
    """A coordinate with a tenth of a unit, text as it is."""
    return value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")
