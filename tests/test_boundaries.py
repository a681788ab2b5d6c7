"""The arrows between rooms that carry the design, read off the imports themselves."""

import ast
from pathlib import Path

import piplay

ROOT = Path(piplay.__file__).parent
TRAINING = [
    "types.py", "config.py", "chat", "search", "learn", "engine", "rollout", "games", "run", "loop.py",
    "evaluate/measure.py", "evaluate/evaluator.py", "evaluate/probes.py",
]  # fmt: skip


def imported(place: str) -> set[str]:
    """The piplay modules that a file or a folder of files names in its imports."""
    path = ROOT / place
    found: set[str] = set()
    for file in [path] if path.is_file() else path.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("piplay"):
                found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            elif isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names if alias.name.startswith("piplay")}
    return found


def reaches(places: list[str], room: str) -> list[str]:
    return [p for p in places if any(m == f"piplay.{room}" or m.startswith(f"piplay.{room}.") for m in imported(p))]


def test_the_truth_is_out_of_reach_of_every_room_that_trains() -> None:
    assert reaches(TRAINING, "world") == []
    assert reaches(["assemble.py"], "world") == ["assemble.py"]


def test_nothing_that_trains_knows_a_tracker() -> None:
    assert reaches(TRAINING, "track") == []


def test_games_losses_and_the_loop_know_no_engine_but_the_protocol() -> None:
    for place in ("games", "learn", "rollout", "loop.py"):
        assert {m for m in imported(place) if m.startswith("piplay.engine.")} <= {
            "piplay.engine.protocol",
            *(f"piplay.engine.protocol.{name}" for name in ("Engine", "Generate", "Generated", "Objective")),
        }


def test_the_loop_knows_no_game_by_name() -> None:
    assert {m for m in imported("loop.py") if m.startswith("piplay.methods")} == {
        "piplay.methods.base",
        "piplay.methods.base.Game",
    }


def test_nothing_that_trains_knows_of_its_report() -> None:
    assert reaches(TRAINING, "report") == []


def test_nothing_imports_the_command_line() -> None:
    rooms = [path.name for path in ROOT.iterdir() if path.name not in ("cli.py", "commands.py", "__pycache__")]
    assert reaches(rooms, "cli") == reaches(rooms, "commands") == []
