"""What is printed of an evaluation of sets: a column a set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from piplay.eval.sets.figures import MARK, UNCHECKED, Figures
from piplay.eval.sets.protocol import AGENT
from piplay.types import StopReason


def em_table(title: str, arms: Mapping[str, Any], published: Sequence[Figures]) -> Table:
    """Exact match: arms with Wilson's intervals, then published figures, which are told apart from them."""
    names = list(next(iter(arms.values()))["sets"])
    table = _table(title, "EM, 95 %", *names, "macro", "micro")
    counts = next(iter(arms.values()))
    table.add_row("n", *(str(counts["sets"][name]["n"]) for name in names), "", str(counts["micro"]["n"]))
    for arm, numbers in arms.items():
        cells = [_share(numbers["sets"][name]["em"]) for name in names]
        table.add_row(arm, *cells, f"{numbers['macro']['em']:.3f}", _share(numbers["micro"]["em"]))
    if published:
        table.add_section()
    for row in published:
        macro = row.macro(names)
        cells = [f"{row.em[name]:.3f}" if name in row.em else "–" for name in names]
        table.add_row(f"{row.name} *", *cells, "–" if macro is None else f"{macro:.3f}", "")
    if published:
        table.caption = f"* {MARK}: {published[0].source} ({UNCHECKED})"
    return table


def more_table(title: str, arms: Mapping[str, Any]) -> Table:
    """How the agent, and its baselines, came to that: F1, whether a gold was found, searches, tokens, no answer."""
    names = list(next(iter(arms.values()))["sets"])
    table = _table(title, "", *names, "all")
    for arm, numbers in arms.items():
        columns = [*(numbers["sets"][name] for name in names), numbers["micro"]]
        table.add_row(f"{arm}: F1", *(f"{column['f1']['mean']:.3f}" for column in columns))
        table.add_row("cover-EM", *(f"{column['cover_em']['mean']:.3f}" for column in columns))
        if numbers["micro"]["searches"] or arm == AGENT:
            table.add_row("gold found", *(f"{column['recall']['mean']:.3f}" for column in columns))
            table.add_row("searches", *(f"{column['searches']:.2f}" for column in columns))
        table.add_row("tokens written", *(f"{column['tokens']:.0f}" for column in columns))
        unanswered = [column["n"] - column["stops"].get(StopReason.ANSWERED, 0) for column in columns]
        table.add_row("no answer", *map(str, unanswered), end_section=True)
    return table


def _share(score: Mapping[str, Any]) -> str:
    low, high = score["interval"]
    return f"{score['mean']:.3f}\n{low:.3f}–{high:.3f}"


def _table(title: str, first: str, *others: str) -> Table:
    table = Table(title=title)
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table
