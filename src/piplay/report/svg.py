"""What all charts are drawn with. Every chart has one width: its text stays readable on a phone and in a row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from piplay.report.markup import Html, number, tag

WIDTH, HEIGHT = 360.0, 214.0
LEFT, TOP, BOTTOM = 40.0, 18.0, 40.0
FLAT = 1e-9
"""A range that is no larger is the noise of sums."""
LETTER = 6.3
"""About the width of a letter."""


@dataclass(frozen=True, slots=True)
class Block:
    """The steps ``first`` to ``last`` of the run: one phase of one iteration."""

    first: int
    last: int
    iteration: int
    phase: str
    letter: str
    kind: int
    """Which phase of the recipe it is."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Where values lie in a chart."""

    x_from: float
    x_to: float
    y_from: float
    y_to: float
    right: float
    """The margin on the right, which names what is drawn."""

    def x(self, value: float) -> float:
        return LEFT + (WIDTH - LEFT - self.right) * (value - self.x_from) / (self.x_to - self.x_from)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * (value - self.y_from) / (self.y_to - self.y_from)


def figure(title: str, unit: str, caption: str, *body: str) -> Html:
    """A chart under its title; ``unit`` labels its upright axis, or says what its numbers are."""
    return tag(
        "figure",
        tag("h3", title, " ", tag("small", unit)),
        *body,
        tag("figcaption", caption, class_="alarm" if caption.startswith("Outside") else None),
    )


def canvas(title: str, height: float, *shapes: str) -> Html:
    return tag("svg", *shapes, viewBox=f"0 0 {WIDTH:g} {height:g}", role="img", aria_label=title)


def words(x: float, y: float, text: str, anchor: str | None = None, class_: str | None = None) -> Html:
    return tag("text", text, x=x, y=y, text_anchor=anchor, class_=class_)


def rule(x1: float, y1: float, x2: float, y2: float, class_: str) -> Html:
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def box(x: float, y: float, width: float, height: float, class_: str, title: str, opacity: float | None = None) -> Html:
    """A bar or a cell; ``title`` tells its value."""
    shade = None if opacity is None else f"{opacity:.2f}"
    size = {"width": max(width, 0.0), "height": max(height, 0.0)}
    return tag("rect", tag("title", title), x=x, y=y, **size, class_=class_, fill_opacity=shade)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers around ``low`` to ``high``, about so many steps of 1, 2 or 5 times a power of ten."""
    high = high if high - low > FLAT else low + (abs(low) if abs(low) > FLAT else 1.0)
    power = 10.0 ** math.floor(math.log10((high - low) / about))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= (high - low) / about * 0.999)
    return [round(i * step, 12) for i in range(math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9) + 1)]


def axes(frame: Frame, places: Mapping[float, str], x_label: str, drop: float) -> list[Html]:
    """Rules and numbers for the upright axis; names at places of the other, ``drop`` below it, and what it is."""
    shapes = []
    for mark in ticks(frame.y_from, frame.y_to):
        line = rule(LEFT, frame.y(mark), WIDTH - frame.right, frame.y(mark), "zero" if mark == 0 else "grid")
        shapes += [line, words(LEFT - 5, frame.y(mark) + 3.5, number(mark), "end")]
    shapes += [words(frame.x(place), HEIGHT - BOTTOM + drop, name, "middle") for place, name in places.items()]
    return [*shapes, words((LEFT + WIDTH - frame.right) / 2, HEIGHT - BOTTOM + drop + 14, x_label, "middle", "axis")]


def step_axes(frame: Frame, blocks: Sequence[Block]) -> list[Html]:
    """The same over the steps of a run, with its phases in a strip under the axis and its iterations above."""
    first, last, bottom = blocks[0].first, blocks[-1].last, HEIGHT - BOTTOM
    places = {mark: number(mark) for mark in ticks(first, last) if first <= mark <= last and mark == int(mark)}
    shapes = axes(frame, places, "step of the run", 22)
    for block in blocks:
        left, right = frame.x(block.first - 0.5), frame.x(block.last + 0.5)
        name = f"iteration {block.iteration}, {block.phase}: steps {block.first} to {block.last}"
        shapes.append(box(left, bottom + 1, right - left - 0.6, 9, f"b{block.kind % 3}", name))
        if right - left > 9:
            shapes.append(words((left + right) / 2, bottom + 8.4, block.letter, "middle", "letter"))
    starts = {block.iteration: frame.x(block.first - 0.5) for block in reversed(blocks)}
    roomy = (frame.x(last) - LEFT) / len(starts) > 62
    for iteration, left in starts.items():
        shapes.append(rule(left, TOP - 12, left, bottom, "iteration"))
        shapes.append(words(left + 3, TOP - 5, f"iteration {iteration}" if roomy else str(iteration), None, "axis"))
    return shapes
