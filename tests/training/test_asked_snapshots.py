"""Losses that ask a policy as it was, and roles that learn every few steps."""

from pathlib import Path
from typing import Any

import pytest

from piplay.api import train
from piplay.cli.main import main
from piplay.errors import InputError
from piplay.recipes import load_config
from piplay.settings import Phase
from piplay.training.loop import Loop
from piplay.training.run_directory import Run

pytestmark = pytest.mark.slow

FEW: dict[str, Any] = {"evaluation.per_hop": 0, "report.grid": 0, "checkpoint_every": 1}
DRAWN = '{ kl = { policy = "%s", weight = 0.5 }, pg = {} }'
STUDY = "phases.study.learn.student.losses"
BEFORE = {"phases.study.snapshots": ["student@before"], STUDY: DRAWN % "student@before"}


@pytest.fixture(scope="module")
def drawn(toy_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose student is drawn to what it was before the phase."""
    return train(toy_recipe, run_dir=tmp_path_factory.mktemp("drawn") / "run", **FEW, **BEFORE)


def kl(run: Run, iteration: int) -> list[float]:
    return [row["student/kl_ref"] for row in run.rows() if row["phase"] == "study" and row["iteration"] == iteration]


def test_a_snapshot_is_what_the_policy_was(drawn: Run, toy_recipe: Path, tmp_path: Path) -> None:
    base = {"policies.untouched": '{ follows = "student", tau = 0.0 }', STUDY: DRAWN % "untouched"}
    other = train(toy_recipe, run_dir=tmp_path / "run", **FEW, **base)
    assert kl(drawn, 1) == kl(other, 1)
    assert kl(drawn, 1)[0] == 0 < kl(drawn, 1)[-1]
    # It is taken anew where the base stays what it was.
    assert kl(drawn, 2)[0] == 0 < kl(other, 2)[0]


@pytest.mark.parametrize(
    "place", ["snapshot", *(pytest.param(f"{one} step", marks=pytest.mark.long) for one in ("first", "second"))]
)
def test_an_interrupted_run_asks_the_same_snapshot(
    drawn: Run, toy_recipe: Path, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a checkpoint was made between the snapshot and the first step's end, as when a tool dies."""
    log, take = Run.log, Loop._take_snapshots
    stop = {"first step": 1, "second step": 2}.get(place)

    def interrupted(self: Run, row: dict[str, Any]) -> None:
        if (row["phase"], row["iteration"], row["step"]) == ("study", 2, stop):
            raise KeyboardInterrupt
        log(self, row)

    def taken(self: Loop, phase: Phase) -> None:
        take(self, phase)
        if phase.snapshots and place == "snapshot":
            self._commit()
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Run, "log", interrupted)
        patch.setattr(Loop, "_take_snapshots", taken)
        with pytest.raises(KeyboardInterrupt):
            train(toy_recipe, run_dir=tmp_path / "run", **FEW, **BEFORE)
    assert main(["resume", str(tmp_path / "run"), "--trust"]) == 0
    again = Run.open(tmp_path / "run")
    assert [kl(again, 1), kl(again, 2)] == [kl(drawn, 1), kl(drawn, 2)]
    files = [path.relative_to(drawn.folder) for path in drawn.folder.glob("final/*/*.safetensors")]
    assert files
    assert all((drawn.folder / one).read_bytes() == (again.folder / one).read_bytes() for one in files)


@pytest.mark.long
def test_a_role_may_learn_every_second_step(toy_recipe: Path, tmp_path: Path) -> None:
    run = train(toy_recipe, run_dir=tmp_path / "run", **FEW, **{"phases.study.learn.student.every": 2})
    rows = [row for row in run.rows() if row["phase"] == "study"]
    assert [("student/loss" in row) for row in rows] == [row["step"] % 2 == 0 for row in rows]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({STUDY: DRAWN % "student@before"}, "no snapshot 'student@before' yet"),
        ({"phases.study.snapshots": ["before"]}, "'before' is not POLICY@NAME"),
        ({"phases.study.snapshots": ["pupil@before"]}, "'pupil@before' is not POLICY@NAME"),
        ({"phases.study.snapshots": ["student@a", "student@a"]}, "'student@a' is taken twice"),
        ({"phases.study.snapshots": ["student@a/b"]}, "'student@a/b' is not POLICY@NAME"),
    ],
)
def test_a_wrong_snapshot_is_named(toy_recipe: Path, settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        load_config(toy_recipe, settings)
