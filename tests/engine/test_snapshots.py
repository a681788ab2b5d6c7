"""Snapshots in every form that weights have; that they play as they did is in conformance.py."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_helpers import TEACHER_VIEW, make_sample
from safetensors.torch import load_file
from turns import drain, request

from piplay.engine.local import LocalEngine
from piplay.engine.local.memory import estimate
from piplay.errors import InputError
from piplay.settings import EngineSettings, Lora, Policy
from piplay.types import PolicyRef

Folder = Callable[[str], Path]
POLICIES = {
    "student": Policy(lr=0.01),
    "teacher": Policy(follows="student", tau=0.25),
    "base": Policy(follows="student", tau=0.0),
}
FORMS = pytest.mark.parametrize(("dtype", "rank"), [("float32", 0), ("bfloat16", 0), ("float32", 3), ("bfloat16", 3)])


def settings(dtype: str, rank: int) -> EngineSettings:
    return EngineSettings(slots=4, threads=1, micro_batch_tokens=64, dtype=dtype, lora=Lora(rank=rank))


def make(path: Path, dtype: str = "float32", rank: int = 0) -> LocalEngine:
    return LocalEngine.start(path, POLICIES, settings(dtype, rank), seed=5)


def learn(engine: LocalEngine, number: int) -> None:
    engine.train("student", [make_sample(10 * number + i) for i in range(4)], TEACHER_VIEW)


def written(engine: LocalEngine, ref: PolicyRef) -> tuple[bytes, bytes, int]:
    """The bits of a turn, and its version."""
    engine.submit(request((ref.name,), np.arange(20), policy=ref, session=(str(ref),)))
    [made] = drain(engine).values()
    engine.close((str(ref),))
    return made.ids.tobytes(), made.logprobs.tobytes(), made.version


@pytest.mark.slow
@FORMS
def test_a_snapshot_is_kept_to_the_bit_by_training_saving_and_loading(
    dtype: str, rank: int, model_folder: Folder, tmp_path: Path
) -> None:
    engine = make(model_folder("qwen3"), dtype, rank)
    learn(engine, 1)
    expected = {engine.snapshot(name, "then"): written(engine, PolicyRef(name)) for name in POLICIES}
    learn(engine, 2)
    for ref, bits in expected.items():
        assert written(engine, ref) == bits
    assert written(engine, PolicyRef("student")) != expected[PolicyRef("student", "then")]
    engine.save(tmp_path)
    again = make(model_folder("qwen3"), dtype, rank)
    # Of the same name and of another time: what the checkpoint says counts.
    again.snapshot("student", "then")
    gone = again.snapshot("student", "other")
    again.load(tmp_path)
    for ref, bits in expected.items():
        assert written(again, ref) == bits
    with pytest.raises(ValueError, match="no snapshot 'student@other'"):
        written(again, gone)
    assert written(again, PolicyRef("student")) == written(engine, PolicyRef("student"))


@pytest.mark.slow
@FORMS
def test_it_is_saved_as_it_plays_and_counted(dtype: str, rank: int, model_folder: Folder, tmp_path: Path) -> None:
    engine = make(model_folder("llama"), dtype, rank)
    learn(engine, 1)
    engine.snapshot("student", "one")
    learn(engine, 2)
    engine.snapshot("teacher", "two")
    engine.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "engine.json", "student.safetensors", "teacher.safetensors", "student@one.safetensors",
        "teacher@two.safetensors",
    }  # fmt: skip
    listing = json.loads((tmp_path / "engine.json").read_text())
    assert listing == {
        "policies": {"student": 2, "teacher": 2},
        "snapshots": {"student@one": 1, "teacher@two": 2},
    }
    stored = load_file(tmp_path / "student@one.safetensors")
    assert {value.dtype for value in stored.values()} == {getattr(torch, dtype)}
    assert all(".lora_" in key for key in stored) == (rank > 0)
    with_two, without = (
        estimate(
            model_folder("llama"), POLICIES, settings(dtype, rank), tokens=64, writing=1,
            learning=frozenset({"student"}), snapshots=count,
        )
        for count in (2, 0)
    )  # fmt: skip
    assert with_two.held["snapshots"] == 2 * sum(value.nbytes for value in stored.values())
    assert with_two.peak - without.peak == with_two.checkpoint - without.checkpoint == with_two.held["snapshots"]


def test_adapters_share_the_base_and_nothing_else(model_folder: Folder) -> None:
    engine = make(model_folder("llama"), rank=3)
    ref = engine.snapshot("student", "now")
    live, frozen, base = (
        dict(engine._policies.model(which).named_parameters())
        for which in (PolicyRef("student"), ref, PolicyRef("base"))
    )
    assert live.keys() == frozen.keys()
    for key, weight in frozen.items():
        assert not weight.requires_grad
        assert (weight is live[key]) == (".lora_" not in key)
    assert {id(weight) for weight in base.values()} < {id(weight) for weight in frozen.values()}
    assert all(weight.requires_grad == (".lora_" in key) for key, weight in live.items())


def test_a_pending_snapshot_cannot_be_forgotten(model_folder: Folder) -> None:
    engine = make(model_folder("qwen3"))
    ref = engine.snapshot("student", "now")
    engine.submit(request(("r",), [1, 2], policy=ref))
    with pytest.raises(ValueError, match="student@now cannot change while it is writing"):
        engine.forget(ref)
    assert len(drain(engine)) == 1
    learn(engine, 1)
    engine.forget(ref)


@pytest.mark.slow
def test_a_cut_or_missing_snapshot_is_an_input_error(model_folder: Folder, tmp_path: Path) -> None:
    engine = make(model_folder("qwen3"))
    engine.snapshot("student", "now")
    engine.save(tmp_path)
    file = tmp_path / "student@now.safetensors"
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(InputError, match=r"student@now\.safetensors is missing or cut short"):
        engine.load(tmp_path)
    file.unlink()
    with pytest.raises(InputError, match=r"student@now\.safetensors is missing or cut short"):
        engine.load(tmp_path)


def test_a_device_that_is_not_here_is_an_input_error(model_folder: Folder) -> None:
    nowhere = settings("float32", 0).model_copy(update={"device": "nowhere"})
    with pytest.raises(InputError, match="'nowhere' cannot be used here"):
        LocalEngine.start(model_folder("qwen3"), POLICIES, nowhere, seed=0)
