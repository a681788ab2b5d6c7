"""The page of a run against the files that the run left."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from parsed import Node, drawn, figure, parse, said, titles
from toys.runs import write_settings

from piplay.cli.main import main
from piplay.errors import InputError
from piplay.methods.pi_play.evaluation import LABEL
from piplay.recipes import load_config
from piplay.report.page import page
from piplay.report.read import read
from piplay.training.run_directory import Run, RunState

pytestmark = pytest.mark.slow


def rows(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def report(run: Path) -> Node:
    return parse((run / "report.html").read_text(encoding="utf-8"))


def made(folder: Path, logged: list[dict[str, Any]], **state: Any) -> Run:
    """A run directory that holds what a test wants to see."""
    iterations = max(1, len(state.get("evals", ())) - 1)
    run = Run.create(folder, load_config("smoke", {"environment.corpus": "books", "iterations": iterations}))
    for row in logged:
        run.log(row)
    run.commit(RunState(done=len(logged), **state), lambda folder: None)
    return run


def step(n: int, phase: str = "study", **metrics: float) -> dict[str, Any]:
    return {"n": n, "iteration": 1, "phase": phase, "step": n, "of": 9, "seconds": {"play": 1.0}} | metrics


def test_the_page_needs_nothing_but_itself(toy_run: Path) -> None:
    text = (toy_run / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://|\bsrc=|\bhref=|@import|url\(|<script|<link|<iframe|\bon\w+=", text)
    [body] = parse(text).all("body")
    assert body.all("h1")[0].text == "toy, seed 0"
    assert len(text) < 1_000_000


@pytest.mark.parametrize(
    ("title", "keys"),
    [
        ("Student accuracy", {"1 hop": "accuracy/1"}),
        ("Distance to the teacher", {"student": "student/distill_kl"}),
        ("Reward", {"examiner": "examiner/reward", "student": "student/reward"}),
        ("Informative tasks", {"1 hop": "informative/1"}),
        ("True questions", {"1 hop": "truth/1"}),
        ("The teacher's entropy", {"student": "student/teacher_entropy"}),
        ("The teacher with the examiner's path", {"teacher": "teacher/em"}),
    ],
)
def test_curves_show_what_was_logged(toy_run: Path, title: str, keys: dict[str, str]) -> None:
    chart = figure(report(toy_run), title)
    assert said(chart).keys() == keys.keys()
    for name, key in keys.items():
        logged = {row["n"]: row[key] for row in rows(toy_run) if key in row}
        assert said(chart)[name] == pytest.approx(logged, rel=0.006)
        assert drawn(chart)[name] == pytest.approx(list(logged.values()), abs=0.02 * max(1, *logged.values()))


def evaluation(iteration: int, *rates: float) -> dict[str, Any]:
    by_hops = {str(h): rate for h, rate in enumerate(rates, 1)}
    counts = dict.fromkeys(by_hops, 40)
    taught = {h: 1 - rate / 10 for h, rate in by_hops.items()}
    em = sum(rates) / len(rates)
    return {"iteration": iteration, "em": em, "em_by_hops": by_hops, "n_by_hops": counts, "teacher_em_by_hops": taught}


def test_before_and_after_are_the_evaluations(tmp_path: Path) -> None:
    evals = [evaluation(0, 0.9, 0.1, 0.0), evaluation(1, 0.95, 0.6, 0.25), evaluation(2, 1.0, 0.75, 0.3)]
    tree = parse(page(read(made(tmp_path / "run", [step(1)], evals=evals))))
    table = figure(tree, "The same in numbers").all("tr")[1:]
    cells = [[td.text for td in line.all("td")] for line in table]
    assert cells == [
        ["0.90", "0.10", "0.00", "0.33"],
        ["0.95", "0.60", "0.25", "0.60"],
        ["1.00", "0.75", "0.30", "0.68"],
    ]
    values = [n.text for n in figure(tree, "Held-out exact match").all("text", "value")]
    assert values == ["0.90", "1.00", "0.10", "0.75", "0.00", "0.30"]
    assert "rose from 0.33 to 0.68 over 120 questions" in tree.all("header")[0].text
    for title, key in (
        ("Held-out exact match by iteration", "em_by_hops"),
        ("The teacher with the true path", "teacher_em_by_hops"),
    ):
        for h, name in (("1", "1 hop"), ("2", "2 hops"), ("3", "3 hops")):
            expected = [row[key][h] for row in evals]
            assert list(said(figure(tree, title))[name].values()) == pytest.approx(expected, rel=0.006)
            assert drawn(figure(tree, title))[name] == pytest.approx(expected, abs=0.002)


def test_a_runs_own_questions_are_called_what_they_are(tmp_path: Path) -> None:
    """A self-generated set has no truth: neither the title nor any chart calls it held out, or its paths true."""
    evals = [evaluation(i, *rates) | {"questions": LABEL} for i, rates in enumerate([(0.9, 0.1), (1.0, 0.6)])]
    tree = parse(page(read(made(tmp_path / "run", [step(1)], evals=evals))))
    said = f"Exact match on an evaluation set ({LABEL})"
    assert f"{said} rose from 0.50 to 0.80 over 80 questions." in tree.all("header")[0].text
    assert {said, f"{said} by iteration", "The teacher with the path"} <= set(titles(tree))
    [body] = tree.all("body")
    assert "eld-out" not in body.text
    assert "true path" not in body.text


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [(0.25, 0.84, "rose from 0.25 to 0.84"), (0.5, 0.4, "fell from 0.50 to 0.40"), (0.5, 0.5, "stayed at 0.50")],
)
def test_what_came_of_it_is_one_sentence(tmp_path: Path, before: float, after: float, words: str) -> None:
    tree = parse(page(read(made(tmp_path / "run", [], evals=[evaluation(0, before), evaluation(1, after)]))))
    assert f"Held-out exact match {words} over 40 questions." in tree.all("header")[0].text


@pytest.mark.parametrize("iteration", [1, 2])
def test_the_funnel_counts_the_rollouts_of_the_examiner(toy_run: Path, iteration: int) -> None:
    examined = [
        row
        for path in (toy_run / "rollouts").iterdir()
        for row in pq.read_table(path).to_pylist()
        if row["role"] == "examiner" and row["key"].startswith(f"m{iteration}/")
    ]
    asked, *_, passed = figure(report(toy_run), f"Gates, iteration {iteration}").all("text", "value")
    assert int(asked.text) == len(examined)
    assert int(passed.text) == sum(row["gate"] == "" for row in examined)


def test_the_histogram_counts_the_rollouts_of_the_students(toy_run: Path) -> None:
    chart = figure(report(toy_run), "Solved by k samples")
    for row in rows(toy_run):
        tasks: dict[str, int] = {}
        for rollout in pq.read_table(toy_run / "rollouts" / f"{row['n']:06d}.parquet").to_pylist():
            if rollout["role"] == "student":
                place = rollout["key"].rpartition("/student/")[0]
                tasks[place] = tasks.get(place, 0) + 1
        bars = [b.text for b in chart.all("rect") if b.text.startswith(f"step {row['n']}: k")]
        assert sum(int(text.split(" for ")[1].split()[0]) for text in bars) == len(tasks)


def test_time_adds_up(toy_run: Path) -> None:
    seconds = json.loads((toy_run / "summary.json").read_text())["wall_seconds"]
    values = [float(n.text) for n in figure(report(toy_run), "Time by part").all("text", "value")]
    assert sum(values) == pytest.approx(seconds, abs=0.2)
    study = sum(sum(row["seconds"].values()) for row in rows(toy_run) if row["phase"] == "study")
    assert values[2] == pytest.approx(study, rel=0.01)


def test_the_grid_is_the_file(toy_run: Path) -> None:
    grid = json.loads((toy_run / "grid.json").read_text())
    values = [n.text for n in figure(report(toy_run), "Exact match by examiner and student").all("text", "value")]
    assert values == [f"{rate:.2f}" for found in grid["sets"] for rate in found["rates"]]
    assert len(values) == 2 * 3


def test_examples_show_every_token_with_its_shade_and_what_both_hold_likely(toy_run: Path) -> None:
    found = json.loads((toy_run / "examples.json").read_text())["examples"]
    articles = report(toy_run).all("article")
    assert len(articles) == len(found) > 0
    for article, one in zip(articles, found, strict=True):
        assert article.all("p", "question")[0].text == one["question"]
        sides = article.all("section")
        assert len(sides) == 2
        for side, rollout in zip(sides, one["rollouts"].values(), strict=True):
            tokens = [t for part in rollout["parts"] if part["owner"] == "model" for t in part["tokens"]]
            spans = [
                span for part in side.all("div", "model") for span in part.all("span") if "title" in span.attributes
            ]
            assert [span.text for span in spans] == [t["text"] for t in tokens]
            for span, token in zip(spans, tokens, strict=True):
                level = int(span.attributes["class"][1])
                assert [0, 0.01, 0.1, 0.5, 2.0][level] <= token["kl"] < [0.01, 0.1, 0.5, 2.0, 1e9][level]
                assert ("o" in span.attributes["class"].split()) is not token["agree"]
                for model in ("student", "teacher"):
                    assert f"{token[model][0][1]:.2f}" in span.attributes["title"].partition(model)[2]
            owners = [d.attributes["class"] for d in side.all("div") if "class" in d.attributes]
            assert owners == [part["owner"] for part in rollout["parts"]]


@pytest.mark.parametrize(("view", "sees"), [("privileged", True), ("", False)])
def test_examples_say_what_the_teacher_sees(toy_run: Path, tmp_path: Path, view: str, sees: bool) -> None:
    run = Path(shutil.copytree(toy_run, tmp_path / "run"))
    tree = json.loads((run / "examples.json").read_text())
    (run / "examples.json").write_text(json.dumps(tree | {"view": view}))
    [body] = parse(page(read(Run.open(run)))).all("body")
    assert ("who sees the path too" in body.text) is sees
    assert ("which the teacher sees" in body.text) is sees


def test_text_from_a_run_cannot_become_markup(toy_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(toy_run, tmp_path / "run"))
    evil = '<script>alert("x")</script></title><img src=x onerror=y>" onmouseover="z\n\'&lt;'
    tree = json.loads((run / "examples.json").read_text())
    one = tree["examples"][0]
    one |= {"question": evil, "answers": [evil], "path": [{"query": evil, "evidence": evil}], "verdict": "false"}
    after = one["rollouts"]["after"] | {"answer": evil}
    token = {"text": evil, "kl": 0.2, "agree": False, "student": [[evil, 0.5]], "teacher": [[evil, 0.5]]}
    after["parts"] = [
        {"owner": "prompt", "text": evil, "count": 3},
        {"owner": "model", "tokens": [token]},
        {"owner": "tool", "text": evil, "count": 3},
        {"owner": "user", "text": evil, "count": 3},
    ]
    one["rollouts"]["after"] = after
    (run / "examples.json").write_text(json.dumps(tree))
    config = json.loads((run / "config.json").read_text())
    write_settings(run, json.dumps(config | {"prompts": {"student": evil}}))
    assert main(["report", str(run), "--trust"]) == 0
    text = (run / "report.html").read_text()
    assert "<script" not in text
    assert "<img" not in text
    article = parse(text).all("article")[0]
    assert article.all("p", "question")[0].text == evil
    assert [d.text.count(evil) for owner in ("tool", "user") for d in article.all("div", owner)][-2:] == [1, 1]
    [span] = article.all("section")[-1].all("span", "o")
    assert span.text == evil
    assert set(span.attributes) == {"class", "title", "tabindex"}
    assert "the world says otherwise" in article.text


def test_without_a_world_there_is_no_truth(tmp_path: Path) -> None:
    logged = [step(n, accuracy=0.5, **{"accuracy/1": 0.5, "k/1": 4.0, "student/loss": 0.1}) for n in (1, 2)]
    tree = parse(page(read(made(tmp_path / "run", logged, evals=[{"iteration": 0}, {"iteration": 1}]))))
    assert titles(tree) == ["Student accuracy", "Solved by k samples", "Time by part"]
    assert "No held-out questions were played" in tree.all("header")[0].text
    assert "true" not in " ".join(section.all("h2")[0].text for section in tree.all("section")).lower()


def test_a_run_that_has_not_begun(tmp_path: Path) -> None:
    tree = parse(page(read(made(tmp_path / "run", []))))
    assert titles(tree) == []
    assert "No step has been played yet." in tree.all("header")[0].text


def test_a_run_without_a_teacher_or_students(tmp_path: Path) -> None:
    logged = [step(n, "examine", **{"gate/format": 8.0, "examiner/reward": 0.0}) for n in (1, 2)]
    tree = parse(page(read(made(tmp_path / "run", logged))))
    assert titles(tree) == ["Reward", "Gates, iteration 1", "Time by part"]


def test_a_run_that_was_killed_says_where_it_stands(toy_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(toy_run, tmp_path / "run"))
    for name in ("summary.json", "grid.json", "examples.json", "report.html"):
        (run / name).unlink()
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(lines[:7]) + lines[7][:40])
    assert main(["report", str(run), "--trust"]) == 0
    tree = report(run)
    assert "not finished: it stands at iteration 1 of 2, study, step 2 of 3" in tree.all("header")[0].text
    assert set(said(figure(tree, "Reward"))["examiner"]) == {1, 2, 3, 4, 5}
    assert "Examiners against students" not in tree.text
    assert not (run / "grid.json").exists()


def test_values_that_are_no_numbers_are_not_drawn(tmp_path: Path) -> None:
    logged = [step(n, **{"student/distill_kl": v}) for n, v in ((1, 0.5), (2, float("nan")), (3, float("inf")))]
    tree = parse(page(read(made(tmp_path / "run", logged))))
    assert said(figure(tree, "Distance to the teacher")) == {"student": {1: 0.5}}
    assert "nan" not in tree.text


@pytest.mark.long
def test_a_page_stays_small(toy_run: Path, tmp_path: Path) -> None:
    """Thousands of steps of eight hop counts, and ten examples of rollouts as long as a book."""
    hops = range(1, 9)
    metrics = {f"{name}/{h}": 0.5 for name in ("accuracy", "informative", "truth") for h in hops}
    metrics |= {f"student/{name}": 0.123456 for name in ("reward", "distill_kl", "entropy", "searches", "teacher_nll")}
    metrics |= {f"k/{k}": 3.0 for k in range(9)}
    run = made(tmp_path / "run", [])
    lines = [step(n, "study" if n % 500 else "examine", **metrics) for n in range(1, 3001)]
    run.write("metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    choice = [["tokenise", 0.333], ["tokenise", 0.333], ["tokenise", 0.333]]
    token = {"text": "tokenise", "kl": 0.3, "agree": False, "student": choice, "teacher": choice}
    parts = [
        {"owner": "prompt", "text": "word " * 5_000, "count": 5_000},
        {"owner": "model", "tokens": [token] * 1000},
        {"owner": "tool", "text": "word " * 5_000, "count": 5_000},
    ]
    rollout = {"answer": "a", "correct": True, "stop": "answered", "kl": 0.3, "parts": parts}
    one = {"hops": 1, "question": "q", "answers": ["a"], "verdict": None, "path": []}
    one["rollouts"] = {"before": rollout, "after": rollout}
    run.write(
        "examples.json", json.dumps({"set": "m1", "student": "s", "teacher": "t", "view": "", "examples": [one] * 10})
    )
    text = page(read(run))
    assert len(text.encode()) < 5_000_000
    assert "500 more tokens" in parse(text).all("article")[0].text


@pytest.mark.parametrize("name", ["grid.json", "examples.json", "summary.json"])
@pytest.mark.parametrize("text", ["", "[]", "{}", "7", '{"x": '])
def test_a_damaged_file_is_named(tmp_path: Path, name: str, text: str) -> None:
    run = made(tmp_path / "run", [])
    run.write(name, text)
    with pytest.raises(InputError, match=name) as caught:
        read(run)
    assert "\n" not in str(caught.value)
