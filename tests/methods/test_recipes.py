"""The systems' recipes: every part is there, and each plays from its start to its end."""

from pathlib import Path

import pytest

from piplay.cli.main import main
from piplay.recipes import load_config
from piplay.training.assemble import check_parts, load_environment
from piplay.training.run_directory import Run

SYSTEMS = {
    "search-r1": {"phases.solve.steps": 1, "phases.solve.episodes": 1, "evaluation.per_hop": 1},
    "dr-zero": {
        "phases.challenge.steps": 1,
        "phases.challenge.episodes": 2,
        "phases.write.writes": 2,
        "phases.write.episodes": 4,
        "phases.solve.steps": 1,
        "phases.solve.episodes": 2,
    },
    "ssp": {"phases.play.steps": 1, "phases.play.episodes": 3, "phases.play.options.solvers": 2},
    "sqlm": {"phases.play.steps": 1, "phases.play.episodes": 2},
    "r-zero": {
        "phases.challenge.steps": 1,
        "phases.challenge.episodes": 2,
        "phases.challenge.options.samples": 3,
        "phases.write.writes": 1,
        "phases.write.episodes": 4,
        "phases.write.options.samples": 3,
        "phases.write.options.band": [0.1, 1.0],
        "phases.solve.steps": 1,
        "phases.solve.episodes": 1,
    },
}
LEARNT = {
    "search-r1": {"student/loss", "student/kl_ref", "student/malformed", "accuracy"},
    "dr-zero": {"examiner/loss", "student/loss", "accuracy", "true"},
    "ssp": {"examiner/loss", "student/loss", "reader/reward", "refused", "refilled"},
    "sqlm": {"examiner/loss", "student/loss", "majority_share", "label_accuracy"},
    "r-zero": {"examiner/loss", "student/loss", "cluster_share", "majority_share", "student/kl_ref"},
}
"""What the rows of each have to hold."""


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_part_of_a_recipe_is_there(name: str, small_world: Path) -> None:
    config = load_config(name, {"world": small_world})
    check_parts(config, load_environment(config))
    assert config.agent in config.policies


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.long) if name != "search-r1" else name for name in SYSTEMS],
)
def test_a_recipe_trains_and_has_a_report(name: str, small_world: Path, tmp_path: Path) -> None:
    common = {"iterations": 1, "world": small_world, "engine.threads": 1, "evaluation.per_hop": 0, "report.grid": 1}
    settings = common | SYSTEMS[name]
    words = [word for key, value in settings.items() for word in (f"--{key}", str(value))]
    assert main(["train", name, "--run-dir", str(tmp_path / "run"), *words]) == 0
    run = Run.open(tmp_path / "run")
    assert run.finished
    assert LEARNT[name] <= {key for row in run.rows() for key in row}
    assert main(["report", str(run.folder)]) == 0
    assert (run.folder / "report.html").stat().st_size > 10_000
