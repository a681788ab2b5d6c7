"""A page as a tree, read by the standard library, and numbers read off its charts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser

VOID = ("meta", "br")


class Node:
    """An element: its name, attributes, and children, text among them."""

    def __init__(self, name: str, attributes: dict[str, str]) -> None:
        self.name, self.attributes = name, attributes
        self.children: list[Node | str] = []

    def __iter__(self) -> Iterator[Node]:
        for child in self.children:
            if isinstance(child, Node):
                yield child
                yield from child

    def all(self, name: str, style: str | None = None) -> list[Node]:
        return [n for n in self if n.name == name and (style is None or style in n.attributes.get("class", "").split())]

    @property
    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    @property
    def words(self) -> str:
        """The text without the charts' tooltips."""
        return "".join(
            child if isinstance(child, str) else child.words if child.name != "title" else "" for child in self.children
        )


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open = [Node("", {})]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"{tag} has an attribute twice"
        node = Node(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        raise AssertionError(f"{tag} closes itself")

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].name == tag, f"{tag} closes {self.open[-1].name}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def parse(page: str) -> Node:
    """The page's elements. Fails where one is not closed, or closed by another's end."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert len(reader.open) == 1, f"{reader.open[-1].name} is not closed"
    return reader.open[0]


def figure(page: Node, title: str) -> Node:
    """The one figure under a title."""
    [found] = [f for f, name in zip(page.all("figure"), titles(page), strict=True) if name == title]
    return found


def titles(page: Node) -> list[str]:
    """The titles of all figures."""
    return [str(f.all("h3")[0].children[0]).strip() for f in page.all("figure")]


def heights(chart: Node) -> tuple[float, float]:
    """Slope and offset that turn a height of the drawing into a value, from the numbers beside the upright axis."""
    marks = [
        (float(n.attributes["y"]) - 3.5, float(n.text.replace(",", "")))
        for n in chart.all("text")
        if n.attributes.get("text-anchor") == "end" and re.fullmatch(r"-?[\d.,]+", n.text)
    ]
    (y0, v0), (y1, v1) = marks[0], marks[-1]
    slope = (v1 - v0) / (y1 - y0)
    return slope, v0 - slope * y0


def drawn(chart: Node) -> dict[str, list[float]]:
    """The values at which each curve's dots are drawn, by the curve's name, left to right."""
    slope, offset = heights(chart)
    found: dict[str, list[float]] = {}
    for dot in chart.all("circle"):
        name = dot.all("title")[0].text.partition(", ")[0]
        found.setdefault(name, []).append(slope * float(dot.attributes["cy"]) + offset)
    return found


def said(chart: Node) -> dict[str, dict[float, float]]:
    """What the dots' tooltips say: by curve, the value at each step."""
    found: dict[str, dict[float, float]] = {}
    for dot in chart.all("circle"):
        match = re.fullmatch(r"(.+), \w+ ([\d.,]+): (\S+)", dot.all("title")[0].text)
        assert match
        found.setdefault(match[1], {})[float(match[2].replace(",", ""))] = float(match[3].replace(",", ""))
    return found
