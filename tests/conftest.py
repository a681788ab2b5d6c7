"""Models and worlds that tests of several rooms share: made once, never written to.

The process that hands tests out loads this file too, and waits: so what is slow to import stands inside.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from piplay.chat.base import Chat

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# How long an example takes says how busy the machine is.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def takes_seconds() -> None:
    """What a fixture asks for that takes seconds to make: all tests that need it are slow."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "takes_seconds" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def tiny_chat() -> Chat:
    """The chat of the embedded tiny base."""
    from piplay.envs.search.tool import SEARCH
    from piplay.training.assemble import load_chat, tiny_base

    return load_chat(tiny_base(), tools=(SEARCH,))


@pytest.fixture(scope="session")
def tags_chat() -> Chat:
    """Tags in plain text over a tokenizer without a chat template."""
    from toys.models import toy_tokenizer

    from piplay.chat.tags import Tags
    from piplay.envs.search.tool import SEARCH

    return Tags(toy_tokenizer("base"), (SEARCH,))


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a small random chat model of a family."""
    from toys.models import toy_model

    made: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind not in made:
            made[kind] = toy_model(kind, tmp_path_factory.mktemp("toys") / kind)
        return made[kind]

    return make


@pytest.fixture(scope="session")
def small_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world folder of 150 entities."""
    from piplay.envs.world.generate import encyclopedia
    from piplay.envs.world.store import write_world

    folder = tmp_path_factory.mktemp("worlds") / "small"
    write_world(folder, encyclopedia(3, 150), 3, "made for tests", per_hop=10)
    return folder


@pytest.fixture(scope="session")
def recipe_on(tmp_path_factory: pytest.TempPathFactory, toy: Callable[[str], Path]) -> Callable[[str, Path], Path]:
    """A recipe file that plays a whole run in about a second, on a random model and on ``world`` or ``corpus``."""
    from toys.games import RECIPE

    def make(ground: str, place: Path) -> Path:
        file = tmp_path_factory.mktemp("recipes") / "toy.toml"
        file.write_text(
            f'model = "{toy("qwen3")}"\nenvironment = {{ kind = "search", {ground} = "{place}" }}\n{RECIPE}',
            encoding="utf-8",
        )
        return file

    return make


@pytest.fixture(scope="session")
def towns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of 40 passages under 8 titles; four of the passages are set aside for probes."""
    file = tmp_path_factory.mktemp("corpora") / "towns.jsonl"
    lines = [{"id": i, "contents": f"Town {i % 8}\nThis town lies on the river R{i}."} for i in range(40)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def toy_recipe(recipe_on: Callable[[str, Path], Path], small_world: Path) -> Path:
    """The same on the small world."""
    return recipe_on("world", small_world)


@pytest.fixture(scope="session")
def toy_run(tmp_path_factory: pytest.TempPathFactory, toy_recipe: Path, takes_seconds: None) -> Iterator[Path]:
    """The directory of a complete toy run, report and all. It is everyone's: a test that changes a run copies it."""
    from piplay.cli.main import main

    folder = tmp_path_factory.mktemp("toy-run") / "run"
    assert main(["train", str(toy_recipe), "--run-dir", str(folder)]) == 0
    before = content(folder)
    yield folder
    assert content(folder) == before, "a test wrote into the run that all share"


def content(folder: Path) -> dict[str, bytes]:
    """Every file by its path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
