"""A phase takes ready-made questions, from a source of its own or handed out by a game that nobody plays."""

from pathlib import Path

import pytest

from piplay.api import train
from piplay.cli.doctor import doctor
from piplay.errors import InputError
from piplay.recipes import load_config
from piplay.training.run_directory import Run

FEW = {"iterations": 1, "evaluation.per_hop": 0, "report.grid": 0, "phases.examine.steps": 1}
QUESTIONS = {"sources.questions": '{ kind = "pi_play:WorldQuestions", hop_odds = [1, 1] }'}


@pytest.mark.slow
def test_students_study_a_worlds_own_questions(toy_recipe: Path, tmp_path: Path) -> None:
    settings = {"phases.study.tasks": "questions", "phases.study.episodes": 4}
    run = train(toy_recipe, run_dir=tmp_path / "run", **FEW, **QUESTIONS, **settings)
    rows = [row for row in run.rows() if row["phase"] == "study"]
    assert [row["true"] for row in rows] == [1.0, 1.0, 1.0]
    assert all(row["student/distill_kl"] > 0 and row["tasks/1"] + row.get("tasks/2", 0) == 4 for row in rows)


@pytest.mark.slow
def test_a_game_that_nobody_plays_hands_questions_out(
    toy_recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {
        "phases.write.game": "toys.games:HandedOut",
        "phases.write.tasks": "questions",
        "phases.write.seats": "{}",
        "phases.write.options": "{}",
        "phases.study.options.privilege": "foreign",
        "phases.study.episodes": 4,
    }
    doctor(load_config(toy_recipe, FEW | QUESTIONS | settings), None)
    run = train(toy_recipe, run_dir=tmp_path / "run", **FEW, **QUESTIONS, **settings)
    rows = {row["phase"]: row for row in run.rows()}
    assert (rows["write"]["true"], rows["write"]["written"]) == (1.0, 4)
    assert rows["study"]["true"] == 1.0
    again = Run.open(run.folder)
    assert {row["role"] for row in again.rollouts.select(["role"]).to_pylist()} == {"examiner", "student"}
    assert len(again.task_sets()["m1-write"]) == 4
    assert (run.folder / "report.html").is_file()
    assert "could not be made" not in capsys.readouterr().out


@pytest.mark.slow
def test_tasks_whose_path_is_lost_are_refused_where_one_is_shown(toy_recipe: Path, tmp_path: Path) -> None:
    settings = {"phases.write.game": "toys.games:Pathless"}
    with pytest.raises(InputError, match=r"the task m1/write/\S+ has no path, and the privilege 'true' shows one"):
        train(toy_recipe, run_dir=tmp_path / "run", **FEW, **settings)
    settings |= {"phases.study.options.privilege": "none"}
    assert train(toy_recipe, run_dir=tmp_path / "other", **FEW, **settings).finished
