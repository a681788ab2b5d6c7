"""The capability card against the evaluator and by its own counts."""

import json
from pathlib import Path

import pytest

from piplay.cli.main import main
from piplay.config import load_config
from piplay.envs.search.benchmarks import first_of_each_hop
from piplay.methods.pi_play.evaluation import play_teacher
from piplay.methods.pi_play.metrics import em_by_hops
from piplay.rollout.stage import Stage
from piplay.tiny_base.card import capability_card
from piplay.training.assemble import load_chat, load_engine, load_environment, playing, tiny_base, tool_specs

pytestmark = pytest.mark.slow


def test_a_card_measures_every_role(small_world: Path) -> None:
    settings = {"world": str(small_world), "engine.threads": "1", "evaluation.per_hop": "3"}
    config = load_config("pi-play", settings)
    environment = load_environment(config)
    chat, engine = load_chat(tiny_base(), tools=tool_specs(environment)), load_engine(playing(config, tiny_base()))
    card = capability_card(config, environment, engine, chat, seeds_per_hop=4)
    assert card["questions"] == {"1": 3, "2": 3, "3": 3, "4": 3}
    stage = Stage.of(config, engine, chat, {tool.spec.name: tool for tool in environment.tools})
    shown = play_teacher(stage, "student", first_of_each_hop(environment.heldout, 3), ("card", "path"))
    assert card["student_with_path"] == em_by_hops(shown)[0]
    assert sum(card["student_with_path"].values()) > 3 > sum(card["student_greedy"].values())
    assert all(share * 6 == pytest.approx(round(share * 6)) for share in card["student_sampled"].values()), "each twice"
    examiner = card["examiner"]
    assert sum(examiner["gates"].values()) == 4 * 4
    assert examiner["gates"]["passed"] > 8
    assert all(sum(shares.values()) == pytest.approx(1, abs=0.01) for shares in examiner["by_hops"].values())
    assert examiner["all"]["true"] > 0.8


def test_a_card_is_measured_with_its_recipe(small_world: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["card", "--recipe", "smoke", "--world", str(small_world), "--evaluation.per_hop", "1"]
    assert main([*words, "--engine.threads", "1", "--limits.turn_tokens", "3"]) == 0
    card = json.loads(capfd.readouterr().out)
    assert set(card["student_with_path"].values()) == {0.0}, "three tokens are no answer"
    assert card["examiner"]["gates"] == {"format": 4 * 200}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "there is no model folder nowhere"),
        (["--recipe", "pi-ply"], "there is no recipe 'pi-ply'"),
        (["--corpus", "towns"], "there are no held-out questions: a card needs a world"),
    ],
)
def test_what_a_card_cannot_measure(
    words: list[str], said: str, towns: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["card", *(str(towns) if word == "towns" else word for word in words)]) == 2
    assert said in capfd.readouterr().err
