"""Runs that are damaged, changed, or written by two: the result is the same, or a sentence says why there is none."""

from __future__ import annotations

import json
import multiprocessing
import re
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from toys.runs import write_settings
from toys.scripted import told, turn

from piplay.agent import load_agent
from piplay.api import resume
from piplay.cli.main import main
from piplay.config import Config
from piplay.errors import InputError, InputWarning
from piplay.recipes import load_config
from piplay.registry import resolve
from piplay.settings import Learn, Phase
from piplay.training.fingerprints import check_unchanged, fingerprints_of_environment, own_code
from piplay.training.learner import Learner
from piplay.training.lock import holding
from piplay.training.machine import kept, machine
from piplay.training.run_directory import Run
from piplay.training.state import RunState
from piplay.types import Episode, ScoredTrajectory, Task


@pytest.fixture
def config() -> Config:
    return load_config("smoke", {"seed": "4"})


def run_of(folder: Path, config: Config, steps: int = 4) -> Run:
    """A run with a checkpoint after each of its steps."""
    run, state = Run.create(folder, config), RunState()
    for n in range(1, steps + 1):
        run.log({"n": n})
        run.save_tasks(f"m{n}-write", [])
        state.done, state.step, state.phase = n, 1, 1
        run.commit(state, lambda new: (new / "weights").write_text(f"weights of {state.done}") and None)
    return run


def resumed(run: Run) -> tuple[int, list[str]]:
    """After how many steps a run goes on, and what is said."""
    said: list[str] = []
    loaded: list[Path] = []
    done = Run.open(run.folder).resume(loaded.append, said.append).done
    assert [path.name for path in loaded] == [str(done)]
    return done, said


def spoil(file: Path, how: str) -> None:
    raw = file.read_bytes()
    if how == "removed":
        file.unlink()
    else:
        changed = {"flipped": raw[:-2] + bytes([raw[-2] ^ 1]) + raw[-1:], "cut": raw[:-2], "emptied": b""}
        file.write_bytes(changed[how])


@pytest.mark.slow
@pytest.mark.parametrize("how", ["flipped", "cut", "emptied", "removed"])
@pytest.mark.parametrize("name", ["state.json", "weights", "manifest.json"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path: Path, config: Config, name: str, how: str) -> None:
    run = run_of(tmp_path / "run", config)
    spoil(run.folder / "checkpoints" / "4" / name, how)
    done, [said] = resumed(run)
    assert done == 3
    assert re.search("checkpoints/4 is damaged .*going on from the one before", said)
    spoil(run.folder / "checkpoints" / "3" / name, how)
    with pytest.raises(InputError, match=r"checkpoints/4 is damaged .* no checkpoint before it that is whole"):
        resumed(run)


@pytest.mark.parametrize("how", ["flipped", "emptied", "removed"])
def test_what_only_the_newest_goes_on_from_is_played_again(tmp_path: Path, config: Config, how: str) -> None:
    run = run_of(tmp_path / "run", config)
    spoil(run.folder / "tasks" / "m4-write.parquet", how)
    done, [said] = resumed(run)
    assert done == 3
    assert "m4-write.parquet is damaged" in said


@pytest.mark.parametrize("name", ["tasks/m1-write.parquet", "metrics.jsonl", "piplay.json"])
def test_what_all_go_on_from_is_refused(tmp_path: Path, config: Config, name: str) -> None:
    run = run_of(tmp_path / "run", config)
    raw = (run.folder / name).read_bytes()
    (run.folder / name).write_bytes(raw.replace(b"1", b"7", 1))
    with pytest.raises(InputError, match=f"{Path(name).name} is damaged|is not what was written"):
        resumed(run)


def test_settings_that_were_edited_are_refused(tmp_path: Path, config: Config) -> None:
    run = run_of(tmp_path / "run", config)
    text = (run.folder / "config.json").read_text()
    (run.folder / "config.json").write_text(text.replace('"seed": 4', '"seed": 5'))
    with pytest.raises(InputError, match=r"config.json is not what was written"):
        Run.open(run.folder)


@pytest.mark.parametrize(
    "change",
    [{"commits": 5}, {"phase": 4}, {"step": 11}, {"done": 99}, {"done": 0}, {"step": -1}, {"seconds": "long"}],
)
def test_a_state_that_no_run_comes_to_is_refused(tmp_path: Path, config: Config, change: dict[str, Any]) -> None:
    run = run_of(tmp_path / "run", config)
    for number in (3, 4):
        folder = run.folder / "checkpoints" / str(number)
        state = json.loads((folder / "state.json").read_text()) | change
        (folder / "state.json").write_text(json.dumps(state))
        tree = json.loads((folder / "manifest.json").read_text())
        tree["files"].pop("state.json")
        (folder / "manifest.json").write_text(json.dumps(tree))
    with pytest.raises(InputError, match="is damaged"):
        resumed(run)


def test_a_strangers_files_and_folders_stay(tmp_path: Path, config: Config) -> None:
    run = run_of(tmp_path / "run", config)
    mine = ["notes.txt", "notes.txt.new", "rollouts/2.csv", "checkpoints/3-backup/x", "checkpoints/²/x"]
    for name in mine:
        (run.folder / name).parent.mkdir(exist_ok=True)
        (run.folder / name).write_text("mine")
    litter = ["machine.json.new", "rollouts/000009.parquet.new", "checkpoints/5.new/x", "final/student.new/.tmpX"]
    for name in litter:
        (run.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (run.folder / name).write_text("half")
    assert resumed(run)[0] == 4
    assert [name for name in mine if not (run.folder / name).is_file()] == []
    assert [name for name in litter if (run.folder / name).exists()] == []


def hold(folder: Path, holds: Any, end: Any) -> None:
    with holding(folder):
        holds.set()
        end.wait(20)


def test_a_run_has_one_writer(tmp_path: Path, config: Config) -> None:
    folder = run_of(tmp_path / "run", config).folder
    context = multiprocessing.get_context("fork")
    holds, end = context.Event(), context.Event()
    other = context.Process(target=hold, args=(folder, holds, end))
    other.start()
    assert holds.wait(20)
    written = pytest.raises(InputError, match=rf"is being written by process {other.pid} on .*since")
    with written as caught, holding(folder):
        pass
    assert "\n" not in str(caught.value)
    other.kill()
    other.join()
    with holding(folder):  # a lock ends with its process
        pass
    assert (folder / "lock").read_text() == ""


def environment_of(place: Path, files: Any = None) -> Any:
    return type("Now", (), {"files": files} if files else {})()


def test_what_a_run_reads_has_to_stay_what_it_was(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "a.md").write_text("one")
    config = load_config("smoke", {"environment.corpus": str(notes)})
    before = {"model": "m"} | fingerprints_of_environment(config, environment_of(notes))
    run = Run.create(tmp_path / "run", config, before)
    (notes / ".a.md.swp").write_text("an editor's")
    check_unchanged(run, {"model": "m"} | fingerprints_of_environment(config, environment_of(notes)))
    with pytest.raises(InputError, match="the model that comes with piplay is not what the run"):
        check_unchanged(run, before | {"model": "n"})
    for name, text in (("b.md", "two"), ("a.md", "0ne")):
        (notes / name).write_text(text)
        with pytest.raises(InputError, match=rf"the corpus {notes} is not what the run .* began with"):
            check_unchanged(run, {"model": "m"} | fingerprints_of_environment(config, environment_of(notes)))
        (notes / name).write_text("one") if name == "a.md" else (notes / name).unlink()


def test_another_machine_is_said_and_kept() -> None:
    first = machine()
    record, said = kept(None, first, 0)
    assert (record, said) == (first, "")
    assert kept(record, {**first, "cores": 99, "system": "other"}, 3) == (record, ""), "these change no bit"
    record, said = kept(record, {**first, "torch": "9.9", "threads": 64}, 7)
    assert f"torch {first['torch']} → 9.9" in said
    assert "→ 64" in said
    assert "after step 7" in said
    assert record["torch"] == first["torch"]
    assert record["since"][0]["after_step"] == 7
    record, said = kept(record, first, 9)
    assert "9.9 →" in said
    assert [part["after_step"] for part in record["since"]] == [7, 9]
    assert "exact None → True" in kept(record, {**first, "exact": True}, 11)[1]


def test_code_of_ones_own_that_changes_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not refused: who mends a reward goes on with it. Notes beside it and code that is not named do not count."""
    monkeypatch.chdir(tmp_path)
    for name in ("own_rounds", "own_other"):
        (tmp_path / f"{name}.py").write_text("class Rounds: ...\n")
        resolve(f"{name}:Rounds", "task source")
    resolve("math:sqrt", "task source")  # of a module that has no file
    sources = {"sources.rounds": "own_rounds:Rounds", "sources.roots": "math:sqrt"}
    config, plain = load_config("smoke", sources), load_config("smoke", {})
    before, none = own_code(config), own_code(plain)
    (tmp_path / "own_other.py").write_text("class Rounds: pass\n")
    assert own_code(config) == before
    (tmp_path / "own_rounds.py").write_text("class Rounds: pass\n")
    record, said = kept(machine() | before, machine() | own_code(config), 3)
    assert f"own_code {before['own_code']} → {own_code(config)['own_code']}" in said
    assert "since" in record
    assert none == {}


@pytest.mark.slow
def test_a_world_that_changes_ends_in_a_sentence(
    toy_run: Path, small_world: Path, toy: Callable[[str], Path], tmp_path: Path
) -> None:
    """``resume`` refuses; ``ask`` answers, and warns."""
    folder, world = tmp_path / "run", tmp_path / "world"
    shutil.copytree(toy_run, folder)
    shutil.copytree(small_world, world)
    settings = json.loads((folder / "config.json").read_text())
    settings["environment"]["world"] = str(world)
    text = json.dumps(settings)
    write_settings(folder, text)
    line, *others = (world / "passages.jsonl").read_text().splitlines()
    (world / "passages.jsonl").write_text("\n".join([line.replace(" is ", " was ", 1) + " ", *others]) + "\n")
    (folder / "summary.json").unlink()
    with pytest.raises(InputError, match=rf"the world {world} is not what the run"):
        resume(folder, trust=True)
    with pytest.warns(InputWarning, match=r"the world .* has changed since the run"):
        load_agent(str(folder), trust=True)


def test_a_final_policy_that_changed_is_said(toy_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(toy_run, folder)
    weights = folder / "final" / "student" / "model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-4] ^= 1
    weights.write_bytes(raw)
    with pytest.warns(InputWarning, match=r"model.safetensors is not what was written"):
        load_agent(str(folder))


def test_a_replay_lasts_though_its_role_does_not_learn_for_long(tmp_path: Path) -> None:
    """A checkpoint that is made before a role learns again holds what the one before held."""

    class Trainer:
        def train(self, *given: Any) -> dict[str, float]:
            return {}

    learn = Learn.model_validate({"replay": {"keep": "positive", "size": 9}})
    phase = Phase(name="play", game="x:Y", tasks="t", seats={"student": "student"}, learn={"student": learn})
    played = [ScoredTrajectory(told([turn("x")], role="student", key=("k", i)), ("g",), float(i)) for i in range(3)]
    states: dict[str, Any] = {}
    first = Learner(Trainer(), states, 0, [phase])  # type: ignore[arg-type]
    first.learn(1, phase, 0, [Episode(("e",), Task("t"), tuple(played))])
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    first.save(folders[0])
    for before, after in pairwise(folders):
        Learner(Trainer(), states, 0, [phase], before).save(after)  # type: ignore[arg-type]
        [file] = before.iterdir()
        assert (after / file.name).read_bytes() == file.read_bytes()
        shutil.rmtree(before)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["config.json", "piplay.json", "machine.json", "metrics.jsonl", "summary.json"])
@pytest.mark.parametrize("command", ["report", "resume"])
def test_json_that_is_nested_too_deep_is_damage_like_any_other(
    toy_run: Path, tmp_path: Path, name: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(toy_run, tmp_path / "run")
    if command == "resume":
        (run / "summary.json").unlink()
    (run / name).write_text("[" * 100_000 + "]" * 100_000, encoding="utf-8")
    code = main([command, str(run), "--trust"])
    assert code in (0, 2)
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    assert code == 0 or name in said.err or "is complete" in said.err
