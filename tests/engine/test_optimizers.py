"""Muon beside AdamW: what each moves, and how; stored and gone on with."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from engine_helpers import TEACHER_VIEW, make_engine, make_sample
from torch.nn import Parameter

from piplay.engine.local.engine import LocalEngine
from piplay.engine.local.optimizers import Optimizer
from piplay.types import PolicyRef

Folder = Callable[[str], Path]


def test_muon_moves_matrices_by_orthogonal_steps_and_adamw_the_rest() -> None:
    """From the gradient's singular vectors: U Vᵀ, scaled by .2 √max(rows, columns) (arXiv 2502.16982)."""
    generator = torch.Generator().manual_seed(3)

    def weight(*shape: int) -> Parameter:
        return Parameter(torch.randn(shape, generator=generator))

    weights = {"layer.up.weight": weight(24, 8), "norm.weight": weight(8), "model.embed_tokens.weight": weight(30, 8)}
    before = {name: w.detach().clone() for name, w in weights.items()}
    for w in weights.values():
        w.grad = torch.randn(w.shape, generator=generator)
    gradient = weights["layer.up.weight"].grad.clone()
    Optimizer.of("muon", weights, 0.0).step(0.01)
    moved = {name: before[name] - w.detach() for name, w in weights.items()}
    # AdamW's first step is the gradient's sign.
    for name in ("norm.weight", "model.embed_tokens.weight"):
        torch.testing.assert_close(moved[name], 0.01 * weights[name].grad.sign(), rtol=1e-3, atol=1e-6)
    u, _, v = torch.linalg.svd(gradient, full_matrices=False)
    step = moved["layer.up.weight"] / (0.01 * 0.2 * 24**0.5)
    # Its five Newton–Schulz steps bring singular values to about 1, not to 1.
    values = torch.diagonal(u.T @ step @ v.T)
    assert (values > 0.6).all()
    assert (values < 1.3).all()
    torch.testing.assert_close(step, u @ torch.diag(values) @ v, atol=0.02, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_what_an_optimiser_remembers_is_stored(kind: str, toy: Folder, tmp_path: Path) -> None:
    def step(engine: LocalEngine, number: int) -> None:
        engine.train("student", [make_sample(10 * number + i) for i in range(4)], TEACHER_VIEW)

    def bits(engine: LocalEngine) -> list[bytes]:
        return [p.detach().numpy().tobytes() for p in engine._policies.model(PolicyRef("student")).parameters()]

    straight, resumed = (make_engine(toy("qwen3"), optimizer=kind) for _ in range(2))
    start = bits(straight)
    step(straight, 1)
    straight.save(tmp_path)
    resumed.load(tmp_path)
    for engine in (straight, resumed):
        step(engine, 2)
    assert bits(resumed) == bits(straight) != start
