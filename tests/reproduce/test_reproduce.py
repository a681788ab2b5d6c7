"""An experiment at a toy's size: arms differ in what they say and in nothing else, and it survives being killed."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from piplay.algo.schedules import value
from piplay.api import train
from piplay.cli.main import main
from piplay.envs.search.environment import SearchEnvironment
from piplay.methods.pi_play.privilege import as_privilege
from piplay.reproduce.experiment import plan, read_experiment
from piplay.training.run_directory import Run

EXAMPLES = Path(__file__).parents[2] / "examples"
HERE = Path(__file__).parent
ARMS = ("reward", "foreign", "decaying")
FEW = {
    "phases.study.episodes": 4,
    "phases.study.options.rollouts": 2,
    "evaluation.per_hop": 3,
    "evaluation.diagnose_every": 0,
    "evaluation.teacher_tasks": 2,
    "limits.tokens": 1400,
    "limits.turns": 2,
    "limits.turn_tokens": 8,
    "engine.threads": 1,
    "checkpoint_every": 1,
}


@pytest.fixture(scope="module")
def command(toy: Callable[[str], Path], small_world: Path) -> list[str]:
    """Two seeds of three arms, two steps each, on a random model."""
    settings = [word for key, value in FEW.items() for word in (f"--{key}", str(value))]
    words = ["reproduce", "privilege", "--arms", *ARMS, "--seeds", "0", "1", "--steps", "2"]
    return [*words, "--start", str(toy("qwen3")), "--world", str(small_world), *settings]


@pytest.fixture(scope="module")
def whole(command: list[str], tmp_path_factory: pytest.TempPathFactory, takes_seconds: None) -> Path:
    out = tmp_path_factory.mktemp("reproduce") / "whole"
    assert main([*command, "--out", str(out)]) == 0
    return out


def tree(out: Path) -> dict[str, Any]:
    return json.loads((out / "results.json").read_text(encoding="utf-8"))


def runs(out: Path) -> dict[str, Run]:
    return {str(f.parent.relative_to(out / "runs")): Run.open(f.parent) for f in sorted(out.rglob("config.json"))
            if (f.parent / "metrics.jsonl").exists()}  # fmt: skip


@pytest.mark.slow
def test_every_arm_is_an_ordinary_run_that_changes_what_it_says(whole: Path) -> None:
    found = runs(whole)
    assert len(found) == 6
    study = {name.split("/")[1]: run.config.phases[0] for name, run in found.items()}
    assert list(study["reward"].learn["student"].losses) == ["pg"]
    assert study["foreign"].options["privilege"] == "foreign"
    weight = study["decaying"].learn["student"].losses["distill"].weight
    assert [value(weight, 1, update) for update in range(3)] == [1.0, 0.5, 0.0]
    for run in found.values():
        assert run.finished
        assert len(run.rows()) == 2
        assert not list((run.folder / "checkpoints").iterdir()), "an optimiser is nothing to keep"
        assert (run.folder / "final" / "student" / "model.safetensors").is_file()


def test_all_arms_are_planned_from_every_start_with_every_seed(toy: Callable[[str], Path]) -> None:
    experiment = read_experiment("privilege")
    starts, given = ("base", str(toy("qwen3"))), {"policies.teacher.tau": "0.01"}
    jobs = plan(experiment, arms=(), seeds=(3, 1), starts=starts, steps=7, recipe=None, overrides=given)
    assert len({(job.start, job.arm, job.seed) for job in jobs}) == len(jobs) == 2 * 2 * 10
    for job in jobs:
        [phase] = job.config.phases
        assert (phase.steps, job.config.seed) == (7, job.seed)
        assert (job.config.model is None) == (job.start == "base")
        assert job.config.policies["teacher"].tau == {"live": 1.0, "frozen": 0.0}.get(job.arm, 0.01)
        shown = {"half": "half", "evidence": "evidence", "answer": "answer", "foreign": "foreign", "none": "none"}
        assert as_privilege(phase.options["privilege"]) == shown.get(job.arm, "true")
    assert {name for one in experiment.comparisons for name in (one.first, one.second)} <= experiment.arms.keys()


def test_an_arm_may_have_steps_of_its_own() -> None:
    experiment = read_experiment(str(EXAMPLES / "tokens.toml"))
    jobs = plan(experiment, arms=[], seeds=[0], starts=["base"], steps=None, recipe=None, overrides={})
    assert {job.arm: job.config.phases[0].steps for job in jobs} == {"true": 8, "reward": 16}


@pytest.mark.slow
def test_all_arms_of_a_seed_play_the_same_questions_as_often(whole: Path) -> None:
    played: dict[str, list[list[str]]] = {}
    for name, run in runs(whole).items():
        played.setdefault(name.rpartition("/")[2], []).append(run.rollouts["task"].to_pylist())
    for tasks in played.values():
        assert all(one == tasks[0] for one in tasks)
        assert len(tasks[0]) == 2 * 4 * 2
    assert played["seed-0"] != played["seed-1"]


@pytest.mark.slow
def test_a_run_is_what_train_makes_of_its_settings(whole: Path, tmp_path: Path) -> None:
    run = next(run for name, run in runs(whole).items() if "/foreign/seed-1" in name)
    again = train(run.config, run_dir=tmp_path / "run")
    for one, other in zip(run.rows(), again.rows(), strict=True):
        assert {k: v for k, v in one.items() if k != "seconds"} == {k: v for k, v in other.items() if k != "seconds"}


def test_curves_count_rollouts_and_the_tokens_that_rows_tell(whole: Path) -> None:
    [(start, curves)] = tree(whole)["curves"].items()
    found = runs(whole)
    for arm in ARMS:
        points = curves[arm]
        assert [point["rollouts"] for point in points] == [8, 16]
        expected = []
        for seed in (0, 1):
            run = found[f"{start}/{arm}/seed-{seed}"]
            rollouts, total = run.rollouts, 0.0
            for row in run.rows():
                step = [r for r in rollouts.to_pylist() if r["key"].startswith(f"m1/study/{row['step'] - 1}/")]
                written, read = sum(np.sum(np.array(r["owner"]) == 1) for r in step), sum(len(r["ids"]) for r in step)
                total += row["rollout/prefilled"] + written + read * (1 if arm == "reward" else 2)
            expected.append(total)
        assert points[-1]["tokens"] == pytest.approx(np.mean(expected))


def test_the_table_and_the_picture_show_every_arm(whole: Path) -> None:
    table = (whole / "table.md").read_text(encoding="utf-8")
    for title in ("reward only", "reward + another question's path", "the path, λ falling to 0"):
        assert title in table
    columns = {line.count("|") for line in table.split("| arm |")[1].splitlines()[1:] if line.startswith("|")}
    assert len(columns) == 1
    page = (whole / "curves.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 4
    assert not re.search(r"<script|https?://(?!www\.w3\.org)", page)
    assert all(f">{arm}<" in page for arm in ARMS)


def test_what_is_finished_is_not_played_again(
    command: list[str], whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("metrics.jsonl")}
    assert main([*command, "--out", str(whole)]) == 0
    assert "run 1 of" not in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("metrics.jsonl")} == before


@pytest.mark.long
def test_killed_anywhere_it_goes_on_to_the_same_bits(command: list[str], whole: Path, tmp_path: Path) -> None:
    path = os.pathsep.join([str(HERE.parent), *sys.path])
    environment = os.environ | {"PYTHONPATH": path, "TOKENIZERS_PARALLELISM": "false"}
    # In a rollout, before there are settings, in a checkpoint, at the end, in the exports of another run.
    moments = "turn@3,replace@2,update@2,export@1,half-line@1,rename-@1,finish@1"
    few = ["--arms", "foreign", "decaying", "--seeds", "1", "--out", str(tmp_path / "out")]
    program = [sys.executable, str(HERE / "killed_experiment.py"), moments, *command, *few]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    again = runs(tmp_path / "out")
    assert len(again) == 2
    for name, run in again.items():
        expected = Run.open(whole / "runs" / name)
        weights = [r.folder / "final" / "student" / "model.safetensors" for r in (run, expected)]
        assert weights[0].read_bytes() == weights[1].read_bytes()
        _, arm, seed = name.split("/")
        results = [next(iter(tree(out)["arms"].values()))[arm]["by_seed"]["1"] for out in (tmp_path / "out", whole)]
        assert results[0] == results[1]
        assert seed == "seed-1"


def test_other_settings_in_one_place_are_refused(
    command: list[str], whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--out", str(whole), "--policies.student.lr", "1e-3"]) == 2
    said = capsys.readouterr().err
    assert "has another policies.student.lr than is wanted now (0.0002, not 0.001): name another --out" in said
    assert len(said.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["privelege"], "there is no experiment 'privelege' (did you mean 'privilege'?)"),
        (["mine.toml"], "there is no experiment file mine.toml"),
        (["privilege", "--arms", "treu"], "has no arm 'treu' (did you mean 'true'?)"),
        (["privilege", "--arms", "true", "true"], "--arms names the same twice"),
        (["privilege", "--seeds", "-1"], "--seeds: give one seed or more, each at least 0"),
        (["privilege", "--steps", "0"], "--steps is 0: give at least 1"),
        (["privilege", "--seed", "1"], "--seed is not a setting of all runs of an experiment: give --seeds"),
        (["privilege", "--model", "m"], "give --start"),
        (["privilege", "--phases.study.steps", "3"], "give --steps"),
        (["privilege", "--start", "nowhere"], "nowhere"),
        (["privilege", "--start", "base", "base"], "--start names the same twice"),
        (["privilege", "--policies.student.rl", "1"], "policies.student.rl"),
        (["privilege", "--evaluation.per_hop", "0"], "there are none of 2 hops"),
        (["privilege", "--recipe", "nothing"], "there is no recipe 'nothing'"),
    ],
)
def test_bad_input_is_one_sentence_before_anything_is_played(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reproduce", *words, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_an_experiment_of_ones_own_is_a_file(
    toy: Callable[[str], Path], small_world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two learning rates, whatever the recipe; and weights are dropped where that is wanted."""
    file = tmp_path / "rates.toml"
    file.write_text(
        'name = "rates"\ntitle = "Rates"\nrecipe = "privilege"\nsteps = 1\nhops = [1]\n'
        'settings = { "phases.study.steps" = "STEPS" }\n'
        'arms.slow = { title = "slow", settings = { "policies.student.lr" = 1e-5 } }\n'
        'arms.fast = { title = "fast", settings = { "policies.student.lr" = 1e-3 } }\n'
        '[[comparisons]]\nfamily = "rates"\nfirst = "fast"\nsecond = "slow"\nclaim = "above"\nwhy = "?"\n',
        encoding="utf-8",
    )
    settings = [word for key, value in FEW.items() for word in (f"--{key}", str(value))]
    words = ["reproduce", str(file), "--seeds", "4", "--start", str(toy("qwen3")), "--world", str(small_world)]
    out = tmp_path / "out"
    assert main([*words, *settings, "--drop-weights", "--out", str(out)]) == 0
    assert [run.config.policies["student"].lr for run in runs(out).values()] == [1e-3, 1e-5]
    assert not list(out.rglob("*.safetensors"))
    assert "fast > slow" in (out / "table.md").read_text(encoding="utf-8")
    file.write_text(file.read_text(encoding="utf-8").replace('second = "slow"', 'second = "slwo"'), encoding="utf-8")
    capsys.readouterr()
    assert main([*words, "--out", str(out)]) == 2
    assert "there is no arm 'slwo' (did you mean 'slow'?)" in capsys.readouterr().err


def test_the_compared_questions_are_held_out(whole: Path, small_world: Path) -> None:
    environment = SearchEnvironment(world=small_world)
    studied = {task for run in runs(whole).values() for task in run.rollouts["question"].to_pylist()}
    assert studied
    assert not studied & {task.question for task in environment.heldout}
