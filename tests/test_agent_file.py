"""``agent.json``: a final policy's folder, wherever it is copied, is asked as its run is."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from piplay.agent import Agent, load_agent
from piplay.agent_file import describe, passage_format, read
from piplay.chat.base import Chat
from piplay.cli.main import main
from piplay.errors import InputError, InputWarning
from piplay.eval.contestants import contestant_of, environment_of
from piplay.eval.options import place
from piplay.methods.pi_play.views import STUDENT
from piplay.settings import Limits
from piplay.training.assemble import load_environment
from piplay.training.run_directory import Run

GIVEN: dict[str, Any] = {
    **dict.fromkeys(("turns", "turn_tokens", "tokens", "top_k", "threads", "device", "dtype", "world", "corpus")),
    "seed": 0, "chat": "auto", "prompt": "", "bench": "world",
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, toy_recipe: Path, takes_seconds: None) -> Path:
    folder = tmp_path_factory.mktemp("described") / "run"
    settings = ["--iterations", "1", "--top-k", "2", "--prompts.student", "Find out.", "--limits.turn-tokens", "9"]
    assert main(["train", str(toy_recipe), "--run-dir", str(folder), *settings]) == 0
    return folder


@pytest.fixture
def copied(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run / "final" / "student", tmp_path / "elsewhere" / "mine"))


def ids(agent: Agent) -> list[int]:
    trajectory = agent.ask("Which town is Bor in?").trajectory
    return [int(token) for token in trajectory.ids_T]


@pytest.mark.slow
def test_a_copied_folder_answers_as_its_run(run: Path, copied: Path) -> None:
    theirs, mine = load_agent(run), load_agent(copied)
    assert ids(mine) == ids(theirs)
    assert mine.stage.limits == theirs.stage.limits == Limits(turns=2, turn_tokens=9, tokens=1400)
    assert [tool.top_k for tool in mine.stage.tools.values()] == [2]  # type: ignore[attr-defined]
    assert mine.stage.context(("x",), {}, 0.0).system("student", "other") == "Find out."


@pytest.mark.slow
def test_eval_measures_a_copied_folder_as_its_run(run: Path, copied: Path) -> None:
    played = []
    for name in (str(run), str(copied)):
        given = {**GIVEN, "model": name}
        world, corpus = place(given)
        one = contestant_of(name, environment_of(name, world, corpus, 0, False, truth=True), given)
        played.append((world, one.settings, dict(one.stage.prompts), one.stage.chat.kind, one.policy))
    assert played[0] == played[1]


def test_every_final_policy_says_how_it_is_asked(run: Path) -> None:
    for folder in (run / "final").iterdir():
        found = read(folder)
        assert found is not None
        assert (found.policy, found.prompts["student"], found.chat) == (folder.name, "Find out.", "native")
        assert set(found.sources) == {"world"}
        assert list(found.passage_format) == passage_format()
    assert "final/student/agent.json" in json.loads((run / "manifest.json").read_text())


def test_the_games_own_prompt_is_written_down(run: Path, tiny_chat: Chat) -> None:
    opened = Run.open(run)
    opened.config = opened.config.model_copy(update={"prompts": {}})
    text = describe(opened, load_environment(opened.config), tiny_chat, "student")
    assert json.loads(text)["prompts"] == {"student": STUDENT}


def changed(folder: Path, **values: object) -> None:
    tree = json.loads((folder / "agent.json").read_text())
    (folder / "agent.json").write_text(json.dumps(tree | values))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"schema": 9}, "in schema 9: use that piplay"),
        ({"limits": {"turns": 0}}, "is damaged"),
        ({"chat": "other"}, "is damaged"),
        ({"environment": {"kind": "os:system"}}, "--trust"),
        ({"environment": {"kind": "search", "corpus": "/nowhere/at/all"}}, "/nowhere/at/all"),
        ({"tools": [{"name": "find", "description": "", "parameters": {}}]}, "trained with the tools find"),
    ],
)
def test_a_file_that_cannot_be_followed_is_refused(copied: Path, values: dict[str, object], sentence: str) -> None:
    changed(copied, **values)
    with pytest.raises(InputError, match=sentence):
        load_agent(copied)


def test_a_damaged_file_is_refused(copied: Path) -> None:
    for text in ("", "[]", "{", "{}", '{"schema": 1}'):
        (copied / "agent.json").write_text(text)
        with pytest.raises(InputError, match="is damaged"):
            load_agent(copied)


def test_another_format_of_passages_is_said(copied: Path) -> None:
    changed(copied, passage_format=["none", "TITLE 1 - TEXT 1", ""])
    with pytest.warns(InputWarning, match="showed passages otherwise"):
        load_agent(copied)
