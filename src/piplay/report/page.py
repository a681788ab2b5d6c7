"""The page: one HTML file that loads nothing, runs nothing, and reads on a phone, on paper and in the dark."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from piplay.methods.pi_play.evaluation import measured, titled
from piplay.report import generic, sections
from piplay.report.about import about
from piplay.report.examples import examples
from piplay.report.markup import Html, join, number, share, tag
from piplay.report.privilege import privilege
from piplay.report.read import Record
from piplay.settings import Component

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""What a browser may do with the page: nothing but style it. Text from rollouts could not run even unescaped."""


def page(record: Record) -> str:
    """The whole report."""
    title = f"{record.config.name}, seed {record.config.seed}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("title", f"piplay: {title}"),
        tag("style", style()),
    )
    top = tag("header", tag("h1", title), tag("p", outcome(record), class_="lead"), tag("p", facts(record)))
    body = tag("body", top, *_parts(record))
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def style() -> Html:
    """The page's style sheet."""
    return Html((resources.files("piplay") / "report" / "style.css").read_text(encoding="utf-8"))


def _parts(record: Record) -> list[Html]:
    strip = None
    if record.blocks:
        letters = {block.letter: block.phase for block in record.blocks}
        words = ", ".join(f"{letter} {phase}" for letter, phase in letters.items())
        strip = tag("p", f"The strip under a chart shows the phases of the run: {words}. A dot is a step.")
    found = record.examples
    own, more = generic.own_numbers(record)
    learning = (
        _charts(sections.learning(record)),
        _folded("How they play", sections.behaviour(record)),
        _folded("The game's own numbers", own, more),
    )
    parts = [
        ("Alarms", None, _alarms(record)),
        ("Before and after", None, _charts(sections.outcome(record))),
        ("Evaluation by iteration", None, _charts(generic.evaluation(record))),
        ("Learning", strip, join(*learning)),
        ("The examiner's questions", None, _charts(sections.tasks(record))),
        ("Whether they are true", None, _charts(sections.truth(record))),
        ("Examiners against students", None, _charts(sections.grid(record))),
        ("The teacher's health", None, _charts(sections.teacher(record))),
        ("What the path is worth", None, _charts(privilege(record))),
        ("Time", None, _charts(sections.time(record))),
        ("How it was made", None, about(record)),
        ("Examples", None, join(*examples(found)) if found and found["examples"] else Html()),
    ]
    return [tag("section", tag("h2", name), note, content) for name, note, content in parts if content]


def _alarms(record: Record) -> Html:
    return tag("ul", *(tag("li", alarm.sentence) for alarm in record.alarms)) if record.alarms else Html()


def _charts(charts: list[Html]) -> Html:
    return tag("div", *charts, class_="charts") if charts else Html()


def _folded(name: str, charts: list[Html], note: str = "") -> Html:
    found = tag("p", note) if note else None
    return tag("details", tag("summary", name), _charts(charts), found) if charts else Html()


def outcome(record: Record) -> str:
    """What came of the run so far, in one sentence or two."""
    evals = record.exact_match
    if len(evals) > 1:
        first, last = evals[0], evals[-1]
        before, after, count = share(first["em"]), share(last["em"]), sum(first["n_by_hops"].values())
        moved = f"{'rose' if after > before else 'fell'} from {before} to {after}"
        moved = moved if after != before else f"stayed at {after}"
        text = f"{titled(first)} {moved} over {count} questions."
    elif evals:
        text = f"Before training, {measured(evals[0])} is {share(evals[0]['em'])}."
    else:
        text = generic.outcome(record) or _unmeasured(record)
    if record.finished:
        return text
    if not record.rows:
        return f"{text} No step has been played yet."
    row = record.rows[-1]
    place = (
        f"iteration {row['iteration']} of {record.config.iterations}, {row['phase']}, step {row['step']} of {row['of']}"
    )
    return f"{text} The run is not finished: it stands at {place}."


def _unmeasured(record: Record) -> str:
    if record.has_examiner:
        return "No held-out questions were played: there is no before and after, only accuracy on written tasks."
    return "Nothing was evaluated: there is no before and after."


def facts(record: Record) -> str:
    """What the settings and the clock say of a run, in one line."""
    config = record.config
    phases = ", ".join(phase.name for phase in config.phases)
    return " · ".join(
        (
            f"{number(record.seconds / 60)} minutes",
            f"{config.iterations} × ({phases})",
            f"model {config.model.name}" if config.model else "the embedded tiny base",
            _place(config.environment),
            f"{config.engine.device}, {config.engine.dtype}, threads: {config.engine.threads}",
        )
    )


def _place(environment: Component) -> str:
    """What is played in: a world or a corpus by its name, any other environment with its options."""
    for kind in ("world", "corpus"):
        if environment.options.get(kind):
            return f"{kind} {Path(environment.options[kind]).name}"
    if environment.kind == "search":
        return "the default world"
    options = ", ".join(f"{name}: {value}" for name, value in environment.options.items())
    return f"environment {environment.kind}" + (f" ({options})" if options else "")
