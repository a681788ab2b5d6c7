"""docs/architecture.md has a place for every room."""

import re
from pathlib import Path

import pytest

import piplay

ROOT = Path(piplay.__file__).parent
PAGE = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text(encoding="utf-8")
ROOMS = PAGE.split("## Rooms")[1].split("## One step")[0]
PLACES = sorted(
    path.relative_to(ROOT)
    for folder in (ROOT, *(ROOT / name for name in ("chat", "rollout", "algo", "engine", "training")))
    for path in folder.iterdir()
    if path.suffix == ".py" or (path / "__init__.py").is_file()
)


@pytest.mark.parametrize(
    "place", [place for place in PLACES if place.stem not in ("__init__", "envs", "methods")], ids=str
)
def test_a_room_of_the_core_is_in_the_table(place: Path) -> None:
    name = place.name if place.suffix else rf"{place.name}/(?:\w+\.py)?"
    assert re.search(rf"`(?:[\w/]+/)?{name}`", ROOMS), name


def test_the_table_names_nothing_that_is_not_there() -> None:
    for row in re.findall(r"^\| (`[^|]*) \|", ROOMS, re.MULTILINE):
        folder = ROOT
        for name in re.findall(r"`([^`]+)`", row):
            if "…" not in name:
                path = ROOT / name if (ROOT / name).exists() else folder / name
                assert path.exists(), name
                folder = path.parent
