"""The page: one HTML file that loads nothing, runs nothing, and reads on a phone, on paper and in the dark."""

from __future__ import annotations

from importlib import resources

from piplay.methods.pi_play.self_eval import measured, titled
from piplay.report import sections
from piplay.report.examples import examples
from piplay.report.markup import Html, join, number, share, tag
from piplay.report.read import Record

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""What a browser may do with the page: nothing but style it. Text from rollouts could not run even unescaped."""


def page(record: Record) -> str:
    """The whole report."""
    title = f"{record.config.name}, seed {record.config.seed}"
    style = (resources.files("piplay") / "report" / "style.css").read_text(encoding="utf-8")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("title", f"piplay: {title}"),
        tag("style", Html(style)),
    )
    top = tag("header", tag("h1", title), tag("p", outcome(record), class_="lead"), tag("p", facts(record)))
    body = tag("body", top, *_parts(record))
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _parts(record: Record) -> list[Html]:
    strip = None
    if record.blocks:
        letters = {block.letter: block.phase for block in record.blocks}
        words = ", ".join(f"{letter} {phase}" for letter, phase in letters.items())
        strip = tag("p", f"The strip under a chart shows the phases of the run: {words}. A dot is a step.")
    more = sections.behaviour(record)
    found = record.examples
    parts = [
        ("Before and after", None, _charts(sections.outcome(record))),
        ("Learning", strip, join(_charts(sections.learning(record)), _folded("How they play", more))),
        ("The examiner's questions", None, _charts(sections.tasks(record))),
        ("Whether they are true", None, _charts(sections.truth(record))),
        ("Examiners against students", None, _charts(sections.grid(record))),
        ("The teacher's health", None, _charts(sections.teacher(record))),
        ("Time", None, _charts(sections.time(record))),
        ("Examples", None, join(*examples(found)) if found and found["examples"] else Html()),
    ]
    return [tag("section", tag("h2", name), note, content) for name, note, content in parts if content]


def _charts(charts: list[Html]) -> Html:
    return tag("div", *charts, class_="charts") if charts else Html()


def _folded(name: str, charts: list[Html]) -> Html:
    return tag("details", tag("summary", name), _charts(charts)) if charts else Html()


def outcome(record: Record) -> str:
    """What came of the run so far, in one sentence or two."""
    evals = [row for row in record.evals if "em" in row]
    if len(evals) > 1:
        first, last = evals[0], evals[-1]
        before, after, count = share(first["em"]), share(last["em"]), sum(first["n_by_hops"].values())
        moved = f"{'rose' if after > before else 'fell'} from {before} to {after}"
        moved = moved if after != before else f"stayed at {after}"
        text = f"{titled(first)} {moved} over {count} questions."
    elif evals:
        text = f"Before training, {measured(evals[0])} is {share(evals[0]['em'])}."
    else:
        text = "No held-out questions were played: there is no before and after, only accuracy on written tasks."
    if record.finished:
        return text
    if not record.rows:
        return f"{text} No step has been played yet."
    row = record.rows[-1]
    place = (
        f"iteration {row['iteration']} of {record.config.iterations}, {row['phase']}, step {row['step']} of {row['of']}"
    )
    return f"{text} The run is not finished: it stands at {place}."


def facts(record: Record) -> str:
    """What the settings and the clock say of a run, in one line."""
    config = record.config
    place = config.world or config.corpus
    phases = ", ".join(phase.name for phase in config.phases)
    return " · ".join(
        (
            f"{number(record.seconds / 60)} minutes",
            f"{config.iterations} × ({phases})",
            f"model {config.model.name}" if config.model else "the embedded tiny base",
            f"{'world' if config.world else 'corpus'} {place.name}" if place else "the default world",
            f"{config.engine.device}, {config.engine.dtype}, threads: {config.engine.threads}",
        )
    )
