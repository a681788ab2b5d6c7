"""Curves over the steps or the iterations of a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from piplay.report.markup import Html, number, tag
from piplay.report.svg import (
    BOTTOM,
    HEIGHT,
    LETTER,
    TOP,
    WIDTH,
    Block,
    Frame,
    axes,
    canvas,
    figure,
    step_axes,
    ticks,
    words,
)

MOST_POINTS = 240
"""Points of one curve; where it has more, neighbours are averaged."""
MOST_NAMED = 8
"""Iterations that are all named under the axis."""
MOST_LETTERS = 16
"""Of a name beside a line; its dots have it whole."""
MARKERS = (
    "M-3,0a3,3 0 1,0 6,0a3,3 0 1,0 -6,0z",
    "M-3,-3h6v6h-6z",
    "M0,-4l4,7h-8z",
    "M0,-4l4,4l-4,4l-4,-4z",
    "M-4,0h8M0,-4v8",
    "M-3,-3l6,6M-3,3l6,-6",
    "M0,4l-4,-7h8z",
    "M-4,0a4,4 0 0,1 8,0z",
)
"""Line i has marker i, and the colour and dash of the style's class ``s{i}``."""

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Curve:
    """What one line shows, in stretches that are not joined; at least one point."""

    name: str
    stretches: Sequence[Points]
    metric: str = ""
    """The metric that it shows, or several by a pattern with ``*``: an alarm of one of them is the chart's."""


def over_steps(
    title: str, unit: str, caption: str, lines: Sequence[Curve], blocks: Sequence[Block], shares: bool = False
) -> Html:
    """Lines over the steps of a run, its phases in a strip under the axis. ``shares``: the axis is 0 to 1."""
    frame = _frame(lines, blocks[0].first - 0.5, blocks[-1].last + 0.5, shares)
    return _chart(title, unit, caption, lines, frame, step_axes(frame, blocks), "step")


def over_iterations(title: str, unit: str, caption: str, lines: Sequence[Curve], shares: bool = False) -> Html:
    """Lines over the iterations of a run; 0 is the base. ``shares``: the axis is 0 to 1."""
    iterations = sorted({x for line in lines for stretch in line.stretches for x, _ in stretch})
    first, last = iterations[0], iterations[-1]
    margin = 0.15 * max(1.0, last / MOST_NAMED)
    frame = _frame(lines, first - margin, max(last, 1.0) + margin, shares)
    if len(iterations) > MOST_NAMED:
        iterations = [mark for mark in ticks(first, last) if first <= mark <= last]
    places = {m: f"{m:g}" if m else "base" for m in iterations}
    return _chart(title, unit, caption, lines, frame, axes(frame, places, "iterations done", 15), "iteration")


def over(title: str, unit: str, caption: str, lines: Sequence[Curve], x_label: str) -> Html:
    """Lines of shares over any number from 0 on; ``x_label`` says which."""
    last = max(x for line in lines for stretch in line.stretches for x, _ in stretch)
    marks = ticks(0.0, last)
    frame = _frame(lines, 0.0, max(last, marks[-1]), shares=True)
    return _chart(title, unit, caption, lines, frame, axes(frame, {x: number(x) for x in marks}, x_label, 15), x_label)


def thinned(stretches: Sequence[Points], most: int = MOST_POINTS) -> list[Points]:
    """About so many points in all: where there are more, each is the mean of as many neighbours of one stretch."""
    each = math.ceil(sum(map(len, stretches)) / most)
    return [[_mean(points[i : i + each]) for i in range(0, len(points), each)] for points in stretches]


def _mean(points: Points) -> tuple[float, float]:
    return sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)


def _frame(lines: Sequence[Curve], x_from: float, x_to: float, shares: bool) -> Frame:
    values = [y for line in lines for stretch in line.stretches for _, y in stretch]
    marks = [0.0, 1.0] if shares else ticks(min(0.0, *values), max(0.0, *values))
    right = 10.0 if len(lines) < 2 else 24.0 + LETTER * max(len(_short(line.name)) for line in lines)
    return Frame(x_from, x_to, marks[0], marks[-1], right)


def _chart(
    title: str, unit: str, caption: str, lines: Sequence[Curve], frame: Frame, behind: Sequence[Html], place: str
) -> Html:
    drawn = [_line(frame, line, i, place) for i, line in enumerate(lines)]
    return figure(title, unit, caption, canvas(title, HEIGHT, *behind, *drawn, *_names(frame, lines)))


def _line(frame: Frame, line: Curve, i: int, place: str) -> Html:
    """A dot for each point, which tells its value, and a marker at the end of each stretch."""
    shapes = []
    for stretch in thinned(line.stretches):
        points = [(frame.x(x), frame.y(y)) for x, y in stretch]
        shapes.append(tag("polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points)))
        for (x, y), (step, value) in zip(points, stretch, strict=True):
            name = tag("title", f"{line.name}, {place} {number(step)}: {number(value)}")
            shapes.append(tag("circle", name, cx=x, cy=y, r=1.8))
        shapes.append(_marker(*points[-1], i))
    return tag("g", *shapes, class_=f"line s{i % len(MARKERS)}")


def _marker(x: float, y: float, i: int) -> Html:
    return tag("path", d=MARKERS[i % len(MARKERS)], transform=f"translate({x:.1f},{y:.1f})")


def _names(frame: Frame, lines: Sequence[Curve]) -> list[Html]:
    """Each line's name beside its end; names that would overlap make room."""
    if len(lines) < 2:
        return []
    gap, bottom, left = 12.0, HEIGHT - BOTTOM, WIDTH - frame.right + 12
    ends = sorted((frame.y(line.stretches[-1][-1][1]), i) for i, line in enumerate(lines))
    heights: list[float] = []
    for height, _ in ends:
        heights.append(max(height, heights[-1] + gap if heights else TOP))
    for n in range(len(heights)):
        heights[n] = min(heights[n], bottom - gap * (len(heights) - 1 - n))
    return [
        tag(
            "g",
            _marker(left, height, i),
            words(left + 7, height + 3.5, _short(lines[i].name)),
            class_=f"line s{i % len(MARKERS)}",
        )
        for height, (_, i) in zip(heights, ends, strict=True)
    ]


def _short(name: str) -> str:
    return name if len(name) <= MOST_LETTERS else f"{name[: MOST_LETTERS - 1]}…"
