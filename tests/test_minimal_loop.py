"""`examples/minimal_loop.py` plays what `piplay train` plays: the same trajectories under the same keys."""

import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from piplay.recipes import load_config
from piplay.training.assemble import load_chat, load_engine, load_environment, tiny_base, tool_specs
from piplay.training.listeners.group import ListenerGroup
from piplay.training.loop import Loop
from piplay.training.run_directory import Run
from piplay.types import Episode

pytestmark = pytest.mark.slow
FILE = Path(__file__).parents[1] / "examples" / "minimal_loop.py"
SMALL = {
    "engine.threads": "1",
    "evaluation.per_hop": "1",
    "phases.examine.steps": "1",
    "phases.examine.episodes": "4",
    "phases.examine.options.probes": "2",
    "phases.write.episodes": "4",
    "phases.write.writes": "1",
    "phases.study.steps": "2",
    "phases.study.episodes": "2",
    "phases.study.options.rollouts": "2",
}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, small_world: Path) -> tuple[list[Any], list[Any]]:
    """Key, role, ids and reward of each trajectory, by the example and by a run."""
    config = load_config("smoke", SMALL | {"environment.world": str(small_world)})
    environment = load_environment(config)
    chat = load_chat(tiny_base(), config.chat, tool_specs(environment))
    run = Run.create(tmp_path_factory.mktemp("minimal") / "run", config)
    with ListenerGroup([]) as listener:
        Loop(run, environment, load_engine(config), chat, listener).train()
    rows = run.rollouts.to_pylist()
    whole = [(row["key"], row["role"], list(row["ids"]), row["reward"]) for row in rows]
    short: list[Any] = []

    def watch(m: int, phase: str, step: int, episodes: Sequence[Episode]) -> None:
        for episode in episodes if phase != "evaluate" else ():
            for one in episode.trajectories:
                trajectory = one.trajectory
                short.append(
                    ("/".join(map(str, trajectory.key)), trajectory.role, trajectory.ids_T.tolist(), one.reward)
                )

    runpy.run_path(str(FILE))["self_play"](config, watch)
    return short, whole


def test_the_first_step_is_the_loops(both: tuple[list[Any], list[Any]]) -> None:
    short, whole = ([one for one in found if one[0].startswith("m1/examine/0/")] for found in both)
    assert short == whole
    assert short


def test_so_is_every_other(both: tuple[list[Any], list[Any]]) -> None:
    short, whole = both
    assert [one[:2] for one in short] == [one[:2] for one in whole]
    assert short == whole
    assert {key.split("/")[1] for key, *_ in short} == {"examine", "write", "study"}


def test_it_is_short() -> None:
    assert len(FILE.read_text(encoding="utf-8").splitlines()) <= 150
