"""Bars, funnels and heat maps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from piplay.eval.statistics import wilson
from piplay.report.markup import Html, number, share
from piplay.report.svg import (
    HEIGHT,
    LEFT,
    LETTER,
    TOP,
    WIDTH,
    Block,
    Frame,
    axes,
    box,
    canvas,
    figure,
    rule,
    step_axes,
    words,
)

MOST_BARS = 120
"""Bars over the steps of a run; where it has more steps, neighbours are added up."""
MOST_SHADES = 11
"""Shades that are named beside them; of more, some."""
ROW = 18.0


def before_after(title: str, unit: str, caption: str, groups: Sequence[tuple[str, int, float, float | None]]) -> Html:
    """Two bars a group, with 95 % intervals; a group is its name, its questions, and the rate before and after."""
    frame = Frame(-0.5, len(groups) - 0.5, 0.0, 1.0, 10.0)
    shapes = axes(frame, {i: name for i, (name, *_) in enumerate(groups)}, "what a question takes", 15)
    wide = min((WIDTH - LEFT) / len(groups) * 0.36, 34.0)
    for i, (name, count, *rates) in enumerate(groups):
        for j, (when, rate) in enumerate(zip(("before", "after"), rates, strict=True)):
            if rate is None:
                continue
            left = frame.x(i) + (j - 1) * (wide + 2) + 1
            low, high = wilson(round(rate * count), count)
            text = f"{name}, {when}: {share(rate)} of {count} questions (95 % interval {share(low)} to {share(high)})"
            shapes.append(box(left, frame.y(rate), wide, frame.y(0) - frame.y(rate), when, text))
            middle = left + wide / 2
            shapes.append(rule(middle, frame.y(low), middle, frame.y(high), "whisker"))
            shapes.append(words(middle, frame.y(high) - 4, share(rate), "middle", "value"))
    return figure(title, unit, caption, canvas(title, HEIGHT, *shapes))


def stacked_over_steps(
    title: str, unit: str, caption: str, counts: Mapping[int, Mapping[int, int]], blocks: Sequence[Block]
) -> Html:
    """One bar a step, cut by k: how many tasks exactly k samples solved, as a share of the step's tasks."""
    most = max(k for found in counts.values() for k in found)
    frame = Frame(blocks[0].first - 0.5, blocks[-1].last + 0.5, 0.0, 1.0, 44.0)
    shapes = step_axes(frame, blocks)
    each = max(1, math.ceil((blocks[-1].last - blocks[0].first + 1) / MOST_BARS))
    for first in range(blocks[0].first, blocks[-1].last + 1, each):
        steps = [step for step in range(first, first + each) if step in counts]
        total = sum(sum(counts[step].values()) for step in steps)
        done = 0
        for k in range(most, -1, -1):
            count = sum(counts[step].get(k, 0) for step in steps)
            if count:
                left, right = frame.x(first - 0.5), frame.x(min(first + each - 1, blocks[-1].last) + 0.5)
                top, bottom = frame.y((done + count) / total), frame.y(done / total)
                name = f"step {' and '.join(map(str, steps))}: k = {k} for {count} of {total} tasks"
                shapes.append(box(left, top, (right - left) * 0.92, bottom - top, *_solved(k, most, name)))
                done += count
    for row, k in enumerate(range(0, most + 1, math.ceil((most + 1) / MOST_SHADES))):
        top = TOP + 8 + 14 * row
        shapes.append(box(WIDTH - 38, top, 9, 9, *_solved(k, most, f"k = {k}")))
        shapes.append(words(WIDTH - 26, top + 8, f"k={k}"))
    return figure(title, unit, caption, canvas(title, HEIGHT, *shapes))


def _solved(k: int, most: int, name: str) -> tuple[str, str, float]:
    """Style of the part that k samples solved: grey where none did, else the darker the more."""
    return ("k0", name, 1.0) if k == 0 else ("k", name, 0.2 + 0.8 * (k - 1) / max(most - 1, 1))


def funnel(title: str, unit: str, caption: str, refused: Mapping[str, int], passed: int) -> Html:
    """What is left after each gate, and how many it refused."""
    left, left_over = 10.0 + LETTER * max(map(len, [*refused, "passed"])), passed + sum(refused.values())
    scale = (WIDTH - left - 46) / max(left_over, 1)
    shapes = []
    for row, (gate, count) in enumerate([("asked", 0), *refused.items(), ("passed", 0)]):
        top = 4 + ROW * row
        left_over -= count
        shapes.append(words(left - 6, top + 11, gate, "end"))
        shapes.append(box(left, top, left_over * scale, ROW - 4, "kept", f"{gate}: {left_over} left"))
        if count:
            shapes.append(
                box(left + left_over * scale, top, count * scale, ROW - 4, "refused", f"{gate} refused {count}")
            )
        text = number(left_over) if gate in ("asked", "passed") else f"−{count}" if count else "0"
        shapes.append(words(left + (left_over + count) * scale + 5, top + 11, text, None, "value"))
    return figure(title, unit, caption, canvas(title, 4 + ROW * (len(refused) + 2), *shapes))


def heat_map(
    title: str, unit: str, caption: str, columns: Sequence[str], rows: Mapping[str, Sequence[float]], x_label: str
) -> Html:
    """Shares as shaded cells with their numbers."""
    left = 10.0 + LETTER * max(map(len, rows))
    wide, high = (WIDTH - left - 4) / len(columns), 34.0
    shapes = [words(left + wide * (i + 0.5), 14, name, "middle") for i, name in enumerate(columns)]
    for j, (name, shares) in enumerate(rows.items()):
        top = 20 + high * j
        shapes.append(words(left - 6, top + high / 2 + 4, name, "end"))
        for i, rate in enumerate(shares):
            shapes.append(
                box(left + wide * i, top, wide - 2, high - 2, "cell", f"{name}, {columns[i]}: {share(rate)}", rate)
            )
            style = "value over" if rate > 0.55 else "value"
            shapes.append(words(left + wide * (i + 0.5) - 1, top + high / 2 + 3, share(rate), "middle", style))
    height = 20 + high * len(rows)
    shapes.append(words((left + WIDTH) / 2, height + 12, x_label, "middle", "axis"))
    return figure(title, unit, caption, canvas(title, height + 18, *shapes))


def times(title: str, unit: str, caption: str, rows: Mapping[str, Mapping[str, float]]) -> Html:
    """Seconds: one bar a row, cut into named parts that all rows share, with its sum."""
    names = list(dict.fromkeys(part for parts in rows.values() for part in parts))
    left, most = 10.0 + LETTER * max(map(len, rows)), max(sum(parts.values()) for parts in rows.values())
    scale = (WIDTH - left - 44) / (most or 1.0)
    shapes = []
    for row, (name, parts) in enumerate(rows.items()):
        top, x = 4 + 24.0 * row, left
        shapes.append(words(left - 6, top + 13, name, "end"))
        for part, value in parts.items():
            shapes.append(
                box(x, top, value * scale, 18, f"t{names.index(part) % 5}", f"{name}, {part}: {number(value)} s")
            )
            x += value * scale
        shapes.append(words(x + 5, top + 13, number(sum(parts.values())), None, "value"))
    height, x = 4 + 24.0 * len(rows) + 6, left
    for i, part in enumerate(names):
        shapes += [box(x, height, 9, 9, f"t{i % 5}", part), words(x + 12, height + 8.5, part)]
        x += 24 + LETTER * len(part)
    return figure(title, unit, caption, canvas(title, height + 16, *shapes))
