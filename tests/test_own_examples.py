"""The examples of things of one's own, played for a step or two by the tiny base; and the notebook's cells."""

import json
import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import piplay
from piplay.cli.main import main
from piplay.envs.search.match import normalise
from piplay.training.run_directory import Run

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[1] / "examples"
SMALL = {"engine.threads": "1", "evaluation.per_hop": "0"}


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the examples, as if one stood there; its modules are forgotten after."""
    monkeypatch.chdir(EXAMPLES / "own")
    monkeypatch.setattr(sys, "path", [*sys.path, ""])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield EXAMPLES / "own"
    for name in ("mine", "self_play"):
        sys.modules.pop(name, None)


def train(recipe: str, folder: Path, settings: dict[str, str]) -> Run:
    words = [word for name, value in (SMALL | settings).items() for word in (f"--{name}", value)]
    assert main(["train", recipe, "--run-dir", str(folder), *words]) == 0
    return Run.open(folder)


@pytest.mark.long
def test_the_game_trains_both_of_its_roles(own: Path, small_world: Path, tmp_path: Path) -> None:
    settings = {"world": str(small_world), "phases.play.steps": "2", "phases.play.episodes": "4"}
    run = train("self-play.toml", tmp_path / "run", settings)
    rollouts = run.rollouts.to_pylist()
    by_episode: dict[str, dict[str, list[float]]] = {}
    for row in rollouts:
        episode = "/".join(row["key"].split("/")[:4])
        by_episode.setdefault(episode, {"proposer": [], "solver": []})[row["role"]].append(row["reward"])
    tried = [paid for paid in by_episode.values() if paid["solver"]]
    assert tried
    for paid in tried:
        assert len(paid["solver"]) == 5
        assert paid["proposer"] == [pytest.approx(1 - sum(paid["solver"]) / 5)]
    refused = [row for row in rollouts if row["gate"]]
    assert all(row["reward"] == 0 for row in refused)
    for row in run.rows():
        assert {"proposer/loss", "solver/loss"} <= set(row)
    assert set(run.metrics.column_names) >= {"accuracy", "true", "passed"}
    assert piplay.load_agent(run, **{"engine.threads": 1}).ask("Who?").trajectory.policy.name == "solver"


@pytest.mark.long
def test_the_reward_pays_for_shared_words_and_the_gate_refuses_numbers(
    own: Path, tmp_path: Path, small_world: Path
) -> None:
    settings = {
        "world": str(small_world),
        "evaluation.teacher_every": "0",
        "phases.examine.steps": "1",
        "phases.examine.episodes": "2",
        "phases.write.writes": "20",
        "phases.write.steps": "1",
        "phases.write.options.gates": '["format", "leak", "grounded", "mine:no_numbers"]',
        "phases.study.steps": "2",
        "phases.study.episodes": "2",
        "phases.study.options.reward": "mine:token_f1",
    }
    run = train("smoke", tmp_path / "run", settings)
    from mine import token_f1

    rollouts = run.rollouts.to_pylist()
    studied = [row for row in rollouts if row["key"].startswith("m1/study")]
    assert len(studied) == 20
    for row in studied:
        assert row["reward"] == pytest.approx(token_f1(row["answer"], row["answers"]) if row["answer"] else 0.0)
    refused = [row for row in rollouts if row["gate"] == "mine:no_numbers"]
    assert refused
    assert all(row["answer"].split()[-1].isdigit() for row in refused)
    assert sum(row.get("gate/mine:no_numbers", 0) for row in run.rows()) == len(refused)
    assert not any(answer.isdigit() for answers in run.tasks["answers"].to_pylist() for answer in answers)


def test_token_f1_is_the_harmonic_mean_of_precision_and_recall(own: Path) -> None:
    from mine import token_f1

    rng = random.Random(0)
    words = ["bor", "oum", "the", "quil", "1201", "tamsin"]
    for _ in range(300):
        said, gold = (" ".join(rng.choices(words, k=rng.randint(1, 4))) for _ in range(2))
        a, b = Counter(normalise(said).split()), Counter(normalise(gold).split())
        shared = sum(min(a[word], b[word]) for word in a)
        expected = 0.0
        if shared:
            precision, recall = shared / a.total(), shared / b.total()
            expected = 2 * precision * recall / (precision + recall)
        assert token_f1(said, [gold]) == pytest.approx(expected)
        assert token_f1(said, ["nothing", gold]) == pytest.approx(expected)


@pytest.mark.long
def test_the_notebook_runs_from_its_first_cell_to_its_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((EXAMPLES / "first-run.ipynb").read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    names: dict[str, object] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), "first-run.ipynb", "exec"), names)
            assert cell["outputs"] or cell["source"] == ["import piplay"]
    assert isinstance(names["run"], piplay.Run)
    assert names["run"].summary is not None
    text = json.dumps(notebook)
    assert len(text) < 60_000
    assert not any(word in text for word in ("/tmp", "/home", "/root", "/work", "Users"))
