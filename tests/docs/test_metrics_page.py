"""docs/metrics.md names every number that a run writes, and none that no run writes."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
from toys.games import RECIPE

from piplay.api import train
from piplay.methods.pi_play.diagnostics import SHOWN
from piplay.methods.pi_play.gates import Gate
from piplay.methods.pi_play.spans import SPANS
from piplay.training.listeners.trackers import numbers
from piplay.types import StopReason

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
PLACES = {
    "ROLE": "(?:examiner|student|teacher|checker)",
    "GATE": f"(?:{'|'.join(get_args(Gate))}|passed)",
    "LOSS": "(?:pg|distill|kl|nll|nft)",
    "REASON": f"(?:{'|'.join(StopReason)})",
    "SPAN": f"(?:{'|'.join(SPANS)})",
    "z": f"(?:{'|'.join(SHOWN)})",
    "h": r"\d+",
    "i": r"\d+",
}


def documented() -> dict[str, re.Pattern[str]]:
    """The names in the first column of the tables, each as a pattern."""
    rows = [line.split("|")[1] for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    names = [name for cell in rows for name in re.findall("`([^`]+)`", cell)]
    assert len(names) == len(set(names))
    return {name: re.compile("/".join(PLACES.get(part, re.escape(part)) for part in name.split("/"))) for name in names}


@pytest.fixture(scope="module")
def written(
    tmp_path_factory: pytest.TempPathFactory, toy: Callable[[str], Path], small_world: Path, takes_seconds: None
) -> set[str]:
    """The names that a run of every phase writes, with every loss."""
    folder = tmp_path_factory.mktemp("metrics")
    file = folder / "toy.toml"
    place = f'environment = {{ kind = "search", world = "{small_world}" }}'
    file.write_text(f'model = "{toy("qwen3")}"\n{place}\n{RECIPE}', encoding="utf-8")
    more = {"kl": '{ policy = "base", weight = 0.1 }', "nll": "{ weight = 0.0 }", "nft": "{ weight = 0.0 }"}
    losses = {f"phases.study.learn.student.losses.{name}": loss for name, loss in more.items()}
    gates = {"phases.examine.options.gates": ["format"]}
    measured = {"evaluation.diagnose_every": 1, "evaluation.benchmark": str(small_world / "heldout.jsonl")}
    train(
        file,
        run_dir=folder / "run",
        **gates,
        **measured,
        **{"policies.base": '{ follows = "student", tau = 0.0 }'},
        **losses,
    )
    names: set[str] = set()
    for line in (folder / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        names |= set(numbers(row)) | {name for name, value in row.items() if isinstance(value, str)}
    for row in json.loads((folder / "run" / "summary.json").read_text(encoding="utf-8"))["eval"]:
        names |= set(numbers(row, "eval"))
    return names


@pytest.mark.slow
def test_every_number_is_documented(written: set[str]) -> None:
    assert [name for name in sorted(written) if not any(p.fullmatch(name) for p in documented().values())] == []


@pytest.mark.slow
def test_every_documented_number_is_written(written: set[str]) -> None:
    assert [name for name, pattern in documented().items() if not any(map(pattern.fullmatch, written))] == []


def test_no_name_is_documented_twice(written: set[str]) -> None:
    for name in written:
        assert sum(pattern.fullmatch(name) is not None for pattern in documented().values()) == 1, name


def test_every_stop_reason_is_explained() -> None:
    assert all(f"`{reason}`" in PAGE.read_text(encoding="utf-8") for reason in StopReason)
