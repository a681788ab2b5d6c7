"""Text from outside that is no UTF-8 is one sentence, wherever it comes in."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import piplay
from piplay.cli.main import main
from piplay.errors import InputError

BAD = "caf\udce9"
"""As Python reads the bytes of another encoding from the command line."""


def program(*words: str, **more: object) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    environment |= {name: str(value) for name, value in more.pop("env", {}).items()}  # type: ignore[attr-defined]
    return subprocess.run([sys.executable, "-m", "piplay", *words], capture_output=True, env=environment, **more)  # type: ignore[call-overload,no-any-return]


@pytest.mark.slow
@pytest.mark.parametrize("encoding", [pytest.param("utf-8", marks=pytest.mark.long), "utf-8:surrogateescape"])
def test_of_standard_input_that_line_alone_is_left_out(small_world: Path, encoding: str) -> None:
    lines = b"What is the river of Bor?\ncaf\xe9?\nWhat is the river of Tam?\n"
    words = ("ask", "base", "--json", "--world", str(small_world), "--engine.threads", "1")
    done = program(*words, input=lines, env={"PYTHONIOENCODING": encoding})
    assert done.returncode == 0
    assert done.stdout.count(b'"question"') == 2
    assert done.stderr.decode().splitlines() == [
        "piplay: line 2 of standard input is not UTF-8 at character 4: write it in UTF-8 (in Python without lone "
        "surrogates); it is left out"
    ]


@pytest.mark.parametrize(
    "words",
    [
        ["ask", "base", BAD],
        ["ask", "base", "Bor?", "--prompts.student", BAD],
        ["train", "smoke", "--prompts.student", BAD],
        ["eval", "base", "--limit", "1", "--prompt", BAD],
        ["play", "smoke", "--prompts.examiner", BAD],
    ],
)
def test_an_argument_that_is_not_utf8(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    error = capfd.readouterr().err
    assert error.startswith("piplay: ")
    assert error.count("\n") == 1
    assert "is not UTF-8 at character 4" in error


def test_a_question_and_a_prompt_from_python(small_world: Path) -> None:
    agent = piplay.load_agent("base", world=small_world, **{"engine.threads": 1})
    for text in (BAD, "half of 😀 \ud83d"):
        with pytest.raises(InputError, match="the question is not UTF-8 at character"):
            agent.ask(text)
    with pytest.raises(InputError, match="prompts"):
        piplay.load_agent("base", world=small_world, prompts={"student": BAD})


@pytest.mark.slow
def test_what_a_terminal_cannot_show_ends_nothing(small_world: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("eval", "base", "--limit", "1", "--engine.threads", "1", "--world", str(small_world), "--out", str(out))
    done = program(*words, env={"PYTHONIOENCODING": "latin-1"})
    assert (done.returncode, done.stderr) == (0, b"")
    assert len((out / "records.jsonl").read_text(encoding="utf-8").splitlines()) == 4
    assert (out / "eval.json").exists()
