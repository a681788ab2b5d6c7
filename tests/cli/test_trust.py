"""A run of somebody else's: what its settings name, what lies beside it, and what its model brings along."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from toys.runs import write_settings

import piplay
from piplay.cli.main import main
from piplay.errors import InputError
from piplay.registry import make, package_alone, resolve
from piplay.training.run_directory import Run

ROOT = Path(piplay.__file__).parents[1]
EVIL = """from pathlib import Path
Path(__file__).with_suffix(".ran").touch()
def f(*a, **k): ...
class S:
    def __init__(self, *a, **k): raise SystemExit(3)
"""
"""A module that shows that it was imported."""
HIDDEN = ("peft", "wandb", "flash_attn", "torchvision", "json", "rich", "gymnasium")
"""Names of libraries, there or not, under which a file of the current folder must not be imported."""


@pytest.fixture
def stranger(toy_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A complete run of the package's own game, with modules beside its settings; one stands in it."""
    run = Path(shutil.copytree(toy_run, tmp_path / "run"))
    for name in ("evil", *HIDDEN):
        (run / f"{name}.py").write_text(EVIL, encoding="utf-8")
    change(run, lambda tree: tree["phases"][0].update(game="pi_play:Examine"))
    monkeypatch.chdir(run)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    yield run
    sys.modules.pop("evil", None)


def change(run: Path, how: Callable[[dict[str, Any]], object]) -> None:
    tree = json.loads((run / "config.json").read_text(encoding="utf-8"))
    how(tree)
    write_settings(run, json.dumps(tree))


def ran(run: Path) -> list[str]:
    return sorted(path.name for path in run.rglob("*.ran"))


def command(run: Path, *words: str) -> tuple[int, str]:
    """Exit code and standard error of a command in the run's directory."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "piplay", *words], cwd=run, env=environment, capture_output=True, text=True, timeout=120
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


COMMANDS = [
    ["ask", ".", "Who?"],
    ["eval", ".", "--limit", "1"],
    ["eval", "base", "--against", ".", "--limit", "1", "--engine.threads", "1"],
    ["report", "."],
    ["resume", "."],
    ["card", "."],
    ["play", "--run-dir", ".", "-n", "1"],
]


@pytest.mark.slow
def test_nothing_of_a_strangers_run_is_imported(stranger: Path, capfd: pytest.CaptureFixture[str]) -> None:
    change(stranger, lambda tree: tree["environment"].update(searcher="evil:S"))
    change(stranger, lambda tree: tree["phases"][0].update(game="evil:S"))
    (stranger / "grid.json").unlink()
    for words in COMMANDS:
        if words == ["resume", "."]:
            (stranger / "summary.json").unlink()
        code = main(words)
        told = capfd.readouterr()
        assert ran(stranger) == [], words
        assert "" not in sys.path
        if words[:2] != ["eval", "base"]:  # which searches what the first model searches
            assert code == (0 if words[0] == "report" else 2), words
            assert "give --trust" in told.out + told.err, words


@pytest.mark.slow
def test_what_is_trusted_is_imported(stranger: Path) -> None:
    change(stranger, lambda tree: tree["environment"].update(searcher="evil:S"))
    with pytest.raises(SystemExit, match="3"):
        main(["ask", ".", "Who?", "--trust"])
    assert ran(stranger) == ["evil.ran"]


@pytest.mark.long
def test_no_file_of_the_current_folder_stands_for_a_library(stranger: Path) -> None:
    code, said = command(stranger, "play", "smoke", "-n", "1", "--engine.threads", "1")
    assert (code, said) == (0, "")
    assert ran(stranger) == []


def nested(path: tuple[str, ...], value: object) -> Callable[[dict[str, Any]], None]:
    def put(tree: dict[str, Any]) -> None:
        node: Any = tree
        for part in path[:-1]:
            node = node[int(part) if isinstance(node, list) else part]
        node[path[-1]] = value

    return put


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("environment",), {"kind": "evil:S"}),
        (("environment", "searcher"), "evil:S"),
        (("environment",), {"kind": "gym", "make": "evil:Any-v0"}),
        (("environment",), {"kind": "gym", "make": "FrozenLake-v1", "observe": "evil:f"}),
        (("environment",), {"kind": "gym", "make": "FrozenLake-v1", "hidden": "evil:f"}),
        (("environment",), {"kind": "pettingzoo", "make": "evil:f"}),
        (("environment",), {"kind": "table", "table": "evil:S"}),
        (("engine", "kind"), "evil:S"),
        (("sources", "mine"), {"kind": "evil:S"}),
        (("evaluation",), {"kind": "evil:S"}),
        (("phases", "0", "game"), "evil:S"),
        (("phases", "0", "options"), {"gates": ["format", "evil:f"]}),
        (("phases", "2", "options"), {"reward": "evil:f"}),
        (("phases", "2", "learn", "student", "advantage"), {"kind": "evil:S"}),
        (("phases", "2", "learn", "student", "losses"), {"pg": {"kind": "evil:S"}}),
        # The package's own, and what its modules import, is no more to be had than what does the thing.
        (("sources", "mine"), {"kind": "listeners.trackers:import_module", "name": "evil"}),
        (("environment",), {"kind": "world.commands:make", "out": "made"}),
        (("environment",), {"kind": "search.corpus:Path"}),
        (("environment",), {"kind": "piplay.cli.main:main", "arguments": ["world", "make", "made"]}),
        (("evaluation",), {"kind": "subprocess:run", "args": ["touch", "made"]}),
        (("evaluation",), {"kind": "os:system", "command": "touch made"}),
    ],
    ids=str,
)
def test_every_name_of_a_runs_settings(stranger: Path, place: tuple[str, ...], value: object) -> None:
    change(stranger, nested(place, value))
    (stranger / "summary.json").unlink()
    with pytest.raises(InputError):
        piplay.resume(stranger)
    assert ran(stranger) == []
    assert not (stranger / "made").exists()
    assert "evil" not in sys.modules


def test_the_packages_own_is_found_alone() -> None:
    with package_alone():
        assert resolve("piplay.envs.gym.lake:way", "script", "piplay.envs.gym")
        assert make("pg", {}, "loss", "piplay.algo.losses")
        for reference in ("os:system", "collections:Counter", "toys.games:PaidExamine"):
            with pytest.raises(InputError, match="give --trust"):
                resolve(reference, "game", "piplay.methods")
    assert resolve("toys.games:PaidExamine", "game", "piplay.methods")


def test_an_agent_of_a_run_imports_what_is_trusted_alone(stranger: Path) -> None:
    change(stranger, lambda tree: tree["environment"].update(searcher="evil:S"))
    for model in (stranger, Run.open(stranger)):
        with pytest.raises(InputError, match="trust=True"):
            piplay.load_agent(model)
    assert ran(stranger) == []


def test_a_models_own_code_is_not_run(toy: Callable[[str], Path], tmp_path: Path) -> None:
    model = Path(shutil.copytree(toy("qwen3"), tmp_path / "model"))
    (model / "evil.py").write_text(EVIL, encoding="utf-8")
    for name, classes in (
        ("config.json", ("AutoConfig", "AutoModelForCausalLM")),
        ("tokenizer_config.json", ("AutoTokenizer",)),
    ):
        tree = json.loads((model / name).read_text(encoding="utf-8"))
        tree["auto_map"] = {kind: ["evil.S", None] if kind == "AutoTokenizer" else "evil.S" for kind in classes}
        tree["model_type"] = "own"
        (model / name).write_text(json.dumps(tree), encoding="utf-8")
    with pytest.raises(InputError):
        piplay.load_agent(model)
    assert ran(model) == []
