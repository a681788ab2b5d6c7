"""Models and worlds that tests of several rooms share: made once, never written to."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from toys.games import RECIPE
from toys.models import toy_model, toy_tokenizer

from piplay.chat.base import Chat
from piplay.chat.tags import Tags
from piplay.cli.main import main
from piplay.envs.search.tool import SEARCH
from piplay.envs.world.generate import encyclopedia
from piplay.envs.world.store import write_world
from piplay.training.assemble import load_chat, tiny_base

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# How long an example takes says how busy the machine is.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def tiny_chat() -> Chat:
    """The chat of the embedded tiny base."""
    return load_chat(tiny_base(), tools=(SEARCH,))


@pytest.fixture(scope="session")
def tags_chat() -> Chat:
    """Tags in plain text over a tokenizer without a chat template."""
    return Tags(toy_tokenizer("base"), (SEARCH,))


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a small random chat model of a family."""
    made: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind not in made:
            made[kind] = toy_model(kind, tmp_path_factory.mktemp("toys") / kind)
        return made[kind]

    return make


@pytest.fixture(scope="session")
def small_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world folder of 150 entities."""
    folder = tmp_path_factory.mktemp("worlds") / "small"
    write_world(folder, encyclopedia(3, 150), 3, "made for tests", per_hop=10)
    return folder


@pytest.fixture(scope="session")
def recipe_on(tmp_path_factory: pytest.TempPathFactory, toy: Callable[[str], Path]) -> Callable[[str, Path], Path]:
    """A recipe file that plays a whole run in about a second, on a random model and on ``world`` or ``corpus``."""

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
def toy_run(tmp_path_factory: pytest.TempPathFactory, toy_recipe: Path) -> Iterator[Path]:
    """The directory of a complete toy run, report and all. It is everyone's: a test that changes a run copies it."""
    folder = tmp_path_factory.mktemp("toy-run") / "run"
    assert main(["train", str(toy_recipe), "--run-dir", str(folder)]) == 0
    before = content(folder)
    yield folder
    assert content(folder) == before, "a test wrote into the run that all share"


def content(folder: Path) -> dict[str, bytes]:
    """Every file by its path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
