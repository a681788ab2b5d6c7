"""What would be uploaded: a folder that answers as the run, with a card whose numbers are the run's."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from huggingface_hub import DatasetCard, ModelCard

from piplay.agent import load_agent
from piplay.cli.main import main
from piplay.errors import InputError
from piplay.publishing import command
from piplay.publishing.command import push
from piplay.publishing.hub import to_the_hub
from piplay.training.run_directory import Run


@pytest.fixture
def run(toy_run: Path, tmp_path: Path) -> Path:
    """A run whose evaluations are other than 0."""
    folder = Path(shutil.copytree(toy_run, tmp_path / "run"))
    summary = json.loads((folder / "summary.json").read_text())
    for row, right in ((summary["eval"][0], 10), (summary["eval"][-1], 40)):
        row |= {"em": right / 100, "em_by_hops": {"1": right / 100}, "n_by_hops": {"1": 100}}
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def never(*told: object) -> str:
    raise AssertionError("nothing is uploaded")


@pytest.mark.slow
def test_a_dry_run_makes_the_folder_and_uploads_nothing(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "to_the_hub", never)
    assert main(["push", str(run), "org/agent", "--dry-run", "--license", "mit", "--base", "org/base"]) == 0
    card = ModelCard.load(run / "hub" / "README.md")
    assert (card.data.license, card.data.base_model, card.data.library_name) == ("mit", "org/base", "transformers")
    [result] = card.data.eval_results
    assert (result.metric_type, result.metric_value, result.verified) == ("exact_match", 0.4, False)
    assert "self-made, unverified" in result.dataset_name
    # Wilson's intervals of 10 and 40 of 100, as published tables have them.
    assert "| 1 | 100 | 0.100 (0.055–0.174) | 0.400 (0.309–0.498) |" in card.text
    for said in ("self-made, unverified", "| seed | 0 |", "| machine | cpu, ", "licence mit", "toy: 2 × ("):
        assert said in card.text


@pytest.mark.slow
def test_the_folder_is_asked_as_the_run(run: Path) -> None:
    hub = push(run, "org/agent", dry_run=True)
    limits = load_agent(run).stage.limits
    there = json.loads((run / "config.json").read_text())["environment"]["world"]
    mine = load_agent(hub, world=there)
    assert mine.ask("Bor?").to_dict() == load_agent(run).ask("Bor?").to_dict()
    assert mine.stage.limits == limits
    tree = json.loads((hub / "agent.json").read_text())
    assert tree["environment"]["world"] == Path(there).name
    assert str(Path(there).parent) not in (hub / "agent.json").read_text()


def test_what_is_uploaded_is_what_was_made(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[tuple[Any, ...]] = []

    def upload(folder: Path, name: str, private: bool, kind: str) -> str:
        seen.append((sorted(file.name for file in folder.iterdir()), name, private, kind))
        return "https://there"

    push(run, "org/agent", private=True, upload=upload)
    push(run, "org/tasks", tasks=True, upload=upload)
    (files, *agent), (data, *tasks) = seen
    assert (agent, tasks) == (["org/agent", True, "model"], ["org/tasks", False, "dataset"])
    assert data == ["README.md", "rollouts.parquet", "tasks.parquet"]
    assert {"README.md", "agent.json", "config.json", "model.safetensors", "tokenizer.json"} <= set(files)
    assert "uploaded: https://there" in capsys.readouterr().out


def test_tasks_are_a_dataset_whose_card_the_viewer_reads(run: Path) -> None:
    hub = push(run, "org/tasks", tasks=True, license="cc-by-4.0", dry_run=True)
    whole = Run.open(run)
    assert pq.read_table(hub / "tasks.parquet").equals(whole.tasks)
    assert pq.read_table(hub / "rollouts.parquet").equals(whole.rollouts)
    card = DatasetCard.load(hub / "README.md")
    assert card.data.license == "cc-by-4.0"
    assert [(one["config_name"], one["data_files"]) for one in card.data.configs] == [
        ("tasks", "tasks.parquet"),
        ("rollouts", "rollouts.parquet"),
    ]
    written = [row["set"] for row in whole.tasks.to_pylist()]
    assert f"| tasks | m1-write | {written.count('m1-write')} |" in card.text
    assert str(run) not in card.content


def test_what_cannot_be_a_dataset_is_refused(run: Path) -> None:
    with pytest.raises(InputError, match="leave them out with --tasks"):
        push(run, "org/tasks", tasks=True, merge=True, dry_run=True)
    summary = (run / "summary.json").read_text()
    (run / "summary.json").unlink()
    with pytest.raises(InputError, match="is not complete"):
        push(run, "org/tasks", tasks=True, dry_run=True)
    (run / "summary.json").write_text(summary)
    (run / "tasks" / "m1-write.parquet").write_bytes(b"other")
    with pytest.raises(InputError, match="changed since the run"):
        push(run, "org/tasks", tasks=True, dry_run=True)


def test_the_bases_own_card_says_its_licence(run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "README.md").write_text("---\nlicense: llama3\n---\n# A base\n")
    monkeypatch.setattr(command.Run, "open", opened_on(base))
    assert ModelCard.load(push(run, "org/agent", dry_run=True) / "README.md").data.license == "llama3"


def opened_on(base: Path) -> Any:
    original = command.Run.open

    def open_(folder: Path) -> Any:
        run = original(folder)
        run.config = run.config.model_copy(update={"model": base})
        return run

    return open_


@pytest.mark.parametrize(
    ("name", "more", "sentence"),
    [
        ("agent", {}, "give ORG/NAME"),
        ("org/agent/x", {}, "give ORG/NAME"),
        ("org/a b", {}, "give ORG/NAME"),
        ("org/agent", {"merge": True}, "leave --merge out"),
    ],
)
def test_what_cannot_be_published_is_refused(run: Path, name: str, more: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        push(run, name, dry_run=True, **more)


def test_a_policy_that_was_changed_is_not_published(run: Path) -> None:
    (run / "final" / "student" / "generation_config.json").write_text("{}")
    with pytest.raises(InputError, match="changed since the run"):
        push(run, "org/agent", dry_run=True)


def test_a_hub_that_refuses_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.HfApi.create_repo", refused)
    with pytest.raises(InputError, match="the Hub does not take org/agent"):
        to_the_hub(tmp_path, "org/agent", False, "model")


def refused(*_: object, **__: object) -> None:
    raise ConnectionError("no route")


@pytest.mark.slow
def test_adapters_are_merged_or_name_their_base(tmp_path: Path, toy_recipe: Path) -> None:
    pytest.importorskip("peft")
    folder = tmp_path / "run"
    less = ["--engine.lora.rank", "2", "--iterations", "1", "--evaluation.per_hop", "0", "--report.grid", "0"]
    less += ["--phases.examine.steps", "1", "--phases.study.steps", "1"]
    assert main(["train", str(toy_recipe), "--run-dir", str(folder), *less]) == 0
    with pytest.raises(InputError, match="give its name as --base"):
        push(folder, "org/agent", dry_run=True)
    hub = push(folder, "org/agent", base="org/base", dry_run=True)
    assert json.loads((hub / "adapter_config.json").read_text())["base_model_name_or_path"] == "org/base"
    card = ModelCard.load(hub / "README.md")
    assert (card.data.library_name, card.data.base_model) == ("peft", "org/base")
    assert "Nothing was evaluated" in card.text
    whole = push(folder, "org/agent", merge=True, dry_run=True)
    assert not list(whole.glob("adapter*"))
    world = json.loads((folder / "config.json").read_text())["environment"]["world"]
    asked = [load_agent(where, world=world).ask("Bor?").trajectory.ids_T.tolist() for where in (folder, whole)]
    assert asked[0] == asked[1]
