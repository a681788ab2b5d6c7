"""What an evaluation leaves: which questions were right, the benchmark, the teacher with another privilege."""

from pathlib import Path

import pytest

from piplay.api import train
from piplay.envs.search.environment import SearchEnvironment
from piplay.eval.metrics import em
from piplay.methods.pi_play.evaluation import PiPlayEvaluation, play_student
from piplay.recipes import load_config
from piplay.rollout.stage import Stage
from piplay.training.assemble import load_chat, load_engine, load_environment, tiny_base, tool_specs
from piplay.training.run_directory import Run


@pytest.fixture(scope="module")
def measured(small_world: Path, takes_seconds: None) -> tuple[Stage, SearchEnvironment, dict[str, dict]]:
    """The tiny base on a small world, its teacher shown its own path or another's."""
    config = load_config("smoke", {"world": small_world, "engine.threads": 1})
    environment = load_environment(config)
    assert isinstance(environment, SearchEnvironment)
    chat = load_chat(tiny_base(), tools=tool_specs(environment))
    stage = Stage.of(config, load_engine(config), chat, {tool.spec.name: tool for tool in environment.tools})
    rows = {
        privilege: PiPlayEvaluation(
            environment, {}, config, per_hop=4, privilege=privilege, benchmark=small_world / "train.jsonl"
        ).measure(stage, 0)
        for privilege in ("true", "none")
    }
    return stage, environment, rows


@pytest.mark.slow
def test_a_digit_a_question_says_which_were_right(measured: tuple[Stage, SearchEnvironment, dict[str, dict]]) -> None:
    stage, environment, rows = measured
    row = rows["true"]
    for hops in (1, 2, 3, 4):
        tasks = [task for task in environment.heldout if task.hops == hops][:4]
        answers = [e.trajectories[0].trajectory.answer for e in play_student(stage, "student", tasks, ("again", hops))]
        right = "".join(str(int(em(said, task.answers, False))) for said, task in zip(answers, tasks, strict=True))
        assert row["right_by_hops"][str(hops)] == right
        assert row["em_by_hops"][str(hops)] == right.count("1") / 4
    assert "1" in row["right_by_hops"]["1"]


@pytest.mark.slow
def test_the_benchmark_is_played_too(measured: tuple[Stage, SearchEnvironment, dict[str, dict]]) -> None:
    """Of ten questions a hop the base answers those of one hop."""
    assert 0.15 <= measured[2]["true"]["benchmark_em"] <= 0.35


def test_the_teacher_plays_with_the_privilege_that_it_is_given(
    measured: tuple[Stage, SearchEnvironment, dict[str, dict]],
) -> None:
    rows = measured[2]
    assert rows["true"]["teacher_em_by_hops"]["3"] >= 0.75
    assert rows["none"]["teacher_em_by_hops"]["3"] <= 0.5
    assert rows["none"]["em_by_hops"] == rows["true"]["em_by_hops"]


@pytest.mark.slow
def test_a_benchmark_is_found_from_anywhere(
    toy_recipe: Path, small_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bench.jsonl").write_bytes((small_world / "heldout.jsonl").read_bytes())
    monkeypatch.chdir(tmp_path)
    few = {"iterations": 1, "report.grid": 0, "evaluation.benchmark": "bench.jsonl"}
    run = train(toy_recipe, run_dir="run", **few)
    monkeypatch.chdir("/")
    kept = Run.open(tmp_path / "run").config
    assert kept.evaluation is not None
    assert kept.evaluation.options["benchmark"] == str(tmp_path / "bench.jsonl")
    assert run.folder.name == "run"
