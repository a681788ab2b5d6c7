"""The engine on a device that is not the CPU: nothing is left behind, and the results are the CPU's."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from elsewhere import elsewhere
from engine_helpers import TEACHER_VIEW, make_sample
from transformers import AutoModelForCausalLM
from turns import STOP

from piplay.engine.local.engine import LocalEngine
from piplay.engine.protocol import Generate, Generated
from piplay.settings import Lora, Policy
from piplay.types import PolicyRef

pytestmark = pytest.mark.slow

SPECS = {
    "student": Policy(lr=0.01),
    "teacher": Policy(follows="student", tau=0.25),
    "base": Policy(follows="student", tau=0.0),
}


def make(path: Path, device: str, dtype: torch.dtype = torch.float32, rank: int = 0) -> LocalEngine:
    return LocalEngine(
        path, SPECS, seed=0, slots=3, threads=1, micro_batch_tokens=64, device=device, dtype=dtype,
        lora=Lora(rank=rank), checkpointing=rank > 0,
    )  # fmt: skip


def write(engine: LocalEngine) -> dict[tuple[str | int, ...], Generated]:
    """Turns of two policies, more of them than slots, some greedy, some behind the same prompt, then a second turn."""
    rng = np.random.default_rng(0)
    shared = rng.integers(0, 60, 40)
    found: dict[tuple[str | int, ...], Generated] = {}
    prompts = {}
    for row in range(6):
        for policy in ("student", "base"):
            session = (policy, row)
            prompts[session] = shared if row % 2 else rng.integers(0, 60, 5 + 30 * row)
            engine.submit(
                Generate((*session, 0), PolicyRef(policy), prompts[session], session, 9, 0.0 if row == 3 else 1.0, STOP)
            )
    while ready := engine.ready():
        for done in ready:
            found[done.key] = done
            policy, row, turn = done.key
            session = (policy, row)
            if turn == 0:
                ids = np.concatenate([prompts[session], done.ids, rng.integers(0, 60, 0) if row % 2 else shared])
                engine.submit(Generate((*session, 1), PolicyRef(str(policy)), ids, session, 5, 1.0, STOP))
            else:
                engine.close(session)
    return found


def test_what_is_mixed_is_found() -> None:
    with elsewhere() as device:
        there = torch.ones(3, device=device)
        assert (there + 1).sum().item() == 6
        with pytest.raises(RuntimeError, match="beside one elsewhere"):
            there + torch.ones(3)
        with pytest.raises(RuntimeError):
            there.numpy()
        with torch.inference_mode(), pytest.raises(RuntimeError, match="beside one elsewhere"):
            there[torch.arange(2)]


@pytest.mark.long
@pytest.mark.parametrize(("kind", "rank"), [("llama", 0), ("qwen3", 4)])
def test_it_writes_learns_and_keeps_what_it_does_on_the_cpu(
    model_folder: Callable[[str], Path], tmp_path: Path, kind: str, rank: int
) -> None:
    here = make(model_folder(kind), "cpu", rank=rank)
    # Two and two have their prompt in common.
    samples = [make_sample(number // 2) for number in range(6)]
    with elsewhere() as device:
        there = make(model_folder(kind), device.type, rank=rank)
        learnt, expected = (engine.train("student", samples, TEACHER_VIEW) for engine in (there, here))
        assert learnt == pytest.approx(expected, rel=1e-3, abs=1e-4)
        ours, theirs = write(there), write(here)
        assert ours.keys() == theirs.keys()
        for key, done in ours.items():
            np.testing.assert_array_equal(done.ids, theirs[key].ids)
            np.testing.assert_allclose(done.logprobs, theirs[key].logprobs, atol=1e-3)
        kept = there.snapshot("student", "kept")
        there.save(tmp_path / "checkpoint")
        again = make(model_folder(kind), device.type, rank=rank)
        again.load(tmp_path / "checkpoint")
        for engine in (there, again):
            engine.submit(Generate(("kept",), kept, np.arange(9), ("kept",), 5, 1.0, STOP))
        [made], [restored] = there.ready(), again.ready()
        assert made.logprobs.tolist() == restored.logprobs.tolist()
        assert again.train("student", samples, TEACHER_VIEW) == there.train("student", samples, TEACHER_VIEW)
        there.export("student", tmp_path / "export")
    here.train("student", samples, TEACHER_VIEW)
    here.export("student", tmp_path / "expected")
    found, expected_model = (
        AutoModelForCausalLM.from_pretrained(tmp_path / name, dtype=torch.float32) for name in ("export", "expected")
    )
    for (name, weight), other in zip(found.named_parameters(), expected_model.parameters(), strict=True):
        # Two steps of AdamW move a weight by 0.02: where a gradient is all but 0, its rounding decides which way.
        difference = (weight - other).abs()
        assert difference.median() < 1e-4, name
        assert difference.max() < 0.05, name


@pytest.mark.long
def test_masters_stay_where_the_model_is(model_folder: Callable[[str], Path]) -> None:
    with elsewhere() as device:
        engine = make(model_folder("qwen3"), device.type, torch.bfloat16)
        write(engine)
        metrics = engine.train("student", [make_sample(number) for number in range(6)], TEACHER_VIEW)
        assert np.isfinite(list(metrics.values())).all()
        for policy in ("student", "teacher"):
            moving = engine._policies._moving[policy]
            assert {weight.dtype for weight in moving.weights.values()} == {torch.bfloat16}
            assert {master.dtype for master in moving.masters.values()} == {torch.float32}
            assert {master.device.type for master in moving.masters.values()} == {device.type}
