"""Things of one's own by name: where they are looked for, and what is said where they are not."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from piplay.cli.main import main
from piplay.errors import InputError, nearest
from piplay.methods.pi_play.game import Study
from piplay.registry import resolve


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, on the path as the command line puts it; what is imported from it is forgotten after."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, ""])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def game(name: str) -> object:
    return resolve(name, "game", "piplay.methods")


def test_the_packages_own_come_first(folder: Path) -> None:
    (folder / "pi_play.py").write_text("class Study: ...\nclass Other: ...\n")
    assert game("pi_play:Study") is Study
    assert game("piplay.methods.pi_play.game:Study") is Study
    assert game("pi_play:Other").__module__ == "pi_play"  # type: ignore[attr-defined]


def test_a_module_of_the_current_folder_is_found(folder: Path) -> None:
    (folder / "mine.py").write_text("class Mine: ...\n")
    (folder / "deep").mkdir()
    (folder / "deep" / "down.py").write_text("class Mine: ...\n")
    assert game("mine:Mine").__module__ == "mine"  # type: ignore[attr-defined]
    assert game("deep.down:Mine").__module__ == "deep.down"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "give module:Name"),
        ("Study", "give module:Name"),
        (":Study", "give module:Name"),
        ("pi_play:", "give module:Name"),
        ("pi_play:Study()", "give module:Name"),
        ("pi-play:Study", "give module:Name"),
        ("..pi_play:Study", "give module:Name"),
        ("pi_play:Stdy", "piplay.methods.pi_play has no such name (did you mean 'Study'?)"),
        ("pi_ply:Study", "no module 'pi_ply' (did you mean 'pi_play'?) in piplay.methods or the current folder"),
        ("mien:Mine", "no module 'mien' (did you mean 'mine'?)"),
        ("mine:Nime", "mine has no such name (did you mean 'Mine'?)"),
        ("mine:VALUE", "mine has no such name; it has Mine, Ours"),
        ("mine.deeper:Mine", "no module 'mine.deeper'"),
        ("needy:Mine", "it needs a module 'not_to_be_had'"),
        ("broken:Mine", "NameError: name 'nothing' is not defined (broken.py, line 2)"),
        ("cut:Mine", "(cut.py, line 1)"),
    ],
)
def test_what_is_not_there_is_said_in_a_line(folder: Path, name: str, said: str) -> None:
    (folder / "mine.py").write_text("from pathlib import Path\nclass Mine: ...\nclass Ours: ...\nVALUE = 3\n")
    (folder / "needy.py").write_text("import not_to_be_had\n")
    (folder / "broken.py").write_text("class Mine: ...\nnothing\n")
    (folder / "cut.py").write_text("class Mine(\n")
    with pytest.raises(InputError) as caught:
        game(name)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_nearest_word() -> None:
    assert nearest("studnet", ["student", "teacher"]) == " (did you mean 'student'?)"
    assert nearest("x", ["student", "teacher"]) == ""


@pytest.mark.slow
def test_the_command_line_looks_into_the_current_folder_last(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "path", sys.path[:-1])
    (folder / "mine.py").write_text("class Game:\n    def __init__(self, memory): raise RuntimeError\n")
    assert main(["train", "smoke", "--phases.study.game", "mine:Gmae"]) == 2
    assert "mine has no such name (did you mean 'Game'?)" in capfd.readouterr().err
    assert sys.path[-1] == ""
    assert sys.path.count("") == 1
