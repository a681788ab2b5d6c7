"""The curves of an experiment on one page without scripts: accuracy over rollouts, and over tokens computed."""

from __future__ import annotations

from importlib import resources

from piplay.report.curves import Curve, over
from piplay.report.markup import Html, tag
from piplay.report.page import POLICY
from piplay.reproduce.results import Results
from piplay.reproduce.table import verdicts

AXES = (("rollouts", "rollouts played", 1.0), ("tokens", "million tokens computed", 1e6))


def page(found: Results) -> str:
    """The whole page."""
    style = (resources.files("piplay") / "report" / "style.css").read_text(encoding="utf-8")
    title = found.experiment.title
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("title", f"piplay: {title}"),
        tag("style", Html(style)),
    )
    missing = tag("p", f"{len(found.missing)} runs are missing.") if found.missing else None
    sections = [
        tag(
            "section",
            tag("h2", f"Start: {start}"),
            *(tag("p", sentence) for sentence in verdicts(found.compared[start])),
            tag("div", *_charts(found, start), class_="charts"),
        )
        for start in found.arms
    ]
    body = tag("body", tag("header", tag("h1", title), missing), *sections)
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _charts(found: Results, start: str) -> list[Html]:
    charts = []
    for chart in found.experiment.charts:
        for name, label, unit in AXES:
            lines = [
                Curve(arm, [[(point[name] / unit, point["accuracy"]) for point in found.curves[start][arm]]])
                for arm in chart.arms
                if found.curves[start].get(arm)
            ]
            seeds = max((len(found.arms[start][line.name].seeds) for line in lines), default=0)
            caption = f"Right rollouts in training, T = 1; means over {seeds} seeds. A dot is a step."
            charts += [over(chart.title, "share of rollouts", caption, lines, label)] if lines else []
    return charts
