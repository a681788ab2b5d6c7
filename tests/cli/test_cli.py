"""Bad input at the command line: exit code 2, one sentence, nothing written."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from toys.runs import write_settings

from piplay.cli import commands
from piplay.cli.commands import Train, _overrides
from piplay.cli.main import main
from piplay.errors import InputError
from piplay.recipes import load_config
from piplay.training.run_directory import Run

pytestmark = pytest.mark.slow


def tree(folder: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


@pytest.fixture
def refused(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs a command that must be refused; the sentence."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str | Path) -> str:
        before = tree(tmp_path)
        assert main([str(word) for word in words]) == 2
        error = capfd.readouterr().err
        assert error.startswith("piplay: ")
        assert error.count("\n") == 1
        assert error.endswith("\n")
        assert tree(tmp_path) == before
        return error

    return run


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    file = tmp_path / "corpus.jsonl"
    file.write_text('{"id": 1, "contents": "Bor\\nBor lies on the Tamsin."}\n')
    return file


# What is searched


def test_a_missing_corpus(refused, tmp_path: Path) -> None:
    assert "nowhere does not exist" in refused("train", "smoke", "--corpus", tmp_path / "nowhere")


def test_an_empty_folder(refused, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no document and no file of rows" in refused("train", "smoke", "--corpus", tmp_path / "empty")


def test_a_file_that_is_not_utf8(refused, tmp_path: Path) -> None:
    (tmp_path / "books").mkdir()
    (tmp_path / "books" / "old.txt").write_bytes("Gruß".encode("latin-1"))
    sentence = refused("train", "smoke", "--corpus", tmp_path / "books")
    assert "old.txt is not UTF-8" in sentence


def test_a_malformed_line(refused, corpus: Path) -> None:
    with corpus.open("a") as file:
        file.write('\n{"id": 2, "contents": "Oum\n')
    assert "corpus.jsonl, line 3 is not JSON" in refused("train", "smoke", "--corpus", corpus, "--strict", "true")


def test_a_missing_world(refused, tmp_path: Path) -> None:
    assert "no world folder" in refused("train", "smoke", "--world", tmp_path / "nowhere")


def test_a_world_and_a_corpus(refused, corpus: Path, small_world: Path) -> None:
    sentence = refused("train", "smoke", "--corpus", corpus, "--world", small_world)
    assert "has a world and a corpus: give one of them" in sentence


# The model


def test_a_missing_model(refused, corpus: Path, tmp_path: Path) -> None:
    sentence = refused("train", "smoke", "--corpus", corpus, "--model", tmp_path / "nowhere")
    assert "there is no model folder" in sentence


def test_an_empty_model_folder(refused, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    assert "model" in refused("train", "smoke", "--corpus", corpus, "--model", tmp_path / "model")


@pytest.fixture
def model(tmp_path: Path, toy: Callable[[str], Path]) -> Path:
    """A copy of a model that a test may damage."""
    return Path(shutil.copytree(toy("qwen3"), tmp_path / "model"))


@pytest.mark.parametrize("name", ["tokenizer.json", "config.json", "model.safetensors"])
@pytest.mark.parametrize("damage", ["missing", "cut", "garbage"])
def test_a_damaged_model(refused, corpus: Path, model: Path, name: str, damage: str) -> None:
    file = model / name
    raw = file.read_bytes()
    file.write_bytes(raw[: len(raw) // 2] if damage == "cut" else b"{}")
    if damage == "missing":
        file.unlink()
    assert "model" in refused("train", "smoke", "--corpus", corpus, "--model", model)


def test_a_model_without_a_template(refused, corpus: Path, model: Path) -> None:
    (model / "chat_template.jinja").unlink()
    assert "no chat template" in refused("train", "smoke", "--corpus", corpus, "--model", model, "--chat", "native")


def test_a_run_is_no_model(refused, corpus: Path, model: Path) -> None:
    (model / "piplay.json").write_text("{}")
    (model / "config.json").write_text('{"agent": "student"}')
    (model / "final" / "student").mkdir(parents=True)
    sentence = refused("train", "smoke", "--corpus", corpus, "--model", model)
    assert f"give {model / 'final' / 'student'}" in sentence


# Settings


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("envirnment.top_k", "2", "did you mean 'environment'?"),
        ("environment.topk", "2", "did you mean 'top_k'?"),
        ("topk", "2", "did you mean 'top_k'?"),
        ("environment.kind", "serch", "did you mean 'search'?"),
        ("engine.kind", "locl", "did you mean 'local'?"),
        ("policies.student.lrate", "2", "did you mean 'lr'?"),
        ("policies.studnet.lr", "1e-4", "did you mean 'student'?"),
        ("phases.stdy.steps", "2", "did you mean 'study'?"),
        ("phases.study.stps", "2", "did you mean 'steps'?"),
        ("phases.study.learn.student.loses", "2", "did you mean 'losses'?"),
        ("phases.study.learn.student.losses.distil", '{policy = "teacher"}', "did you mean 'distill'?"),
        ("phases.study.learn.studnt.lr", "2", "studnt"),
        ("phases.study.learn.student.advantage", "grop", "did you mean 'group'?"),
        ("phases.study.options.rollout", "2", "rollout"),
        ("phases.study.options.rollouts", "many", "rollouts"),
        ("phases.study.options.rollouts", "0", "rollouts"),
        ("phases.examine.options.gates", '["hopps"]', "hopps"),
        ("phases.study.game", "pi_play:Studdy", "Studdy"),
        ("phases.study.game", "nothing", "nothing"),
        ("phases.study.tasks", "wrtten", "did you mean 'written'?"),
        ("phases.study", "2", "names a phase"),
        ("name.x", "2", "'name.x'"),
        ("seed", "x", "seed"),
        ("seed", "-1", "seed"),
        ("seed", "1.5", "seed"),
        ("iterations", "0", "iterations"),
        ("policies.student.lr", "high", "policies.student.lr"),
        ("policies.student", "0.1", "policies.student"),
        ("agent", "studnt", "did you mean 'student'?"),
        ("evaluation.teacher", "teachr", "evaluation.teacher"),
        ("evaluation.kind", "pi_pla", "did you mean 'pi_play'?"),
        ("sources.seed_passages.hop_odds", "[0, 0]", "hop_odds"),
        ("sources.seed_passages.curriculum", "2", "curriculum"),
        ("engine.dtype", "float16", "engine.dtype"),
    ],
)
def test_a_wrong_setting(refused, corpus: Path, setting: str, value: str, said: str) -> None:
    assert said in refused("train", "smoke", "--corpus", corpus, f"--{setting}", value)


def test_a_setting_without_a_value(refused) -> None:
    assert "--seed has no value" in refused("train", "smoke", "--seed")
    assert "--seed has no value" in refused("train", "smoke", "--seed", "--iterations", "2")


def test_an_unknown_recipe(refused) -> None:
    assert "did you mean 'pi-play'?" in refused("train", "pi-ply")


def test_a_missing_recipe_file(refused, tmp_path: Path) -> None:
    assert "no recipe file" in refused("train", tmp_path / "mine.toml")


@pytest.mark.parametrize("text", [b"name = ", b"name = '\xff'", b"", b'name = "x"', b"wings = 2"])
def test_a_recipe_file_that_cannot_be_read(refused, tmp_path: Path, text: bytes) -> None:
    (tmp_path / "mine.toml").write_bytes(text)
    assert "mine.toml" in refused("train", tmp_path / "mine.toml")


# The run directory


def test_an_existing_run_directory_is_left_alone(refused, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine").write_text("mine")
    assert "already exists" in refused("train", "smoke", "--corpus", corpus, "--run-dir", tmp_path / "run")


def test_resuming_what_is_no_run(refused, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert "no run directory" in refused("resume", tmp_path / "folder")
    assert "no run directory" in refused("resume", tmp_path / "nowhere")


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory: pytest.TempPathFactory, toy_recipe: Path) -> Path:
    """A run whose last step is still to be made, as far as its directory says."""
    folder = tmp_path_factory.mktemp("unfinished") / "run"
    assert main(["train", str(toy_recipe), "--run-dir", str(folder), "--iterations", "1"]) == 0
    (folder / "summary.json").unlink()
    return folder


@pytest.mark.parametrize("name", ["state.json", "engine.json", "student.safetensors", "teacher.safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_resuming_from_a_checkpoint_that_was_cut_short(
    refused, unfinished: Path, tmp_path: Path, name: str, share: float
) -> None:
    run = Path(shutil.copytree(unfinished, tmp_path / "run"))
    last = max((run / "checkpoints").iterdir(), key=lambda path: int(path.name))
    for folder in (run / "checkpoints").iterdir():
        raw = (folder / name).read_bytes()
        (folder / name).write_bytes(raw[: max(int(len(raw) * share) - 1, 0)])
    assert f"the checkpoint {last} is damaged ({name} is not what was written)" in refused("resume", run, "--trust")


@pytest.mark.parametrize("how", ["removed", "cut"])
def test_the_checkpoint_before_a_damaged_one_will_do(
    unfinished: Path, tmp_path: Path, how: str, capfd: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(unfinished, tmp_path / "run"))
    last = max((run / "checkpoints").iterdir(), key=lambda path: int(path.name))
    if how == "removed":
        shutil.rmtree(last)
    else:
        (last / "student.safetensors").write_bytes((last / "student.safetensors").read_bytes()[:-1])
    assert main(["resume", str(run), "--trust"]) == 0
    assert ("going on from the one before" in capfd.readouterr().out) == (how == "cut")
    for name in ("student", "examiner", "teacher"):
        file = Path("final", name, "model.safetensors")
        assert (run / file).read_bytes() == (unfinished / file).read_bytes()


def test_settings_of_a_run_that_were_changed_by_hand(refused, unfinished: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(unfinished, tmp_path / "run"))
    config = json.loads((run / "config.json").read_text())
    write_settings(run, json.dumps(config | {"wings": 2}))
    assert "there is no setting 'wings'" in refused("resume", run, "--trust")


# Evaluation


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--bench nowhere.jsonl --corpus corpus.jsonl", "there is no benchmark file nowhere.jsonl"),
        ("--bench corpus.jsonl --corpus corpus.jsonl", "no questions that can be read: line 1 has no question"),
        ("--bench corpus.jsonl", "needs something to search"),
        ("--corpus corpus.jsonl", "give --bench FILE with it"),
        ("--corpus corpus.jsonl --world w", "search one of them"),
        ("--bench q.jsonl --corpus nowhere", "nowhere does not exist"),
        ("--world nowhere", "no world folder"),
        ("nowhere", "there is no model folder nowhere"),
        ("--against nowhere", "there is no model folder nowhere"),
        ("unfinished", "has no final/student yet: finish it with `piplay resume unfinished`"),
        ("--engine.device nowhere", "the device 'nowhere' cannot be used"),
        ("--out .", "exists already and is not empty"),
        ("--out corpus.jsonl/x", "cannot be made"),
        ("--samples -1", "--samples is -1: give a number of at least 0"),
        ("--limit 0", "--limit is 0"),
        ("--top-k 0", "--top-k is 0"),
        ("--limits.turn-tokens 0", "--limits.turn-tokens is 0"),
        ("--temperature 0", "--temperature is 0.0"),
        ("--temperature nan", "--temperature is nan"),
        ("--seed -1", "--seed is -1"),
    ],
)
def test_an_evaluation_that_cannot_be_made(refused, corpus: Path, tmp_path: Path, words: str, said: str) -> None:
    Run.create(tmp_path / "unfinished", load_config("smoke", {}))
    assert said in refused("eval", "--engine.threads", "1", *words.split())


# Words


def test_overrides_are_taken_out_of_the_words() -> None:
    words = ["train", "smoke", "--a.b-c", "1", "--run-dir", "x", "--d=[1, 2]", "--help"]
    assert _overrides(words, Train) == (["train", "smoke", "--run-dir", "x", "--help"], {"a.b-c": "1", "d": "[1, 2]"})
    assert _overrides(["train", "--run_dir=x"], Train) == (["train", "--run_dir", "x"], {})
    with pytest.raises(InputError, match="--a has no value"):
        _overrides(["train", "--a"], Train)


class OutOfMemoryError(RuntimeError):
    """As torch calls its own."""


@pytest.mark.parametrize(
    ("words", "failure", "code", "said"),
    [
        (["train"], KeyboardInterrupt(), 130, "interrupted"),
        (["ask", "base"], KeyboardInterrupt(), 130, "interrupted"),
        (["train"], FloatingPointError("the gradient is lost"), 1, "the gradient is lost: start again with a lower"),
        (["train"], OutOfMemoryError("CUDA out of memory.\nTrace"), 1, "CUDA out of memory.: start again with less"),
        (["eval"], OutOfMemoryError("CUDA out of memory.\nTrace"), 1, "CUDA out of memory."),
        (
            ["train"],
            RuntimeError("[enforce] CPUAllocator: can't allocate memory: 9 bytes"),
            1,
            "[enforce] CPUAllocator",
        ),
        (["card"], MemoryError("Unable to allocate 9 GiB"), 1, "Unable to allocate 9 GiB"),
        (["card"], MemoryError(), 1, "there is not enough memory"),
        (["train"], MemoryError(" \n"), 1, "there is not enough memory: start again with less"),
    ],
)
def test_what_stops_a_program_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    words: list[str],
    failure: BaseException,
    code: int,
    said: str,
) -> None:
    def stopped(_: object) -> None:
        raise failure

    monkeypatch.setattr(commands, "perform", stopped)
    assert main(words) == code
    [line] = capfd.readouterr().err.splitlines()
    assert line.startswith(f"piplay: {said}")
    assert ("start again" in line) == (words == ["train"] and code == 1)


def test_a_mistake_of_the_programs_own_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(commands, "perform", stopped)
    with pytest.raises(RuntimeError, match="a bug"):
        main(["train"])


def test_the_program_itself_ends_with_code_2(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("piplay")
    done = subprocess.run([program, "train", "pi-ply"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
