"""Alarms against rows that are made to be ill, one number at a time, and against runs that are well."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from piplay.config import Config
from piplay.recipes import load_config
from piplay.training.alarms import alarms, rules_of
from piplay.training.listeners.watch import WatchListener

CONFIG = load_config("pi-play", {})
WELL = {
    "student/advantage": 0.4,
    "student/reward": 0.5,
    "student/tokens_written": 40.0,
    "student/entropy": 0.02,
    "student/stop/malformed": 0.0,
    "student/stop/turn_tokens": 0.0,
    "student/stop/tool_failed": 0.0,
    "student/grad_norm": 0.5,
    "student/loss": -0.02,
    "student/logprob_diff_max": 1e-5,
    "student/distill_kl": 0.1,
    "student/teacher_entropy": 0.005,
    "teacher/em": 1.0,
    "true": 0.99,
    "false_agreement": 0.0,
    "gate/duplicate": 1.0,
    "gate/passed": 18.0,
}
"""A step of study as the default recipe has it."""
SAID = {
    "student/advantage": (0.0, "nothing is learnt"),
    "student/reward": (0.0, "nothing is ever rewarded"),
    "student/tokens_written": (3.0, "turns collapse"),
    "student/entropy": (0.0, "always writes the same"),
    "student/stop/malformed": (0.9, "cannot be read"),
    "student/stop/turn_tokens": (0.9, "are cut"),
    "student/stop/tool_failed": (0.05, "a tool fails"),
    "student/grad_norm": (80.0, "a spike"),
    "student/loss": (-50.0, "a spike"),
    "student/logprob_diff_max": (0.01, "not what was sampled"),
    "student/distill_kl": (0.0, "says nothing new"),
    "student/teacher_entropy": (5.0, "comes apart"),
    "teacher/em": (0.5, "forgets how to use a path"),
    "true": (0.5, "what is not true"),
    "false_agreement": (0.3, "agree on what is not true"),
    "gate/duplicate": (60.0, "asks the same again"),
}


def step(n: int, **changes: float) -> dict[str, Any]:
    return {"n": n, "iteration": 1, "phase": "study", "step": n, "of": 99} | WELL | changes


def said(rows: list[dict[str, Any]], evals: Any = (), config: Config = CONFIG) -> list[str]:
    return [alarm.sentence for alarm in alarms(config, rows, evals)]


def test_a_run_that_is_well_has_none() -> None:
    assert said([step(n) for n in range(1, 60)]) == []


@pytest.mark.parametrize("metric", SAID)
def test_each_illness_is_one_sentence(metric: str) -> None:
    value, words = SAID[metric]
    rows = [step(n) for n in range(1, 15)] + [step(n, **{metric: value}) for n in range(15, 30)]
    [sentence] = said(rows)
    assert words in sentence
    assert metric in sentence
    assert "\n" not in sentence
    assert sentence.startswith("step ")


def test_who_imitates_needs_no_reward() -> None:
    """Kuhn's warm-up learns by likelihood alone: its advantages are 0, and all is well."""
    config = load_config("kuhn", {})
    row = {"iteration": 1, "of": 60, "first/advantage": 0.0, "first/reward": 0.0}
    assert said([row | {"phase": "warm", "n": n, "step": n} for n in range(1, 20)], config=config) == []
    assert len(said([row | {"phase": "selfplay", "n": n, "step": n} for n in range(1, 20)], config=config)) == 2


@pytest.mark.parametrize("metric", ["student/reward", "student/advantage", "true", "student/entropy"])
def test_a_single_step_is_chance_and_a_relapse_is_said_again(metric: str) -> None:
    value, _ = SAID[metric]
    once = [step(n, **({metric: value} if n == 15 else {})) for n in range(1, 30)]
    assert said(once) == []
    twice = [step(n, **({metric: value} if n // 10 % 2 else {})) for n in range(1, 50)]
    assert len(said(twice)) == 2


def test_what_is_not_finite_is_outside_everything() -> None:
    rows = [step(n) for n in range(1, 15)] + [step(15, **{"student/grad_norm": float("nan")})]
    assert len(said(rows)) == 1


def test_a_run_that_was_resumed_has_the_same_alarms() -> None:
    rows = [step(n, **({"student/reward": 0.0} if n > 12 else {})) for n in range(1, 30)]
    told: list[str] = []
    for cut in (0, 5, 14, 16, 17, 29):
        told.clear()
        first = WatchListener(CONFIG, told.append)
        first.began([], [])
        for row in rows[:cut]:
            first.step(row)
        second = WatchListener(CONFIG, told.append)
        second.began(rows[:cut], [])
        for row in rows[cut:]:
            second.step(row)
        assert told == [f"alarm: {sentence}" for sentence in said(rows)]


def test_an_evaluation_that_falls_is_said() -> None:
    def row(iteration: int, em: float, taught: float) -> dict[str, Any]:
        return {"iteration": iteration, "em": em, "em_by_hops": {"1": em}, "teacher_em_by_hops": {"1": taught}}

    assert said([], [row(0, 0.3, 1.0), row(1, 0.9, 1.0)]) == []
    first, second = said([], [row(0, 0.3, 1.0), row(1, 0.1, 0.4)])
    assert "the evaluation after iteration 1: eval/em is 0.1" in first
    assert "eval/teacher_em_by_hops/1" in second


def test_bfloat16_and_off_policy_steps_may_be_further_apart() -> None:
    apart = [step(n, **{"student/logprob_diff_max": 0.05}) for n in range(1, 9)]
    assert len(said(apart)) == 1
    assert said(apart, config=load_config("pi-play", {"engine.dtype": "bfloat16"})) == []
    for change in ({"updates": "2"}, {"losses.nll.weight": "1.0"}):
        overrides = {f"phases.study.learn.student.{name}": value for name, value in change.items()}
        assert said(apart, config=load_config("pi-play", overrides)) == []


def test_what_is_learnt_by_likelihood_alone_may_become_certain() -> None:
    row = {"n": 0, "iteration": 1, "phase": "learn", "step": 0, "of": 60, "learner/reward": 0.0, "learner/entropy": 1.5}
    rows = [row | {"n": n, "learner/entropy": 1.5 if n < 5 else 0.01} for n in range(1, 20)]
    assert said(rows, config=load_config("warm-up", {})) == []
    assert len(said([step(n, **{"student/entropy": 1.5 if n < 5 else 0.01}) for n in range(1, 20)])) == 1


def test_roles_that_do_not_learn_may_be_as_they_are() -> None:
    rows = [
        {"n": n, "iteration": 1, "phase": "examine", "student/reward": 0.0, "examiner/reward": 0.5}
        for n in range(1, 20)
    ]
    assert said(rows) == []


@pytest.mark.parametrize("recipe", ["pi-play", "smoke", "pi-play-hf", "kuhn", "search-r1", "r-zero", "tables"])
def test_every_range_is_a_range(recipe: str) -> None:
    config = load_config(recipe, {})
    for phase in config.phases:
        for rule in rules_of(config, phase):
            assert 0 <= rule.low <= rule.high
            assert rule.advice
            assert rule.low > 0 or rule.high < float("inf"), rule.metric


@pytest.mark.slow
def test_a_toy_run_keeps_its_alarms(toy_run: Path) -> None:
    """They are in the summary and on the page, and are those of its rows."""
    rows = [json.loads(line) for line in (toy_run / "metrics.jsonl").read_text().splitlines()]
    summary = json.loads((toy_run / "summary.json").read_text())
    config = Config.model_validate(json.loads((toy_run / "config.json").read_text()))
    found = [alarm["sentence"] for alarm in summary["alarms"]]
    assert found == said(rows, summary["eval"], config)
    assert any("true is 0" in sentence for sentence in found), "a random model writes nothing true"
    page = (toy_run / "report.html").read_text()
    assert all(sentence.split(":")[0] in page for sentence in found)
    assert "Outside its range: " in page
