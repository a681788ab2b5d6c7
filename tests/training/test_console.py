"""What a person reads of a run."""

import re
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from piplay.methods.pi_play.evaluation import PiPlayEvaluation
from piplay.progress import Bar
from piplay.recipes import load_config
from piplay.training.assemble import load_environment, make_evaluation
from piplay.training.listeners.console import ConsoleListener, show_table


def evaluation(iteration: int, em: float, **more: str) -> dict[str, Any]:
    return {"iteration": iteration, "em": em, "em_by_hops": {"2": em}, "n_by_hops": {"2": 4}, **more}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "measure", "title"),
    [
        ({}, "held-out exact match", "Held-out exact match, greedy"),
        (
            {"questions": "self-generated, unverified"},
            "exact match on an evaluation set (self-generated, unverified)",
            "Exact match on an evaluation set (self-generated, unverified), greedy",
        ),
    ],
)
def test_before_and_after_say_on_which_questions(more: dict[str, str], measure: str, title: str) -> None:
    console = Console(record=True, width=200, file=StringIO())
    rows = [evaluation(0, 0.25, **more), evaluation(1, 0.5, **more)]
    config = load_config("smoke", {})
    measured = make_evaluation(config, load_environment(config), {})
    ConsoleListener(config, console).evaluated(rows[0], measured.sentence(rows[0]))
    table = measured.table(rows)
    assert table is not None
    assert table.title == title
    console.print(show_table(table))
    told = console.export_text()
    assert f"before training: {measure} by hops 2:0.25\n" in told
    assert "│    2 │         4 │   0.25 │  0.50 │" in told


@pytest.mark.parametrize(("headline", "said"), [({}, "1.5 s"), ({"a/reward": "reward"}, "reward 0.25, 1.5 s")])
def test_a_step_is_a_line(headline: dict[str, str], said: str) -> None:
    console = Console(record=True, width=200, file=StringIO())
    config = load_config("smoke", {})
    listener = ConsoleListener(config, console)
    listener.phase(1, config.phases[0], 0, headline)
    listener.step({"iteration": 1, "phase": "play", "step": 1, "of": 2, "a/reward": 0.25, "seconds": {"play": 1.5}})
    assert console.export_text() == f"m1 play 1/2: {said}\n"


@pytest.mark.slow
def test_nothing_measured_no_table() -> None:
    config = load_config("smoke", {})
    measured = make_evaluation(config, load_environment(config), {})
    assert isinstance(measured, PiPlayEvaluation)
    assert measured.table([{"iteration": 0}]) is None


def test_on_a_terminal_step_lines_stay_above_a_bar_with_count_and_time() -> None:
    shown = StringIO()
    console = Console(width=80, file=shown, force_terminal=True, color_system=None)
    config = load_config("smoke", {})
    listener = ConsoleListener(config, console)
    listener.phase(1, config.phases[0], 0, {"a/reward": "reward"})
    steps = config.phases[0].steps
    for step in (1, 2):
        row = {
            "iteration": 1,
            "phase": "examine",
            "step": step,
            "of": steps,
            "a/reward": 0.25,
            "seconds": {"play": 1.5},
        }
        listener.step(row)
    for done in (1, 2, 3):
        listener.measuring("evaluation", done, 8)
    listener.evaluated(evaluation(0, 0.5), "half of them")
    told = [line for line in re.split(r"[\r\n]+|\x1b\[[0-9;?]*[A-Za-z]", shown.getvalue()) if line.strip()]
    lines = [line.strip() for line in told]
    assert f"m1 examine 1/{steps}: reward 0.25, 1.5 s" in lines
    assert f"m1 examine 2/{steps}: reward 0.25, 1.5 s" in lines
    assert any(re.match(rf"iteration 1/\d examine .*{2}/{steps} \d:\d\d:\d\d", line) for line in lines)
    assert any(re.match(r"evaluation .*[23]/8 \d:\d\d:\d\d", line) for line in lines)
    assert lines[-1] == "before training: half of them"
    assert all(len(line) <= 80 for line in told)


def test_in_a_log_an_evaluation_says_once_a_minute_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("piplay.progress.time.monotonic", lambda: now)
    console = Console(record=True, width=200, file=StringIO())
    listener = ConsoleListener(load_config("smoke", {}), console)
    for done in range(1, 12):
        now += 20
        listener.measuring("evaluation set", done, 11)
    assert (
        console.export_text()
        == "evaluation set: 4 of 11 in 1 min\nevaluation set: 7 of 11 in 2 min\nevaluation set: 10 of 11 in 3 min\n"
    )
    listener.phase(1, load_config("smoke", {}).phases[0], 0, {})
    now += 300
    listener.step({"iteration": 1, "phase": "play", "step": 1, "of": 2, "seconds": {"play": 300.0}})
    assert console.export_text() == "m1 play 1/2: 300.0 s\n"


def test_on_a_terminal_what_plays_shows_a_bar_and_leaves_nothing() -> None:
    shown = StringIO()
    console = Console(width=80, file=shown, force_terminal=True, color_system=None)
    with Bar(console, "[b]odd", 3) as bar:
        bar.advance()
        bar.reach(3)
    assert re.search(r"\[b\]odd .*3/3", shown.getvalue())
    assert shown.getvalue().endswith("\x1b[2K")
