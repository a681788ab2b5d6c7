"""Several ranks that train the same adapters (SCALE 4, 5 and 7), beside samplers without vLLM."""

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
from turns import SEED

from piplay.algo.losses.base import Loss
from piplay.algo.losses.distill import DistillLoss
from piplay.algo.losses.pg import PgLoss
from piplay.engine.protocol import EngineLost
from piplay.settings import EngineSettings, Lora, Policy
from piplay.training.assemble import tiny_base
from piplay.types import PolicyRef, Sample

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:samplers and trainer differ")]

# At the rate of the recipes: where a gradient is all but 0 its rounding decides the sign of AdamW's step.
POLICIES = {"student": Policy(lr=2e-4), "teacher": Policy(follows="student", tau=0.25)}
LOSSES: dict[str, Loss] = {"pg": PgLoss(), "distill": DistillLoss("teacher", top_k=5)}


def start(model: Path, ranks: int, checkpointing: bool = False) -> FakeVllm:
    settings = EngineSettings(
        kind="vllm", slots=3, threads=1, micro_batch_tokens=64, lora=Lora(rank=4), trainers=ranks,
        checkpointing=checkpointing,
    )  # fmt: skip
    return FakeVllm(model, POLICIES, settings, SEED)


def learn(engine: FakeVllm, number: int, count: int = 14) -> dict[str, float]:
    return engine.train("student", [make_sample(100 * number + i) for i in range(count)], LOSSES)


def weights(engine: FakeVllm, name: str) -> np.ndarray:
    return torch.cat([w.detach().flatten() for w in engine._policies.weights(PolicyRef(name)).values()]).numpy()


def apart(one: FakeVllm, other: FakeVllm) -> float:
    """The largest difference of a weight, of student and teacher."""
    return max(float(np.abs(weights(one, name) - weights(other, name)).max()) for name in POLICIES)


def test_gradients_are_those_of_one_rank(measured) -> None:
    model = tiny_base()
    samples = [make_sample(number) for number in range(14)]
    found, metrics = [], []
    for ranks in (1, 2, 3):
        engine = start(model, ranks)
        tally = engine._accumulate("student", samples, LOSSES)
        metrics.append(tally.metrics())
        masters = engine._policies.masters("student").values()
        found.append(torch.cat([master.grad.flatten() for master in masters if master.grad is not None]))
    norm = float(found[0].norm())
    for ranks, other in zip((2, 3), found[1:], strict=True):
        difference = float((other - found[0]).norm()) / norm
        measured(f"gradients of {ranks} ranks and of one, as a share of the norm", difference, "at most 1e-6")
        assert difference <= 1e-6
    for other in metrics[1:]:
        assert other == pytest.approx(metrics[0], rel=1e-5)


def test_three_steps_end_in_the_same_weights(measured) -> None:
    model = tiny_base()
    engines = [start(model, ranks) for ranks in (1, 2)]
    for number in range(3):
        one, two = (learn(engine, number) for engine in engines)
        assert two.keys() == one.keys()
    measured("student and teacher after 3 steps of 14 samples, 2 ranks and one", apart(*engines), "at most 1e-5")
    assert apart(*engines) <= 1e-5


def test_a_batch_of_one_question_and_one_without_loss() -> None:
    model = tiny_base()
    engines = [start(model, ranks) for ranks in (1, 2)]
    for count in (1, 0, 2):
        one, two = (learn(engine, count, count) for engine in engines)
        assert two["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-5)
    assert apart(*engines) <= 1e-5


def test_equal_views_teach_nothing() -> None:
    model = tiny_base()
    engine = start(model, 2)
    samples = [make_sample(number, ("distill",), None) for number in range(8)]
    metrics = engine.train("student", samples, LOSSES)
    assert metrics["distill_kl"] == 0.0
    assert metrics["grad_norm"] == 0.0


def test_checkpointing_changes_no_bit() -> None:
    model = tiny_base()
    engines = [start(model, 2, checkpointing) for checkpointing in (False, True)]
    for engine in engines:
        learn(engine, 1)
    assert apart(*engines) == 0


@pytest.mark.parametrize(("before", "after", "bound"), [(2, 2, 0.0), (2, 1, 1e-5), (1, 2, 1e-5)])
def test_a_checkpoint_goes_on_with_as_many_ranks_or_others(
    before: int, after: int, bound: float, tmp_path: Path, measured
) -> None:
    model = tiny_base()
    straight, other = start(model, before), start(model, after)
    for number in range(2):
        learn(straight, number)
    straight.save(tmp_path / "checkpoint")
    learn(other, 7)
    other.load(tmp_path / "checkpoint")
    for engine in (straight, other):
        learn(engine, 2)
    measured(f"resumed, {before} ranks before and {after} after", apart(straight, other), f"at most {bound:g}")
    assert apart(straight, other) <= bound


def kill(engine: FakeVllm) -> float:
    """Kill a rank; seconds until it was noticed."""
    assert engine._ranks is not None
    os.kill(engine._ranks.children[0].pid, signal.SIGKILL)
    began = time.perf_counter()
    with pytest.raises(EngineLost, match=r"a trainer's rank has died \(its process ended with code -9"):
        learn(engine, 9)
    return time.perf_counter() - began


def test_a_rank_that_dies_is_noticed_and_the_checkpoint_goes_on(tmp_path: Path, measured) -> None:
    model = tiny_base()
    calm, engine = start(model, 2), start(model, 2)
    for one in (calm, engine):
        learn(one, 0)
    engine.save(tmp_path / "checkpoint")
    seconds = kill(engine)
    measured("a killed rank: seconds until it was noticed", seconds, "at most 2")
    with pytest.raises(EngineLost):
        learn(engine, 1)
    began = time.perf_counter()
    again = start(model, 2)
    again.load(tmp_path / "checkpoint")
    measured("a killed rank: seconds until an engine has its checkpoint", time.perf_counter() - began, "at most 60")
    for one in (calm, again):
        learn(one, 1)
    measured("a killed rank: weights of the resumed and an undisturbed run", apart(calm, again), "0")
    assert apart(calm, again) == 0
    assert seconds <= 2


def test_what_is_wrong_with_a_sample_is_said_whoever_would_have_it() -> None:
    model = tiny_base()
    engine = start(model, 2)
    samples: Sequence[Sample] = [make_sample(number, ("pg", "bonus")) for number in range(4)]
    with pytest.raises(ValueError, match="unknown loss terms"):
        engine.train("student", samples, LOSSES)
    assert learn(engine, 1)["grad_norm"] > 0
