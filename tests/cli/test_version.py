"""``piplay --version``, ``python -m piplay`` and ``piplay.__version__`` tell one version, that of pyproject.toml."""

import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

import piplay
from piplay.cli.main import main

ROOT = Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def python(*words: str, path: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A Python that sees no installed package, only ``path``."""
    command = [sys.executable, "-S", *words]
    return subprocess.run(
        command, env={"PYTHONPATH": str(path)}, cwd=cwd, capture_output=True, text=True, check=False, timeout=60
    )


def test_the_package_knows_its_version() -> None:
    assert piplay.__version__ == VERSION
    assert "__version__" in dir(piplay)


def test_the_command_prints_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"piplay {VERSION}\n"


def test_the_version_imports_no_library(tmp_path: Path) -> None:
    done = python("-m", "piplay", "--version", path=ROOT / "src", cwd=tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == (f"piplay {VERSION}\n", "", 0)


@pytest.mark.slow
def test_the_module_is_the_command_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "piplay", "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith("usage: piplay ")


def test_the_help_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["--help"])
    assert "piplay --version" in capsys.readouterr().out


def installed(folder: Path, version: str | None) -> Path:
    """The package outside its tree, with metadata of ``version``."""
    shutil.copytree(ROOT / "src" / "piplay", folder / "piplay", ignore=shutil.ignore_patterns("model", "__pycache__"))
    if version:
        (folder / f"piplay-{version}.dist-info").mkdir()
        (folder / f"piplay-{version}.dist-info" / "METADATA").write_text(f"Name: piplay\nVersion: {version}\n")
    return folder


def test_an_installed_package_reads_its_metadata(tmp_path: Path) -> None:
    done = python("-m", "piplay", "--version", path=installed(tmp_path / "lib", "7.8.9"), cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("piplay 7.8.9\n", "")


def test_a_copy_without_metadata_is_no_version(tmp_path: Path) -> None:
    done = python("-m", "piplay", "--version", path=installed(tmp_path / "lib", None), cwd=tmp_path)
    assert PackageNotFoundError.__name__ in done.stderr


def test_metadata_of_another_tree_does_not_win(tmp_path: Path) -> None:
    (tmp_path / "other" / "piplay-7.8.9.dist-info").mkdir(parents=True)
    (tmp_path / "other" / "piplay-7.8.9.dist-info" / "METADATA").write_text("Name: piplay\nVersion: 7.8.9\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path / 'other')!r}); import piplay; print(piplay.__version__)"
    assert python("-c", code, path=ROOT / "src", cwd=tmp_path).stdout == f"{VERSION}\n"


def test_the_citation_is_of_this_version() -> None:
    assert f"\nversion: {VERSION}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
