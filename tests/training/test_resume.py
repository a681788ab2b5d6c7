"""A run that is killed anywhere and resumed ends with the same bits as one that never was."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load
from toys.session import selected

from piplay.cli.main import main

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
MOMENTS = (
    "update@2+turn@1+rename-@2+half-line@3",  # again and again
)
MORE = (
    "rename@4",  # a checkpoint is complete but has not its name
    "update@3",  # in the middle of a phase
    "turn@1",  # before anything is committed
    "turn@12",  # in the middle of a rollout
    "rollouts-@5",  # a rollout is written but has not its name
    "half-line@2",
    "weights@9",  # in the middle of a checkpoint
    "replace@12",
    "rename-@5",  # the old ones are not yet removed
    "tasks-@1",  # tasks are written but not committed
    "export-@2",  # an iteration's student is kept, its evaluation not committed
    "export@5",  # in the middle of the exports at the end
    "finish@1",
)


@pytest.fixture(scope="module")
def killed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, toy_recipe: Path) -> Path:
    """A folder with a run for each moment that is asked for, killed there and resumed in another process."""
    out = tmp_path_factory.mktemp("killed")
    kill(toy_recipe, out, selected(request.session, "moment"))
    return out


def kill(recipe: Path, out: Path, moments: Iterable[str]) -> None:
    """Play the runs of ``killed.py`` in a process of their own, on the same code as this one."""
    path = os.pathsep.join([str(HERE.parent), *sys.path])
    environment = os.environ | {"PYTHONPATH": path, "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, str(HERE / "killed.py"), str(recipe), str(out), *moments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def content(run: Path) -> dict[str, Any]:
    """What a run leaves, time and the run's own place apart."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    summary = json.loads((run / "summary.json").read_text())
    [state] = [sorted(run.glob("checkpoints/*/state.json"), key=lambda path: int(path.parent.name))[-1]]
    return {
        "metrics": [{k: v for k, v in row.items() if k != "seconds"} for row in rows],
        "summary": {k: v for k, v in summary.items() if k != "wall_seconds"},
        "rollouts": {path.name: pq.read_table(path).to_pylist() for path in sorted(run.glob("rollouts/*"))},
        "tasks": {path.name: pq.read_table(path).to_pylist() for path in sorted(run.glob("tasks/*"))},
        "state": {k: v for k, v in json.loads(state.read_text()).items() if k != "seconds"},
        "checkpoints": {
            str(path.relative_to(run)): path.read_bytes() for path in sorted(run.glob("checkpoints/*/*.safetensors"))
        },
        "final": {str(path.relative_to(run)): path.read_bytes() for path in sorted(run.glob("final/*/*"))},
        "snapshots": {str(path.relative_to(run)): path.read_bytes() for path in sorted(run.glob("snapshots/*/*"))},
        "replayed": {name: (run / name).read_bytes() for name in ("grid.json", "examples.json")},
        "files": sorted(str(path.relative_to(run)) for path in run.rglob("*")),
    }


@pytest.mark.parametrize("moment", [*MOMENTS, *(pytest.param(moment, marks=pytest.mark.long) for moment in MORE)])
def test_a_killed_run_resumes_to_the_same_bits(killed: Path, toy_run: Path, moment: str) -> None:
    found, expected = content(killed / moment), content(toy_run)
    for part, value in expected.items():
        assert found[part] == value, part


def test_a_run_says_what_its_bits_depend_on(toy_run: Path) -> None:
    machine = json.loads((toy_run / "machine.json").read_text())
    config = json.loads((toy_run / "config.json").read_text())
    assert (machine["threads"], machine["torch"]) == (config["engine"]["threads"], torch.__version__)
    assert 1 <= machine["cores"] <= (os.cpu_count() or 1)
    assert machine["processor"]


def test_the_run_that_is_killed_is_worth_it(toy_run: Path) -> None:
    """Every policy has moved, so that equal bits say something; seconds are logged for every step."""
    run = content(toy_run)
    weights = {name: value for name, value in run["final"].items() if name.endswith("model.safetensors")}
    assert len(set(weights.values())) == 3
    assert all(row["examiner/grad_norm"] > 0 for row in run["metrics"] if row["phase"] == "examine")
    assert all(row["student/grad_norm"] > 0 for row in run["metrics"] if row["phase"] == "study")
    assert [row["n"] for row in run["metrics"]] == list(range(1, len(run["metrics"]) + 1))
    assert len(run["rollouts"]) == len(run["metrics"])
    assert len(run["tasks"]) == 2
    students = [value for name, value in run["snapshots"].items() if name.endswith("model.safetensors")]
    assert len(set(students)) == 3
    assert students[-1] == run["final"]["final/student/model.safetensors"]


@pytest.mark.long
def test_a_self_generated_set_survives_being_killed(
    recipe_on: Callable[[str, Path], Path], towns: Path, tmp_path: Path
) -> None:
    moments = (
        "turn@3",  # while its questions are written
        "tasks-@1",  # they are in their file, but not committed
        "update@2",  # when they have been committed
    )
    recipe = recipe_on("corpus", towns)
    recipe.write_text(recipe.read_text().replace("iterations = 2", "iterations = 1"))
    assert main(["train", str(recipe), "--run-dir", str(tmp_path / "whole")]) == 0
    kill(recipe, tmp_path, moments)
    expected = content(tmp_path / "whole")
    assert len(expected["state"]["evaluation"]["questions"]) == len(expected["tasks"]["self_generated.parquet"]) == 4
    for moment in moments:
        assert content(tmp_path / moment) == expected, moment


@pytest.mark.long
def test_adapters_in_bf16_survive_being_killed(toy_recipe: Path, tmp_path: Path) -> None:
    moments = ("update@2+weights@5",)
    recipe = tmp_path / "lora.toml"
    settings = 'threads = 1, dtype = "bfloat16", checkpointing = true, lora = { rank = 4 }'
    text = toy_recipe.read_text().replace("threads = 1", settings)
    recipe.write_text(text.replace("iterations = 2", "iterations = 1"))
    assert main(["train", str(recipe), "--run-dir", str(tmp_path / "whole")]) == 0
    kill(recipe, tmp_path, moments)
    expected = content(tmp_path / "whole")
    weights = [value for name, value in expected["final"].items() if name.endswith("model.safetensors")]
    assert len(set(weights)) == 3
    # Of the base nothing is written.
    for stored in (*weights, *expected["checkpoints"].values()):
        assert all(".lora_" in name or name.startswith("adamw.") for name in load(stored))
    for moment in moments:
        assert content(tmp_path / moment) == expected, moment


def test_a_complete_run_is_not_resumed(toy_run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = content(toy_run)
    assert main(["resume", str(toy_run), "--trust"]) == 2
    assert "complete" in capfd.readouterr().err
    assert content(toy_run) == before
