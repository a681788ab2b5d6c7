"""``piplay report``, and the report at the end of ``train``."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from piplay.cli.main import main
from piplay.report import command

pytestmark = pytest.mark.slow

PLAYED = ("grid.json", "examples.json", "report.html")


@pytest.fixture
def run(toy_run: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(toy_run, tmp_path / "run"))


def test_what_is_missing_is_made_again_to_the_same_bits(
    run: Path, toy_run: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in PLAYED:
        (run / name).unlink()
    assert main(["report", str(run), "--trust"]) == 0
    assert capfd.readouterr().out.splitlines() == [
        "playing grid.json and examples.json for the report",
        str(run / "report.html"),
    ]
    for name in PLAYED:
        assert (run / name).read_bytes() == (toy_run / name).read_bytes()


def test_what_is_there_is_not_played_again(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(run / "final")
    shutil.rmtree(run / "snapshots")
    assert main(["report", str(run), "--trust"]) == 0
    assert capfd.readouterr().out == f"{run / 'report.html'}\n"


def test_where_the_world_is_gone_the_page_is_made_without(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in PLAYED:
        (run / name).unlink()
    config = (run / "config.json").read_text()
    (run / "config.json").write_text(config.replace("/small", "/gone"))
    assert main(["report", str(run), "--trust"]) == 0
    out = capfd.readouterr().out.splitlines()
    assert "the report lacks what would have to be played for it" in out[1]
    assert "no world folder" in out[1]
    assert "Examples" not in (run / "report.html").read_text()


def test_without_snapshots_there_are_examples_and_no_grid(tmp_path: Path, toy_recipe: Path) -> None:
    words = ["--iterations", "1", "--report.grid", "0"]
    assert main(["train", str(toy_recipe), "--run-dir", str(tmp_path / "run"), *words]) == 0
    assert not (tmp_path / "run" / "snapshots").exists()
    assert not (tmp_path / "run" / "grid.json").exists()
    text = (tmp_path / "run" / "report.html").read_text()
    assert "After training" in text
    assert "Before training" not in text


def test_a_report_that_fails_is_said_and_the_training_stands(
    tmp_path: Path, toy_recipe: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fails(*told: object) -> str:
        raise ZeroDivisionError("a chart without an axis")

    monkeypatch.setattr(command, "page", fails)
    run = tmp_path / "run"
    assert main(["train", str(toy_recipe), "--run-dir", str(run), "--iterations", "1"]) == 0
    assert (run / "summary.json").exists()
    last = capfd.readouterr().out.splitlines()[-1]
    assert "the report could not be made (ZeroDivisionError('a chart without an axis'))" in last
    assert f"piplay report {run}" in last
    with pytest.raises(ZeroDivisionError):
        main(["report", str(run), "--trust"])


def test_no_run_no_report(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path)]) == 2
    assert "is no run directory" in capfd.readouterr().err


def test_a_corpus_has_a_report_too(recipe_on: Callable[[str, Path], Path], tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text('{"id": 1, "contents": "Bor\\nBor lies on the Tamsin."}\n')
    recipe = recipe_on("corpus", tmp_path / "corpus.jsonl")
    assert main(["train", str(recipe), "--run-dir", str(tmp_path / "run"), "--iterations", "1"]) == 0
    text = (tmp_path / "run" / "report.html").read_text()
    assert "corpus corpus.jsonl" in text
    assert "Whether they are true" not in text
    assert "Before training" in text
