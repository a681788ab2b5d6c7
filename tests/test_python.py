"""``import piplay``: instant, and all that a notebook needs."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

import piplay
from piplay.recipes import load_config


@pytest.mark.slow
def test_importing_costs_nothing_until_something_is_asked_for() -> None:
    program = (
        "import sys; before = set(sys.modules); import piplay; dir(piplay)\n"
        "assert not {'torch', 'transformers', 'pydantic', 'numpy', 'pyarrow'} & set(sys.modules)\n"
        "piplay.Run\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_every_public_name_is_there_and_no_other() -> None:
    assert set(piplay.__all__) <= set(dir(piplay))
    assert all(callable(getattr(piplay, name)) for name in piplay.__all__)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = piplay.trian


@pytest.mark.slow
def test_a_run_from_python(toy_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = piplay.train(toy_recipe, iterations=1, **{"phases.study.steps": 2, "policies.student.lr": "1e-4"})
    assert run.folder == Path("runs/toy-1")
    assert run.config.policies["student"].lr == 1e-4
    assert sum(row["phase"] == "study" for row in run.rows()) == 2
    again = piplay.train(run.config, run_dir="again", seed=1)
    assert (again.config.seed, again.config.iterations) == (1, 1)
    assert repr(again) == "Run('again')"


@pytest.mark.slow
def test_what_a_run_says_is_what_is_on_disk(toy_recipe: Path, tmp_path: Path) -> None:
    run = piplay.Run.open(piplay.train(toy_recipe, run_dir=tmp_path / "run", iterations=1).folder)
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert isinstance(run.metrics, pa.Table)
    assert set(run.metrics.column_names) == {name for line in lines for name in line}
    for row, line in zip(run.metrics.to_pylist(), lines, strict=True):
        assert {name: value for name, value in row.items() if value is not None} == line
    assert run.summary == json.loads((run.folder / "summary.json").read_text())
    assert run.tasks["set"].to_pylist() == ["m1-write"] * 4
    assert run.tasks["source"][0].as_py().keys() == {"id", "title", "text"}
    assert set(run.rollouts["role"].to_pylist()) == {"examiner", "student"}
    played = [line["n"] for line in lines]
    assert run.rollouts.num_rows == sum(
        pa.parquet.read_metadata(run.folder / "rollouts" / f"{n:06d}.parquet").num_rows for n in played
    )


def test_a_new_run_has_empty_tables(tmp_path: Path) -> None:
    run = piplay.Run.create(tmp_path / "run", load_config("smoke", {}))
    assert (run.metrics.num_rows, run.rollouts.num_rows, run.tasks.num_rows, run.summary) == (0, 0, 0, None)
    assert run.checkpoint() is None
    run.log({"n": 1, "a": 1.0})
    run.log({"n": 2, "b": {"c": 2}})
    assert run.metrics.to_pylist() == [{"n": 1, "a": 1.0, "b": None}, {"n": 2, "a": None, "b": {"c": 2}}]


def test_bad_settings_are_input_errors(tmp_path: Path) -> None:
    with pytest.raises(piplay.InputError, match="did you mean 'seed'"):
        piplay.train("smoke", run_dir=tmp_path / "run", sed=1)
    with pytest.raises(piplay.InputError, match="no recipe"):
        piplay.train("smoek", run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()
