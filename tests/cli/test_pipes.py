"""A reader that goes, and terminals that know no character but ASCII's."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import piplay

pytestmark = pytest.mark.slow
ROOT = Path(piplay.__file__).parents[1]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more}


def test_a_reader_that_goes_ends_a_command_without_a_traceback(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "piplay", "settings", "smoke"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.close()
        said = program.stderr.read()
    assert (program.wait(), said) == (141, b"")


@pytest.mark.long
def test_an_ascii_terminal_gets_json_that_is_whole(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text('{"id": 1, "title": "Łódź\\u001b[31m", "text": "Łódź \\u202e lies here 😀."}\n', encoding="utf-8")
    words = ["ask", "base", "Łódź?", "--json", "--corpus", str(corpus), "--engine.threads", "1"]
    for more in ({"PYTHONIOENCODING": "ascii"}, {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0"}):
        command = [sys.executable, "-m", "piplay", *words]
        done = subprocess.run(command, capture_output=True, env=environment(**more), check=False)
        assert done.returncode == 0, done.stderr
        assert b"\x1b" not in done.stdout
        assert "Łódź" in json.loads(done.stdout)["question"]
