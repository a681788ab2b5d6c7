"""The page of games that it knows nothing of: made-up runs of two players against each other."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parsed import Node, drawn, figure, parse, said, titles

from piplay.config import Config
from piplay.envs.table.environment import Deal
from piplay.recipes import validated
from piplay.report.command import report
from piplay.report.generic import MOST_CHARTS
from piplay.report.page import page
from piplay.report.read import read
from piplay.training.run_directory import Run, RunState

CARDS: dict[str, Any] = {
    "name": "cards",
    "iterations": 2,
    "agent": "player",
    "environment": {"kind": "card_table:CardTable", "deck": 3},
    "sources": {"deals": {"kind": "card_table:Deals"}},
    "policies": {"player": {}},
    "phases": [
        {
            "name": "play",
            "game": "card_table:Cards",
            "tasks": "deals",
            "seats": {"first": "player", "second": "player"},
            "learn": {"first": {}, "second": {}},
            "options": {"gates": 3},
        }
    ],
}


def cards(**changes: Any) -> Config:
    return validated(CARDS | changes, "cards")


def made(folder: Path, config: Config, logged: Sequence[dict[str, Any]], evals: Sequence[dict[str, Any]] = ()) -> Run:
    """A run directory that holds what a test wants to see."""
    run = Run.create(folder, config)
    for row in logged:
        run.log(row)
    run.commit(RunState(done=len(logged), evals=list(evals)), lambda folder: None)
    return run


def step(n: int, **metrics: Any) -> dict[str, Any]:
    """The n-th of two iterations of four steps."""
    place = {"n": n, "iteration": 1 + (n - 1) // 4, "phase": "play", "step": 1 + (n - 1) % 4, "of": 4}
    return place | {"seconds": {"play": 2.0, "train": 1.0}} | metrics


def played(n: int) -> dict[str, Any]:
    """What the core logs of both players, and what the game does."""
    row = step(n)
    for sign, role in ((1, "first"), (-1, "second")):
        own = {"reward": sign * 0.05 * n, "entropy": 0.5 / n, "grad_norm": 1.0, "tokens_written": 12.0, "turns": 1.5}
        own |= {"stop/answered": 0.75, "tool_calls": 0.0, "loss": 0.1, "weight/pg": 1.0, "illegal": 0.02 * n}
        row |= {f"{role}/{name}": value for name, value in own.items()}
    return row | {"draws": 0.5, "pool/size": float(n), "pool/oldest": 100.0 * n, "rollout/occupancy": 0.5}


EVALS = [
    {"iteration": 0, "exploitability": 0.458, "win_rate/random": 0.5, "win_rate/rules": 0.125},
    {"iteration": 1, "exploitability": 0.25, "win_rate/random": 0.75, "win_rate/rules": 0.25},
    {"iteration": 2, "exploitability": 0.0625, "win_rate/random": 0.875, "win_rate/rules": 0.375},
]


@pytest.fixture
def tree(tmp_path: Path) -> Node:
    rows = [played(n) for n in range(1, 9)]
    return parse(page(read(made(tmp_path / "run", cards(), rows, EVALS))))


def test_a_run_of_two_players_has_every_chart_that_it_has_numbers_for(tree: Node) -> None:
    assert titles(tree) == [
        "Exploitability",
        "Win rate",
        "Reward",
        "Entropy",
        "Turns",
        "Tokens written",
        "Rollouts without an answer",
        "Gradient norm",
        "Illegal",
        "Draws",
        "Pool size",
        "Pool oldest",
        "Time by part",
    ]
    assert [section.all("h2")[0].text for section in tree.all("section")] == [
        "Evaluation by iteration",
        "Learning",
        "Time",
        "How it was made",
    ]
    assert [fold.text for fold in tree.all("summary")] == ["How they play", "The game's own numbers", "All settings"]


def test_its_numbers_are_drawn_where_they_are(tree: Node) -> None:
    exploitability, wins = figure(tree, "Exploitability"), figure(tree, "Win rate")
    assert drawn(exploitability)["exploitability"] == pytest.approx([0.458, 0.25, 0.0625], abs=0.003)
    assert said(wins) == {"random": {0: 0.5, 1: 0.75, 2: 0.875}, "rules": {0: 0.125, 1: 0.25, 2: 0.375}}
    assert "First and last evaluation: random 0.5 → 0.875, rules 0.125 → 0.375" in wins.all("figcaption")[0].text
    illegal = figure(tree, "Illegal")
    assert said(illegal).keys() == {"first", "second"}
    assert drawn(illegal)["first"] == pytest.approx([0.02 * n for n in range(1, 9)], abs=0.002)
    assert said(figure(tree, "Pool size"))["pool/size"] == {n: n for n in range(1, 9)}


def test_its_head_says_what_came_of_it_and_where_it_was_played(tree: Node) -> None:
    [head] = tree.all("header")
    assert "exploitability 0.458 → 0.0625, win_rate/random 0.5 → 0.875, win_rate/rules 0.125 → 0.375." in head.text
    assert "environment card_table:CardTable (deck: 3)" in head.text
    assert "2 × (play)" in head.text


def test_no_word_of_another_game_is_on_its_page(tree: Node) -> None:
    [body] = tree.all("body")
    found = body.text.lower()
    assert [word for word in ("examiner", "student", "teacher", "question", "hop", "world") if word in found] == []


def test_before_the_first_iteration_is_over_there_is_one_evaluation(tmp_path: Path) -> None:
    found = parse(page(read(made(tmp_path / "run", cards(), [played(1)], EVALS[:1]))))
    assert "Before training: exploitability 0.458, win_rate/random 0.5" in found.all("header")[0].text
    assert said(figure(found, "Exploitability")) == {"exploitability": {0: 0.458}}


def test_without_an_evaluation_the_page_says_so(tmp_path: Path) -> None:
    found = parse(page(read(made(tmp_path / "run", cards(), [played(1)], [{"iteration": 0}]))))
    assert "Nothing was evaluated" in found.all("header")[0].text
    assert "Evaluation" not in [section.all("h2")[0].text for section in found.all("section")]


def test_tables_within_an_evaluation_are_charts_too(tmp_path: Path) -> None:
    evals = [{"iteration": m, "wins": {"random": 0.5 + m / 8, "self": 0.5}} for m in range(20)]
    found = parse(page(read(made(tmp_path / "run", cards(iterations=19), [step(1)], evals))))
    chart = figure(found, "Wins")
    assert said(chart)["random"] == {m: pytest.approx(0.5 + m / 8, rel=0.006) for m in range(20)}
    places = [float(n.attributes["x"]) for n in chart.all("text") if n.attributes.get("text-anchor") == "middle"]
    assert len(places) < 12


def test_exact_match_without_hops_is_a_number_like_any_other(tmp_path: Path) -> None:
    evals = [{"iteration": m, "em": 0.25 + m / 2} for m in range(2)]
    found = parse(page(read(made(tmp_path / "run", cards(iterations=19), [step(1)], evals))))
    assert said(figure(found, "Em"))["em"] == {0: 0.25, 1: 0.75}


def test_accuracy_without_hops_is_the_games_own(tmp_path: Path) -> None:
    logged = [step(n, accuracy=n / 8) for n in range(1, 9)]
    assert "Accuracy" in titles(parse(page(read(made(tmp_path / "run", cards(), logged)))))


def test_where_nothing_learns_everyone_is_shown(tmp_path: Path) -> None:
    [phase] = CARDS["phases"]
    config = cards(phases=[phase | {"learn": {}}])
    found = parse(page(read(made(tmp_path / "run", config, [played(1), played(2)]))))
    assert said(figure(found, "Reward")).keys() == {"first", "second"}


def test_of_very_many_numbers_the_others_are_named(tmp_path: Path) -> None:
    names = [f"number{i:02}" for i in range(30)]
    found = parse(page(read(made(tmp_path / "run", cards(), [step(1, **dict.fromkeys(names, 1.0))]))))
    shown = [title for title in titles(found) if title.startswith("Number")]
    assert len(shown) == MOST_CHARTS
    [sentence] = [p.text for p in found.all("p") if "metrics.jsonl" in p.text]
    assert [name for name in names if name in sentence] == names[MOST_CHARTS:]


def test_names_however_long_leave_room_for_their_lines(tmp_path: Path) -> None:
    logged = [step(n, **{f"moves/{'very_' * 12}long_{i}": float(n) for i in range(9)}) for n in (1, 2)]
    found = parse(page(read(made(tmp_path / "run", cards(), logged))))
    charts = [f for f, title in zip(found.all("figure"), titles(found), strict=True) if title == "Moves"]
    assert [len(chart.all("polyline")) for chart in charts] == [8, 1]
    for chart in charts:
        for line in chart.all("polyline"):
            (left, _), (right, _) = (map(float, point.split(",")) for point in line.attributes["points"].split())
            assert right - left > 60


NAMES = st.sampled_from(
    [
        "k/x",
        "k/2",
        "k/",
        "gate/",
        "gate/late",
        "accuracy/all",
        "accuracy/1",
        "truth/-1",
        "first/",
        "first/reward",
        "/",
        "informative/2",
        "teacher/em",
        "teacher/entropy",
        "seconds/lost",
        "a//b",
        "em_by_hops/1",
        "first/stop/answered",
        "exploitability",
        "em",
    ]
)
VALUES = st.one_of(st.floats(), st.integers(-(10**9), 10**9), st.booleans(), st.none(), st.just("words"))


@pytest.mark.slow
@settings(max_examples=60)
@given(
    st.lists(st.dictionaries(NAMES, VALUES), max_size=4),
    st.lists(st.dictionaries(NAMES, VALUES), max_size=3),
)
def test_whatever_a_game_logs_there_is_a_page(
    tmp_path_factory: pytest.TempPathFactory, logged: list[dict[str, Any]], evals: list[dict[str, Any]]
) -> None:
    folder = tmp_path_factory.mktemp("any") / "run"
    rows = [step(n, **metrics) for n, metrics in enumerate(logged, 1)]
    found = [{"iteration": m} | row for m, row in enumerate(evals)]
    tree = parse(page(read(made(folder, cards(), rows, found))))
    for shape in tree.all("svg"):
        places = [
            float(n.attributes[name]) for n in shape for name in ("x", "y", "width", "cx") if name in n.attributes
        ]
        assert all(map(math.isfinite, places))


def test_what_is_no_question_is_not_played_again(tmp_path: Path) -> None:
    """Not even the environment is made, and no one is told of what is not there."""
    [phase] = CARDS["phases"]
    config = cards(phases=[phase | {"writes": 2}], environment={"kind": "table", "table": "kuhn:Kuhn"})
    run = made(tmp_path / "run", config, [played(1)])
    run.save_tasks("m1-play", [Deal("one"), Deal("two")])
    for folder in (run.snapshot(0), run.final("player")):
        folder.mkdir(parents=True)
    run.finish({"eval": EVALS, "wall_seconds": 9.0})

    def nowhere() -> Any:
        raise AssertionError("nothing is to be played")

    told: list[str] = []
    assert report(run, nowhere, told.append).read_text(encoding="utf-8").startswith("<!doctype html>")
    assert told == []
    assert not (run.folder / "grid.json").exists()


def test_where_the_games_code_is_gone_the_page_is_made_without(tmp_path: Path) -> None:
    [phase] = CARDS["phases"]
    run = made(tmp_path / "run", cards(phases=[phase | {"writes": 2}]), [played(1)])
    run.final("player").mkdir(parents=True)
    run.finish({"eval": EVALS, "wall_seconds": 9.0})
    told: list[str] = []
    report(run, lambda: pytest.fail("nothing is to be played"), told.append)
    [sentence] = told
    assert sentence.startswith("the report lacks what would have to be played for it")
    assert "card_table" in sentence


@pytest.mark.parametrize(("reward", "others"), [(0.0, []), (0.25, ["Reward"])])
def test_who_imitates_has_a_loss_and_no_reward(reward: float, others: list[str], tmp_path: Path) -> None:
    rows = [step(n, **{"first/nll": 1.0 / n, "first/loss": 1.0 / n, "first/reward": reward * n}) for n in range(1, 5)]
    counts = {"questions": {"1": 50}, "examiner": {"gates": {"passed": 18, "format": 1}}}
    evals = [{"iteration": number, "win_rate": 0.5} | counts for number in (0, 1)]
    tree = parse(page(read(made(tmp_path / "run", cards(), rows, evals))))
    assert titles(tree) == ["Win rate", "Loss of what is imitated", *others, "Time by part"]
    assert drawn(figure(tree, "Loss of what is imitated"))["first"] == pytest.approx([1, 0.5, 1 / 3, 0.25], abs=0.01)
