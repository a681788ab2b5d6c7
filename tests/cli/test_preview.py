"""Episodes shown before training: whose they are, what they start from, and who plays them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from piplay.cli.main import main
from piplay.cli.preview import Preview, preview
from piplay.cli.show import show_preview
from piplay.config import Config
from piplay.envs.world.store import read_world
from piplay.errors import InputError
from piplay.methods.pi_play.views import teacher_view
from piplay.recipes import load_config
from piplay.training.run_directory import Run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def config(small_world: Path) -> Config:
    """The smoke recipe on a small world, by the tiny base."""
    return load_config("smoke", {"world": str(small_world), "engine.threads": 1, "phases.examine.options.probes": 2})


def printed(shown: Preview, terminal: bool = False) -> str:
    colours = "standard" if terminal else None
    console = Console(soft_wrap=True, highlight=False, markup=False, force_terminal=terminal, color_system=colours)
    with console.capture() as captured:
        show_preview(shown, console)
    return captured.get()


def test_an_examiner_starts_from_training_passages(config: Config, small_world: Path) -> None:
    shown = preview(config, "examiner", 3)
    train = read_world(small_world).train_ids
    assert len(shown.episodes) == 3
    for episode in shown.episodes:
        assert episode.task.source is not None
        assert episode.task.source.id in train
        assert episode.trajectories[0].trajectory.role == "examiner"
        assert any(one.trajectory.role == "student" for one in episode.trajectories) == (not episode.facts["gate"])
    text = printed(shown)
    assert text.count("[prompt]") == 3
    assert text.count("\ngates ") == 3
    assert "\ntruth " in text


@pytest.mark.parametrize("hops", [1, 3])
def test_students_play_held_out_questions_of_the_hops_that_were_asked_for(
    config: Config, small_world: Path, hops: int
) -> None:
    shown = preview(config, "student", 2, hops=hops)
    known = {question.question for question in read_world(small_world).heldout if question.hops == hops}
    assert {episode.task.question for episode in shown.episodes} <= known
    assert len({episode.task.id for episode in shown.episodes}) == 2
    for episode in shown.episodes:
        assert [one.trajectory.role for one in episode.trajectories] == ["student"] * 5
    text = printed(shown)
    assert text.count("[prompt]") == 2  # once a question
    assert text.count("rollout ") == 10


def test_a_teacher_plays_with_the_path_in_its_prompt(config: Config) -> None:
    shown = preview(config, "teacher", 2, hops=2)
    for episode in shown.episodes:
        [one] = episode.trajectories
        prompt = shown.chat.tokenizer.decode(one.trajectory.ids_T[: one.trajectory.prompt_len].tolist())
        assert teacher_view(episode.task.question, episode.task.path) in prompt
        assert one.trajectory.policy.name == "teacher"
    assert "with its path, at temperature 0" in printed(shown)


def test_every_token_is_shown_once_under_its_owner(config: Config) -> None:
    shown = preview(config, "teacher", 1)
    [one] = shown.episodes[0].trajectories
    plain, coloured = printed(shown), printed(shown, terminal=True)
    for text in (plain, coloured):
        kept = text.replace(" ", "").replace("\n", "")
        for turn in one.trajectory.turns:
            assert kept.count(turn.text.replace(" ", "").replace("\n", "")) == 1
    assert [line.split("]")[0] for line in plain.splitlines() if line.startswith("[")] == [
        "[prompt",
        *["[model", "[tool"] * len(one.trajectory.uses),
        "[model",
    ]
    assert "[model]" not in coloured
    assert "\x1b[1;32m" in coloured  # the model's
    assert "\x1b[36m" in coloured  # the tool's


def test_the_same_preview_twice_is_the_same(config: Config) -> None:
    assert printed(preview(config, "examiner", 2)) == printed(preview(config, "examiner", 2))


def test_without_held_out_questions_the_examiner_writes_some(tmp_path: Path, small_world: Path) -> None:
    (tmp_path / "corpus.jsonl").write_bytes((small_world / "passages.jsonl").read_bytes())
    settings = {"corpus": str(tmp_path / "corpus.jsonl"), "engine.threads": 1, "phases.write.episodes": 8}
    shown = preview(load_config("smoke", settings), "student", 2, hops=1)
    assert [episode.task.hops for episode in shown.episodes] == [1, 1]
    for episode in shown.episodes:
        assert episode.task.question
        assert episode.task.source


def test_an_examiner_that_writes_nothing_valid_is_said(
    toy: Callable[[str], Path], tmp_path: Path, small_world: Path
) -> None:
    (tmp_path / "corpus.jsonl").write_bytes((small_world / "passages.jsonl").read_bytes())
    settings = {
        "corpus": str(tmp_path / "corpus.jsonl"),
        "model": str(toy("qwen3")),
        "engine.threads": 1,
        "phases.write.episodes": 2,
        "limits.turn_tokens": 8,
    }
    with pytest.raises(InputError, match="phase write wrote no task that passes in 10 tries"):
        preview(load_config("smoke", settings), "student", 1)


@pytest.mark.parametrize(
    ("role", "count", "hops", "said"),
    [
        ("examinr", 1, None, "no role 'examinr' \\(did you mean 'examiner'\\?\\)"),
        ("student", 1, 9, "no held-out question of 9 hops, only of 1, 2, 3, 4"),
        ("student", 0, None, "ask for at least 1"),
        ("examiner", 1, 0, "0 hops"),
    ],
)
def test_what_cannot_be_played(config: Config, role: str, count: int, hops: int | None, said: str) -> None:
    with pytest.raises(InputError, match=said):
        preview(config, role, count, hops)


def test_a_teacher_has_whatever_name_its_policy_has(small_world: Path) -> None:
    tree = load_config("smoke", {}).model_dump(mode="json")
    tree["policies"]["mentor"] = {"follows": "student"}
    tree["phases"][2]["learn"]["student"]["losses"]["distill"]["policy"] = "mentor"
    config = load_config(Config.model_validate(tree), {"world": str(small_world), "engine.threads": 1})
    [episode] = preview(config, "mentor", 1).episodes
    assert [str(one.trajectory.policy) for one in episode.trajectories] == ["mentor"]
    with pytest.raises(InputError, match="no role 'teacher'"):
        preview(config, "teacher", 1)


def test_games_without_questions_are_shown(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["play", "kuhn", "--role", "first", "-n", "2", "--engine.threads", "1"]) == 0
    shown = capfd.readouterr().out
    assert shown.count("Kuhn poker, you are first.") == 2
    assert shown.count("\nfacts ") == 2
    assert "hop" not in shown
    assert "search" not in shown
    assert main(["play", "kuhn", "--role", "first", "--hops", "2"]) == 2
    assert "this recipe plays tasks of the kind 'deal', which are no questions" in capfd.readouterr().err


def test_a_run_plays_with_its_own_policies(toy_recipe: Path, tmp_path: Path) -> None:
    assert main(["train", str(toy_recipe), "--run-dir", str(tmp_path / "run"), "--iterations", "1"]) == 0
    run = Run.open(tmp_path / "run")
    trained = preview(run.config, "student", 1, weights=run.checkpoint()).episodes[0].trajectories[0].trajectory
    base = preview(run.config, "student", 1).episodes[0].trajectories[0].trajectory
    length = trained.prompt_len
    np.testing.assert_array_equal(trained.ids_T[:length], base.ids_T[:length])
    # The first word's likelihood is that of other weights.
    assert abs(trained.logprobs_T[length] - base.logprobs_T[length]) > 1e-6 or (
        trained.ids_T[length] != base.ids_T[length]
    )


def test_ready_made_questions_are_chosen_by_their_hops_and_the_teacher_sees_its_privilege(small_world: Path) -> None:
    settings = {"world": str(small_world), "engine.threads": 1, "phases.study.options.privilege": "half"}
    config = load_config("privilege", settings)
    shown = preview(config, "teacher", 2, hops=2)
    assert [len(episode.task.path) for episode in shown.episodes] == [2, 2]
    for episode in shown.episodes:
        trajectory = episode.trajectories[0].trajectory
        text = shown.chat.tokenizer.decode(trajectory.ids_T[: trajectory.prompt_len])
        assert sum(step.evidence in text for step in episode.task.path) == 1
    with pytest.raises(InputError, match="the source questions gave no question of 4 hops in 5 draws"):
        preview(config, "student", 1, hops=4)
