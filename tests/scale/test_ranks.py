"""Several ranks that train the same adapters, or whole weights that they share out, beside samplers without vLLM."""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_helpers import make_sample
from fake_sampler import FakeVllm
from safetensors.torch import load_file
from turns import SEED

from piplay.algo.losses.base import Loss
from piplay.algo.losses.distill import DistillLoss
from piplay.algo.losses.pg import PgLoss
from piplay.engine.protocol import EngineLost
from piplay.errors import InputError
from piplay.settings import EngineSettings, Lora, Policy
from piplay.training.assemble import tiny_base
from piplay.types import PolicyRef, Sample

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:samplers and trainer differ")]

# At the rate of the recipes: where a gradient is all but 0 its rounding decides the sign of AdamW's step.
POLICIES = {"student": Policy(lr=2e-4), "teacher": Policy(follows="student", tau=0.25)}
LOSSES: dict[str, Loss] = {"pg": PgLoss(), "distill": DistillLoss("teacher", top_k=5)}


KINDS = {4: "adapters", 0: "whole weights"}


@pytest.fixture(params=KINDS, ids=KINDS.values())
def rank(request: pytest.FixtureRequest) -> int:
    """Of adapters; 0: whole weights."""
    return int(request.param)


def start(
    model: Path, ranks: int, rank: int, checkpointing: bool = False, policies: dict[str, Policy] = POLICIES
) -> FakeVllm:
    settings = EngineSettings(
        kind="vllm", slots=3, threads=1, micro_batch_tokens=64, lora=Lora(rank=rank), trainers=ranks,
        checkpointing=checkpointing,
    )  # fmt: skip
    return FakeVllm(model, policies, settings, SEED)


def learn(engine: FakeVllm, number: int, count: int = 14) -> dict[str, float]:
    return engine.train("student", [make_sample(100 * number + i) for i in range(count)], LOSSES)


def weights(engine: FakeVllm) -> np.ndarray:
    """Of student and teacher."""
    found = []
    for name in POLICIES:
        ref = PolicyRef(name)
        if engine._rank:
            found += [weight.detach().flatten() for weight in engine._policies.weights(ref).values()]
        else:
            with engine._beside("gathered", ref):
                found += [weight.flatten() for _, weight in engine._policies.gather(ref)]
    return torch.cat(found).numpy()


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference of a weight."""
    return float(np.abs(one - other).max())


def test_gradients_are_those_of_one_rank(rank: int, tmp_path: Path, measured) -> None:
    """AdamW's first moments after one step are a tenth of the gradients."""
    # What clips them, their norm, is rounded by itself: by 8e-6 of it in one process, by less in several.
    whole = POLICIES | {"student": Policy(lr=2e-4, max_grad_norm=1e9)}
    found, metrics = [], []
    for ranks in (1, 2, 3):
        engine = start(tiny_base(), ranks, rank, policies=whole)
        metrics.append(learn(engine, 0))
        engine.save(tmp_path)
        stored = load_file(tmp_path / "student.safetensors")
        found.append(torch.cat([value.flatten() for key, value in sorted(stored.items()) if key.endswith("exp_avg")]))
        del engine
    norm = float(found[0].norm())
    for ranks, other in zip((2, 3), found[1:], strict=True):
        difference = float((other - found[0]).norm()) / norm
        measured(
            f"{KINDS[rank]}: gradients of {ranks} ranks and of one, as a share of the norm", difference, "at most 1e-6"
        )
        assert difference <= 1e-6
    for other in metrics[1:]:
        assert other == pytest.approx(metrics[0], rel=1e-5)


def test_three_steps_end_in_the_same_weights(rank: int, measured) -> None:
    engines = [start(tiny_base(), ranks, rank) for ranks in (1, 2)]
    for number in range(3):
        one, two = (learn(engine, number) for engine in engines)
        assert two.keys() == one.keys()
    difference = apart(*map(weights, engines))
    measured(
        f"{KINDS[rank]}: student and teacher after 3 steps of 14 samples, 2 ranks and one", difference, "at most 1e-5"
    )
    assert difference <= 1e-5


def test_a_batch_of_one_question_and_one_without_loss(rank: int) -> None:
    engines = [start(tiny_base(), ranks, rank) for ranks in (1, 2)]
    for count in (1, 0, 2):
        one, two = (learn(engine, count, count) for engine in engines)
        assert two["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-5)
    assert apart(*map(weights, engines)) <= 1e-5


def test_equal_views_teach_nothing(rank: int) -> None:
    engine = start(tiny_base(), 2, rank)
    samples = [make_sample(number, ("distill",), None) for number in range(8)]
    metrics = engine.train("student", samples, LOSSES)
    assert metrics["distill_kl"] == 0.0
    assert metrics["grad_norm"] == 0.0


def test_scores_and_readings_are_those_of_one_rank(rank: int) -> None:
    samples = [make_sample(number) for number in range(6)]
    engines = [start(tiny_base(), ranks, rank) for ranks in (1, 2)]
    one, two = (engine.score(PolicyRef("teacher"), samples, "privileged") for engine in engines)
    for expected, found in zip(one, two, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    one, two = (engine.read(PolicyRef("student"), samples, LOSSES) for engine in engines)
    for expected, found in zip(one, two, strict=True):
        for name, value_T in expected.items():
            np.testing.assert_allclose(found[name], value_T, atol=1e-4)


def test_an_export_is_that_of_one_rank(rank: int, tmp_path: Path) -> None:
    for ranks in (1, 2):
        engine = start(tiny_base(), ranks, rank)
        learn(engine, 0)
        engine.export("student", tmp_path / str(ranks))
        del engine
    name = "adapter_model.safetensors" if rank else "model.safetensors"
    one, two = (load_file(tmp_path / str(ranks) / name) for ranks in (1, 2))
    assert one.keys() == two.keys()
    assert max(float((one[key] - two[key]).abs().max()) for key in one) <= 1e-5
    configs = [(tmp_path / str(ranks) / "config.json").read_text() for ranks in (1, 2)] if not rank else ["", ""]
    assert configs[0] == configs[1]


def test_checkpointing_changes_no_bit(rank: int) -> None:
    found = []
    for checkpointing in (False, True):
        engine = start(tiny_base(), 2, rank, checkpointing)
        learn(engine, 1)
        found.append(weights(engine))
        del engine
    assert apart(*found) == 0


@pytest.mark.parametrize(("before", "after", "bound"), [(2, 2, 0.0), (2, 1, 1e-5), (1, 2, 1e-5)])
def test_a_checkpoint_goes_on_with_as_many_ranks_or_others(
    rank: int, before: int, after: int, bound: float, tmp_path: Path, measured
) -> None:
    straight = start(tiny_base(), before, rank)
    for number in range(2):
        learn(straight, number)
    straight.save(tmp_path / "checkpoint")
    learn(straight, 2)
    expected = weights(straight)
    del straight
    other = start(tiny_base(), after, rank)
    learn(other, 7)
    other.load(tmp_path / "checkpoint")
    learn(other, 2)
    difference = apart(expected, weights(other))
    measured(f"{KINDS[rank]}: resumed, {before} ranks before and {after} after", difference, f"at most {bound:g}")
    assert difference <= bound


def kill(engine: FakeVllm) -> float:
    """Kill a rank; seconds until it was noticed."""
    assert engine._ranks is not None
    os.kill(engine._ranks.children[0].pid, signal.SIGKILL)
    began = time.perf_counter()
    with pytest.raises(EngineLost, match=r"a trainer's rank has died \(its process ended with code -9"):
        learn(engine, 9)
    return time.perf_counter() - began


def test_a_rank_that_dies_is_noticed_and_the_checkpoint_goes_on(rank: int, tmp_path: Path, measured) -> None:
    engine = start(tiny_base(), 2, rank)
    learn(engine, 0)
    engine.save(tmp_path / "checkpoint")
    learn(engine, 1)
    expected = weights(engine)
    seconds = kill(engine)
    measured(f"{KINDS[rank]}: a killed rank: seconds until it was noticed", seconds, "at most 2")
    with pytest.raises(EngineLost):
        learn(engine, 1)
    del engine
    began = time.perf_counter()
    again = start(tiny_base(), 2, rank)
    again.load(tmp_path / "checkpoint")
    measured(
        f"{KINDS[rank]}: a killed rank: seconds until an engine has its checkpoint",
        time.perf_counter() - began,
        "at most 60",
    )
    learn(again, 1)
    difference = apart(expected, weights(again))
    measured(f"{KINDS[rank]}: a killed rank: weights of the resumed and an undisturbed run", difference, "0")
    assert difference == 0
    assert seconds <= 2


def test_in_half_precision_masters_stay_in_fp32(tmp_path: Path) -> None:
    """A step that bf16 would round away is kept, and what is exported is what is computed with."""
    found = {}
    for ranks in (1, 2):
        settings = EngineSettings(
            kind="vllm", slots=3, threads=1, micro_batch_tokens=64, trainers=ranks, dtype="bfloat16"
        )
        engine = FakeVllm(tiny_base(), {"student": Policy(lr=1e-7)}, settings, SEED)
        samples = [make_sample(number, ("pg",)) for number in range(6)]
        metrics = engine.train("student", samples, {"pg": PgLoss()})
        engine.save(tmp_path / str(ranks))
        engine.export("student", tmp_path / str(ranks) / "export")
        found[ranks] = metrics, load_file(tmp_path / str(ranks) / "student.safetensors")
        del engine
    (one, expected), (two, masters) = found[1], found[2]
    assert two["grad_norm"] == pytest.approx(one["grad_norm"], rel=0.02)
    assert two["entropy"] == pytest.approx(one["entropy"], abs=0.03)
    assert masters.keys() == expected.keys()
    assert {value.dtype for key, value in masters.items() if key.startswith("weight.")} == {torch.float32}
    base = load_file(tiny_base() / "model.safetensors")
    for key in base:
        if f"weight.{key}" in masters:
            moved = (masters[f"weight.{key}"] - base[key].bfloat16().float()).abs().max()
            assert float(moved) <= 0.01
    exported = load_file(tmp_path / "2" / "export" / "model.safetensors")
    assert {value.dtype for value in exported.values()} == {torch.bfloat16}
    assert all(torch.equal(value, masters[f"weight.{key}"].bfloat16()) for key, value in exported.items())
    assert (tmp_path / "2" / "export" / "config.json").read_text() == (
        tmp_path / "1" / "export" / "config.json"
    ).read_text()


def test_there_is_one_such_engine_in_a_process() -> None:
    engine = start(tiny_base(), 2, 0)
    with pytest.raises(InputError, match="already: end it first"):
        start(tiny_base(), 2, 0)
    assert learn(engine, 1)["grad_norm"] > 0


def test_muon_is_refused() -> None:
    settings = EngineSettings(kind="vllm", slots=3, threads=1, micro_batch_tokens=64, trainers=2)
    with pytest.raises(InputError, match="Muon needs whole matrices"):
        FakeVllm(tiny_base(), {"student": Policy(optimizer="muon")}, settings, SEED)


def test_what_is_wrong_with_a_sample_is_said_whoever_would_have_it(rank: int) -> None:
    engine = start(tiny_base(), 2, rank)
    samples: Sequence[Sample] = [make_sample(number, ("pg", "bonus")) for number in range(4)]
    with pytest.raises(ValueError, match="unknown loss terms"):
        engine.train("student", samples, LOSSES)
    assert learn(engine, 1)["grad_norm"] > 0
