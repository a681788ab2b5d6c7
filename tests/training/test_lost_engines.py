"""An engine that is lost is started again from the last checkpoint, with the same bits; not for ever."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from toys.engines import DEATHS, UPDATES, Shrinking

from piplay.cli.main import main

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _alive() -> Iterator[None]:
    UPDATES[0] = 0
    yield
    DEATHS.clear()


def train(recipe: Path, run: Path, kind: str = "Mortal") -> int:
    return main(["train", str(recipe), "--run-dir", str(run), "--engine.kind", f"toys.engines:{kind}"])


def rows(run: Path) -> list[dict[str, object]]:
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [{name: value for name, value in json.loads(line).items() if name != "seconds"} for line in lines]


def test_a_run_goes_on_to_the_same_bits(
    toy_recipe: Path, toy_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    DEATHS.extend([2, 3, 9])  # in the first step, at once again, and later
    assert train(toy_recipe, tmp_path / "run") == 0
    said = capfd.readouterr().out
    assert said.count("a part of it has died: the engine is started again") == 3
    assert DEATHS == []
    assert rows(tmp_path / "run") == rows(toy_run)
    for name in ("student", "examiner", "teacher"):
        file = Path("final") / name / "model.safetensors"
        assert (tmp_path / "run" / file).read_bytes() == (toy_run / file).read_bytes()


def test_one_that_always_dies_ends_the_run_which_can_be_resumed(
    toy_recipe: Path, toy_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    DEATHS.extend([5, 6, 7])
    assert train(toy_recipe, tmp_path / "run") == 3
    told = capfd.readouterr()
    [sentence] = told.err.splitlines()
    assert "a part of it has died: 3 engines were lost without a step between" in sentence
    assert sentence.endswith(f"`piplay resume {tmp_path / 'run'}`")
    assert main(["resume", str(tmp_path / "run"), "--trust"]) == 0
    assert rows(tmp_path / "run") == rows(toy_run)


def test_a_run_stops_at_once_where_too_few_devices_are_left(
    toy_recipe: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    DEATHS.append(2)
    assert train(toy_recipe, tmp_path / "run", "Shrinking") == 3
    [sentence] = capfd.readouterr().err.splitlines()
    assert "one device is here: have more; then go on with" in sentence
    assert sentence.endswith(f"`piplay resume {tmp_path / 'run'}`")
    assert Shrinking.starts == 2
