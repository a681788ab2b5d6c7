"""bf16 models with fp32 masters, against the same sums and averages taken one by one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_helpers import TEACHER_VIEW, make_sample
from torch import Tensor
from turns import STOP

from piplay.algo.losses.pg import PgLoss
from piplay.engine.local.engine import LocalEngine
from piplay.engine.local.update import Trainer
from piplay.engine.protocol import Generate
from piplay.settings import Policy
from piplay.types import PolicyRef

Folder = Callable[[str], Path]
SPECS = {
    "student": Policy(lr=1e-5),
    "teacher": Policy(follows="student", tau=0.25),
    "base": Policy(follows="student", tau=0.0),
}


def make(path: Path, dtype: torch.dtype = torch.bfloat16, tokens: int = 64, **rest: Any) -> LocalEngine:
    return LocalEngine(path, SPECS, seed=0, slots=4, threads=1, micro_batch_tokens=tokens, dtype=dtype, **rest)


def live(engine: LocalEngine, name: str) -> dict[str, Tensor]:
    return {key: p.detach().clone() for key, p in engine._policies.model(PolicyRef(name)).named_parameters()}


def masters(engine: LocalEngine, name: str) -> dict[str, Tensor]:
    return {key: p.detach().clone() for key, p in engine._policies._moving[name].masters.items()}


def gradient(engine: LocalEngine, samples: list[Any]) -> dict[str, Tensor]:
    """What has gathered for the optimiser."""
    teacher = engine._policies.model(PolicyRef("teacher"))
    Trainer(engine._policies.trained("student"), TEACHER_VIEW, {"teacher": teacher}, 1).accumulate(samples)
    found = {key: p.grad for key, p in engine._policies._moving["student"].masters.items()}
    assert all(
        p.grad is None for p in engine._policies.model(PolicyRef("student")).parameters() if p.dtype != torch.float32
    )
    return found


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_gradients_of_many_batches_are_summed_in_fp32(kind: str, model_folder: Folder) -> None:
    samples = sorted((make_sample(i) for i in range(40)), key=lambda sample: len(sample.ids_T))
    engine = make(model_folder(kind))
    apart = [{key: g.clone() for key, g in gradient(engine, [sample]).items()} for sample in samples]
    together = gradient(engine, samples)
    total = {key: sum(g[key].double() for g in apart) for key in together}
    coarse = {key: sum((g[key].bfloat16() for g in apart), torch.zeros(())) for key in together}
    for key, value in together.items():
        assert value.dtype == torch.float32
        scale = torch.stack([g[key] for g in apart]).double().norm(dim=0).norm()
        assert (value - total[key]).norm() < 1e-5 * scale, key
        assert (coarse[key] - total[key]).norm() > 1e-4 * scale, key


@pytest.mark.slow
def test_the_gradient_is_that_of_fp32_but_for_rounding(model_folder: Folder) -> None:
    samples = [make_sample(i) for i in range(12)]
    exact = gradient(make(model_folder("qwen3"), torch.float32), samples)
    rough = gradient(make(model_folder("qwen3")), samples)
    norm = torch.nn.utils.get_total_norm(exact.values())
    difference = torch.nn.utils.get_total_norm([rough[key] - value for key, value in exact.items()])
    assert 1e-4 * norm < difference < 0.1 * norm


def test_steps_too_small_for_bf16_are_not_lost(model_folder: Folder) -> None:
    """Each moves a master by about lr, which rounding the weight would swallow; and the average moves in fp32."""
    engine = make(model_folder("qwen3"))
    begun, psi = masters(engine, "student"), masters(engine, "teacher")
    for number in range(4):
        engine.train("student", [make_sample(number)], TEACHER_VIEW)
        theta = masters(engine, "student")
        psi = {key: (0.75 * value.double() + 0.25 * theta[key].double()).float() for key, value in psi.items()}
    moved = torch.cat([(theta[key] - begun[key]).abs().flatten() for key in theta])
    assert 2e-5 < float(moved.quantile(0.9)) <= 4.2e-5
    same = torch.cat([(value == begun[key].bfloat16()).flatten() for key, value in live(engine, "student").items()])
    assert float(same.float().mean()) > 0.9
    for key, value in masters(engine, "teacher").items():
        assert (value - psi[key]).norm() < 1e-3 * (psi[key] - begun[key]).norm() + 1e-6
    for name in ("student", "teacher"):
        held = masters(engine, name)
        assert all(torch.equal(value, held[key].bfloat16()) for key, value in live(engine, name).items())
    assert all(torch.equal(value, begun[key].bfloat16()) for key, value in live(engine, "base").items())


def test_all_that_computes_is_bf16_and_who_only_writes_has_no_masters(model_folder: Folder) -> None:
    engine = make(model_folder("qwen3"))
    for name in SPECS:
        assert {value.dtype for value in live(engine, name).values()} == {torch.bfloat16}
    engine.submit(Generate(("r",), PolicyRef("student"), np.arange(9), ("r",), 3, 1.0, STOP))
    engine.ready()
    assert [moving for moving in engine._policies._moving.values() if "masters" in vars(moving)] == []
    assert {layer.dtype for layer in engine._samplers[PolicyRef("student")]._cache.layers} == {torch.bfloat16}


def test_it_writes_as_fp32_does_but_for_rounding(model_folder: Folder) -> None:
    ids, found = np.arange(20) * 3 % 60, []
    for dtype in (torch.float32, torch.bfloat16):
        engine = make(model_folder("llama"), dtype)
        engine.submit(Generate(("r",), PolicyRef("student"), ids, ("r",), 1, 1.0, STOP))
        [made] = engine.ready()
        found.append((made.ids.tolist(), float(made.logprobs[0])))
    assert found[0][0] == found[1][0]
    assert found[0][1] == pytest.approx(found[1][1], abs=0.1)


def test_equal_weights_and_views_teach_nothing(model_folder: Folder) -> None:
    metrics = make(model_folder("qwen3")).train(
        "student", [make_sample(i, ("distill",), None) for i in range(12)], TEACHER_VIEW
    )
    assert metrics["distill_kl"] == metrics["grad_norm"] == 0.0


def test_saved_and_loaded_trains_on_to_the_same_bits(model_folder: Folder, tmp_path: Path) -> None:
    straight, resumed = (make(model_folder("qwen3")) for _ in range(2))
    for number in (1, 2):
        straight.train("student", [make_sample(number)], TEACHER_VIEW)
    straight.save(tmp_path)
    resumed.load(tmp_path)
    for engine in (straight, resumed):
        engine.train("student", [make_sample(3)], TEACHER_VIEW)
    for name in ("student", "teacher"):
        for held in (masters, live):
            ours, others = held(straight, name), held(resumed, name)
            assert all(torch.equal(value, others[key]) for key, value in ours.items())


def test_an_export_is_what_played(model_folder: Folder, plain: Callable[..., Any], tmp_path: Path) -> None:
    engine = make(model_folder("llama"))
    engine.train("student", [make_sample(1, ("pg",))], {"pg": PgLoss()}, lr=0.1)
    engine.export("student", tmp_path)
    ours = live(engine, "student")
    for key, value in plain(tmp_path).named_parameters():
        assert torch.equal(value, ours[key].float())
