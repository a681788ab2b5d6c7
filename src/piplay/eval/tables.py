"""What ``piplay eval`` prints of an evaluation by hops."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from piplay.eval.scores import ks
from piplay.types import StopReason


def show(results: Mapping[str, Any], bench: str, samples: int, temperature: float, console: Console) -> None:
    """The tables of each model, and of the difference between two."""
    for model in results["models"]:
        console.print(greedy_table(f"{model['model']} on {bench}, greedy", model["by_hops"]))
        if samples:
            title = f"{model['model']} on {bench}, {samples} samples at temperature {temperature:g}"
            console.print(samples_table(title, model["by_hops"], samples))
    if "differences" in results:
        for name in ["em", f"avg@{samples}"] if samples else ["em"]:
            console.print(difference_table(name, results))


def greedy_table(title: str, numbers: Mapping[str, Any]) -> Table:
    """One greedy answer a question: how good, how many searches, and why it ended where it is no answer."""
    table = columns(title, "hops", "n", "EM", "95 %", "F1", "cover-EM", "searches", "no answer")
    for group, row in numbers.items():
        scores = _score(row["em"]), _interval(row["em"]), _score(row["f1"]), _score(row["cover_em"])
        stops = ", ".join(f"{why} {n}" for why, n in row["stops"].items() if why != StopReason.ANSWERED)
        table.add_row(group, str(row["n"]), *scores, f"{row['searches']:.2f}", stops or "–")
    return table


def samples_table(title: str, numbers: Mapping[str, Any], samples: int) -> Table:
    """Several samples a question. pass@1 is the same number as avg@K."""
    beyond = [f"pass@{k}" for k in ks(samples) if k > 1]
    table = columns(title, "hops", "n", f"avg@{samples} = pass@1", "95 %", *beyond)
    for group, row in numbers.items():
        average = row[f"avg@{samples}"]
        scores = [_score(row[name]) for name in beyond]
        table.add_row(group, str(row["n"]), _score(average), _interval(average), *scores)
    return table


def difference_table(name: str, results: Mapping[str, Any]) -> Table:
    """The first model against the second, in one score."""
    first, second = results["models"]
    title = f"{'EM' if name == 'em' else name}: {first['model']} − {second['model']}"
    table = columns(title, "hops", "n", "first", "second", "difference", "95 %", "p")
    for group, row in first["by_hops"].items():
        found, other = results["differences"][group][name], second["by_hops"][group]
        numbers = f"{found['mean']:+.2f}", _interval(found, "+.2f"), f"{found['p']:.4f}"
        table.add_row(group, str(row["n"]), _score(row[name]), _score(other[name]), *numbers)
    return table


def columns(title: str, *names: str) -> Table:
    table = Table(title=title)
    for name in names:
        table.add_column(name, justify="right")
    return table


def _score(score: Mapping[str, Any]) -> str:
    return f"{score['mean']:.2f}"


def _interval(score: Mapping[str, Any], form: str = ".2f") -> str:
    low, high = score["interval"]
    # Where all questions scored alike, resampling them says nothing.
    return f"{low:{form}} to {high:{form}}" if low < high else "–"
