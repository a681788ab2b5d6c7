"""Layers that are computed once more: the same gradients, from less that is kept."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_helpers import TEACHER_VIEW, make_sample
from torch import Tensor
from turns import STOP

from piplay.engine.local.checkpointing import recomputing
from piplay.engine.local.engine import LocalEngine
from piplay.engine.protocol import Generate
from piplay.errors import InputError
from piplay.settings import Policy
from piplay.types import PolicyRef

Folder = Callable[[str], Path]
STUDENT = PolicyRef("student")
SAMPLES = [make_sample(i) for i in range(6)]


def make(path: Path, checkpointing: bool) -> LocalEngine:
    specs = {"student": Policy(lr=0.01), "teacher": Policy(follows="student", tau=0.25)}
    return LocalEngine(path, specs, seed=0, slots=4, threads=1, micro_batch_tokens=10_000, checkpointing=checkpointing)


def forwards(engine: LocalEngine, name: str) -> Counter[int]:
    """How often each layer's feed-forward block of a policy is begun from here on."""
    counted: Counter[int] = Counter()
    for number, layer in enumerate(engine._policies.model(PolicyRef(name)).model.layers):
        layer.mlp.register_forward_pre_hook(lambda *_, number=number: counted.update([number]))
    return counted


def kept(model: Any) -> int:
    """Numbers that the backward of one forward needs."""
    found: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        found[tensor.data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), recomputing(model):
        last = model.model(input_ids=torch.arange(60)[None], use_cache=False).last_hidden_state
    weights = {p.data_ptr() for p in model.parameters()}
    assert last.requires_grad
    return sum(count for place, count in found.items() if place not in weights)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_the_step_is_the_same_and_layers_are_computed_twice(kind: str, model_folder: Folder) -> None:
    plain, thrifty = (make(model_folder(kind), on) for on in (False, True))
    counts = [[forwards(engine, name) for name in ("student", "teacher")] for engine in (plain, thrifty)]
    metrics = [engine.train("student", SAMPLES, TEACHER_VIEW) for engine in (plain, thrifty)]
    assert metrics[0] == metrics[1]
    assert metrics[0]["grad_norm"] > 0
    pairs = zip(*(engine._policies.model(STUDENT).parameters() for engine in (plain, thrifty)), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    batch = Counter({0: 1, 1: 1, 2: 1})
    assert counts == [[batch, batch], [batch + batch, batch]]


def test_less_is_kept(model_folder: Folder) -> None:
    plain, thrifty = (make(model_folder("qwen3"), on)._policies.model(STUDENT) for on in (False, True))
    assert kept(thrifty) < kept(plain) / 5


def test_between_steps_it_writes_through_its_cache(model_folder: Folder) -> None:
    """In training a layer drops the cache that it is given: the flag must be gone again."""
    results = []
    for on in (False, True):
        engine = make(model_folder("qwen3"), on)
        engine.train("student", SAMPLES, TEACHER_VIEW)
        engine.submit(Generate(("r",), STUDENT, np.arange(30), ("r",), 8, 1.0, STOP))
        [made] = engine.ready()
        results.append((made.ids.tolist(), made.logprobs.tolist()))
        assert not any(module.training for module in engine._policies.model(STUDENT).modules())
    assert results[0] == results[1]


def test_a_model_without_such_layers_is_an_input_error(model_folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import Qwen3ForCausalLM

    monkeypatch.setattr(Qwen3ForCausalLM, "supports_gradient_checkpointing", False)
    with pytest.raises(InputError, match=r"engine\.checkpointing"):
        make(model_folder("qwen3"), True)
