"""The commands with a game of one's own, on a random model: what they say where it is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from piplay.cli.main import main
from piplay.recipes import load_config

pytestmark = pytest.mark.slow


@pytest.fixture
def recipe(tmp_path: Path, toy: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe whose game lies beside it and divides by zero."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "dividing.py").write_text(
        "from border_helpers import Guess\n\n\nclass Dividing(Guess):\n"
        "    async def play(self, task, context):\n        return 1 / 0\n",
        encoding="utf-8",
    )
    file = tmp_path / "dividing.toml"
    file.write_text(
        f'name = "dividing"\niterations = 1\nmodel = "{toy("qwen3")}"\nenvironment = "border_helpers:Sums"\n'
        'sources.rounds = "border_helpers:Rounds"\npolicies.guesser = {}\nengine.threads = 1\n'
        '[[phases]]\nname = "play"\ngame = "dividing:Dividing"\ntasks = "rounds"\nsteps = 1\nepisodes = 2\n'
        'seats = { guesser = "guesser" }\nlearn.guesser.losses.pg = {}\n',
        encoding="utf-8",
    )
    return file


def test_the_command_line_says_one_sentence_and_the_traceback_where_it_is_wanted(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(recipe), "--run-dir", "run"]) == 2
    sentence = (
        "piplay: dividing:Dividing.play raised ZeroDivisionError: division by zero (dividing.py, line 6): correct it "
        "there; PIPLAY_TRACEBACK=1 shows the whole traceback\n"
    )
    assert capfd.readouterr().err == sentence
    monkeypatch.setenv("PIPLAY_TRACEBACK", "1")
    assert main(["play", str(recipe)]) == 2
    said = capfd.readouterr().err
    assert said.endswith(sentence)
    assert "return 1 / 0" in said
    assert load_config(str(recipe), {}).name == "dividing"


def test_without_a_role_the_recipes_own_is_played(recipe: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["play", str(recipe), "-n", "1", "--phases.play.game", "border_helpers:Guess"]) == 0
    assert "play/guesser/0/0" in capfd.readouterr().out.replace("\n", "")
    assert main(["play", str(recipe), "--role", "student"]) == 2
    assert "has no role 'student'; it has guesser" in capfd.readouterr().err


def test_where_nothing_learns_it_is_said(recipe: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = [str(recipe), "--phases.play.game", "border_helpers:Guess", "--phases.play.learn", "{}"]
    assert main(["train", *words, "--dry-run"]) == 0
    said = capfd.readouterr().out
    assert "tokens/s written; nothing learns" in said
    assert "inf" not in said
    assert main(["train", *words, "--run-dir", "run"]) == 0
    said = capfd.readouterr().out
    assert "no phase has a `learn`, so the policies are still the base, in run/final" in said
    assert "trained policies" not in said


def test_a_dry_run_refuses_what_the_first_step_would(recipe: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["train", str(recipe), "--dry-run", "--phases.play.game"]
    assert main([*words, "dividing:Dividing"]) == 2
    assert "dividing:Dividing.play raised ZeroDivisionError" in capfd.readouterr().err
    losses = '{ distill = { policy = "guesser" } }'
    assert main([*words, "border_helpers:Guess", "--phases.play.learn.guesser.losses", losses]) == 2
    assert "the loss distill reads the view 'privileged', and border_helpers:Guess gives none" in capfd.readouterr().err
    assert main([*words, "border_helpers:Guess", "--limits.tokens", "4"]) == 2
    assert "limits.tokens is 4, and the shortest prompt of the role 'guesser' has" in capfd.readouterr().err


def test_a_run_without_questions_is_neither_measured_nor_asked(recipe: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = [str(recipe), "--phases.play.game", "border_helpers:Guess", "--environment", "search"]
    assert main(["train", *words, "--run-dir", "run"]) == 0
    for command in (["eval", "run"], ["ask", "run", "Who?"]):
        assert main(command) == 2
        assert "the run run plays a game without questions" in capfd.readouterr().err
