"""The card against the evaluator and by its own counts."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from toys.models import toy_model
from transformers import AutoConfig, AutoModelForCausalLM

from piplay.cli.main import main
from piplay.envs.search.benchmarks import first_of_each_hop
from piplay.envs.search.tool import SEARCH
from piplay.methods.pi_play.evaluation import play_teacher
from piplay.methods.pi_play.metrics import em_by_hops
from piplay.recipes import load_config
from piplay.rollout.stage import Stage
from piplay.tiny_base import fresh
from piplay.tiny_base.fresh import Family
from piplay.training.assemble import load_chat, load_engine, load_environment, playing, tiny_base, tool_specs
from piplay.warm_up import Card
from piplay.warm_up.card import _false_notes, _names, _others
from piplay.warm_up.source import Lessons

pytestmark = pytest.mark.slow


@pytest.mark.long
def test_a_card_measures_every_role(small_world: Path) -> None:
    config = load_config("pi-play", {"world": str(small_world), "engine.threads": "1"})
    environment = load_environment(config)
    chat, engine = load_chat(tiny_base(), tools=tool_specs(environment)), load_engine(playing(config, tiny_base()))
    stage = Stage.of(config, engine, chat, {tool.spec.name: tool for tool in environment.tools})
    measure = Card(environment, {}, config, per_hop=3, examined=4)
    card = measure.measure(stage, 0)
    assert card["questions"] == {"1": 3, "2": 3, "3": 3, "4": 3}
    asked = first_of_each_hop(environment.heldout, 3)
    assert card["true"] == em_by_hops(play_teacher(stage, "student", asked, ("card", 0, "true")))[0]
    assert sum(card["true"].values()) > 3 > sum(card["alone"].values())
    assert all(share * 6 == pytest.approx(round(share * 6)) for share in card["sampled"].values()), "each twice"
    assert 0 <= card["followed"] <= 1
    assert min(card["checker"].values()) >= 0.75, "of twelve notes each"
    examiner = card["examiner"]
    assert sum(examiner["gates"].values()) == 4 * 4
    assert examiner["gates"]["passed"] > 8
    assert all(sum(shares.values()) == pytest.approx(1, abs=0.01) for shares in examiner["by_hops"].values())
    assert examiner["all"]["true"] > 0.8
    table = measure.table([card])
    assert table is not None
    assert len(table.rows) == 4
    assert f"{card['followed']:.2f}" in measure.sentence(card)
    brief = Card(environment, {}, config, per_hop=3, examined=4, before=1)
    before = brief.measure(stage, 0)
    assert (before["questions"], sum(before["examiner"]["gates"].values())) == ({"1": 1, "2": 1, "3": 1, "4": 1}, 4)
    assert brief.measure(stage, 1)["questions"] == card["questions"]
    assert brief.cost() == measure.cost()


def test_foreign_paths_are_of_others(small_world: Path) -> None:
    asked = first_of_each_hop(load_environment(load_config("pi-play", {"world": str(small_world)})).heldout, 8)
    for task, other in zip(asked, _others(asked), strict=True):
        assert task.hops == other.hops
        assert task.id != other.id
        assert not _names(task) & _names(other)


def test_false_notes_have_another_value_and_if_they_can_of_the_same_relation(small_world: Path) -> None:
    asked = first_of_each_hop(load_environment(load_config("pi-play", {"world": str(small_world)})).heldout, 8)
    true = [task.path[-1].evidence.split(": ") for task in asked]
    false = [step.evidence.split(": ") for step in _false_notes(asked)]
    for (relation, value), (kept, other) in zip(true, false, strict=True):
        assert kept == relation
        assert other != value
        if any(r == relation and v != value for r, v in true):
            assert [relation, other] in true
    assert [step.evidence for step in _false_notes(asked[:1])] == [f"{true[0][0]}: none."]


def test_a_card_is_measured_with_its_recipe(small_world: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["card", "--recipe", "smoke", "--world", str(small_world), "--per-hop", "1", "--examined", "5"]
    assert main([*words, "--engine.threads", "1", "--limits.turn_tokens", "3"]) == 0
    card = json.loads(capfd.readouterr().out)
    assert set(card["true"].values()) == {0.0}, "three tokens are no answer"
    assert card["examiner"]["gates"] == {"format": 4 * 5}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "there is no model folder nowhere"),
        (["--recipe", "pi-ply"], "there is no recipe 'pi-ply'"),
        (["--corpus", "towns"], "there are no held-out questions: a card needs a world"),
        (["--per-hop", "0"], "a card with per_hop = 0: give 1 or more"),
        (["--examined", "-1"], "a card with examined = -1: give 0 or more"),
    ],
)
def test_what_a_card_cannot_measure(
    words: list[str], said: str, towns: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["card", *(str(towns) if word == "towns" else word for word in words)]) == 2
    assert said in capfd.readouterr().err


SMALL = [
    "--evaluation.per_hop",
    "1",
    "--evaluation.examined",
    "1",
    "--limits.turn_tokens",
    "4",
    "--engine.threads",
    "1",
]


def short(**phases: int) -> list[str]:
    """Settings for so many steps of each phase, of two lessons each."""
    words = [*SMALL, "--checkpoint_every", "1"]
    for phase, steps in phases.items():
        words += [f"--phases.{phase}.steps", str(steps), f"--phases.{phase}.episodes", "2"]
    return words


def test_a_model_warmed_up_by_adapters_is_whole(toy: Callable[[str], Path], small_world: Path, tmp_path: Path) -> None:
    """It writes what the adapters write beside their base, and lessons go on from it."""
    pytest.importorskip("peft")
    rates = ["--phases.learn.learn.learner.lr", "1e-2", "--phases.settle.learn.learner.lr", "1e-2"]
    words = ["--world", str(small_world), *short(learn=2, settle=2), "--engine.lora.rank", "4", *rates]
    out = tmp_path / "warm"
    assert main(["warm-up", str(toy("qwen3")), "--out", str(out), *words]) == 2, "a toy learns nothing"
    assert not list(out.glob("adapter*"))
    ids = torch.tensor([[5, 6, 7, 8]])
    beside, whole, before = (
        AutoModelForCausalLM.from_pretrained(where, dtype=torch.float32)(ids).logits
        for where in (out / "run" / "final" / "student", out, toy("qwen3"))
    )
    torch.testing.assert_close(whole, beside, atol=1e-4, rtol=1e-4)
    assert (whole - before).abs().max() > 1e-2
    assert main(["warm-up", str(out), "--out", str(tmp_path / "more"), *words]) == 2
    assert (tmp_path / "more" / "card.json").exists()


def test_what_was_interrupted_goes_on_to_the_same_model(
    toy: Callable[[str], Path], small_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Killed at a step by an exception that nothing catches, and called again."""
    words = [str(toy("qwen3")), "--world", str(small_world), *short(learn=3, settle=2)]
    assert main(["warm-up", *words, "--out", str(tmp_path / "straight")]) == 2, "a toy learns nothing"
    assert "has not learnt enough" in capfd.readouterr().err
    draw = Lessons.draw

    def stopped(self: Lessons, key: tuple[object, ...], count: int) -> object:
        if key[1:] == ("settle", 1, 0) or key[1:] == ("settle", 1):
            raise KeyboardInterrupt
        return draw(self, key, count)

    monkeypatch.setattr(Lessons, "draw", stopped)
    assert main(["warm-up", *words, "--out", str(tmp_path / "again")]) != 0
    assert not (tmp_path / "again" / "card.json").exists()
    monkeypatch.setattr(Lessons, "draw", draw)
    assert main(["warm-up", *words, "--seed", "4", "--out", str(tmp_path / "again")]) == 2
    assert "was begun with other settings" in capfd.readouterr().err
    assert main(["warm-up", *words, "--out", str(tmp_path / "again")]) == 2
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("straight", "again")]
    assert files[0] == files[1] != (toy("qwen3") / "model.safetensors").read_bytes()
    card = json.loads((tmp_path / "again" / "card.json").read_text())
    assert set(card) == {"before", "after"}
    assert card["after"]["questions"] == {"1": 1, "2": 1, "3": 1, "4": 1}
    assert not list((tmp_path / "again" / "run" / "rollouts").iterdir())
    capfd.readouterr()
    assert main(["warm-up", *words, "--out", str(tmp_path / "again")]) == 2
    assert "warmed up already" in capfd.readouterr().err


@pytest.mark.parametrize(("kind", "tags"), [("qwen3", False), ("base", True)])
def test_a_model_of_random_weights_is_taught_in_either_chat(
    kind: str, tags: bool, small_world: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "made"
    toy_model(kind, out / "fresh")
    words = [
        "--world",
        str(small_world),
        *short(copying=1, lookup=1, strange=1, roles=1),
        *(["--tags"] if tags else []),
    ]
    assert main(["pretrain", str(out), *words]) == 2
    assert "has not learnt enough" in capfd.readouterr().err
    assert load_chat(out, "auto").kind == ("tags" if tags else "native")
    assert (out / "model.safetensors").read_bytes() != (out / "fresh" / "model.safetensors").read_bytes()


@pytest.mark.parametrize(("family", "template"), [("qwen3", True), ("qwen2", True), ("llama", False)])
def test_a_model_of_random_weights_of_any_family(
    family: Family, template: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fresh, "WORLDS", 3)
    fresh.fresh(tmp_path, family, template)
    config = AutoConfig.from_pretrained(tmp_path)
    assert (config.model_type, config.hidden_size) == (family, 128)
    chat = load_chat(tmp_path, "auto", (SEARCH,), 1024)
    assert chat.kind == ("native" if template else "tags")
