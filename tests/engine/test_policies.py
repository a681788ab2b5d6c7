import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from engine_helpers import TEACHER_VIEW, make_engine, make_sample
from transformers import PreTrainedModel

from piplay.engine.local.engine import LocalEngine
from piplay.engine.local.memory import estimate
from piplay.errors import InputError
from piplay.settings import EngineSettings, Lora, Policy
from piplay.types import PolicyRef

Folder = Callable[[str], Path]
Plain = Callable[[str | Path], PreTrainedModel]


def step(engine: LocalEngine, number: int) -> None:
    engine.train("student", [make_sample(10 * number + i) for i in range(4)], TEACHER_VIEW)


def bits(engine: LocalEngine, *refs: PolicyRef) -> list[bytes]:
    return [p.detach().numpy().tobytes() for ref in refs for p in engine._policies.model(ref).parameters()]


@pytest.fixture
def saved(model_folder: Folder, tmp_path: Path) -> tuple[LocalEngine, Path]:
    """An engine two steps in, and where it was saved."""
    engine = make_engine(model_folder("qwen3"))
    step(engine, 1)
    step(engine, 2)
    engine.save(tmp_path / "saved")
    return engine, tmp_path / "saved"


@pytest.mark.slow
def test_saved_and_loaded_trains_on_to_the_same_bits(saved: tuple[LocalEngine, Path], model_folder: Folder) -> None:
    straight, folder = saved
    resumed = make_engine(model_folder("qwen3"))
    resumed.load(folder)
    refs = [PolicyRef("student"), PolicyRef("teacher"), PolicyRef("base")]
    assert bits(resumed, *refs) == bits(straight, *refs)
    for engine in (straight, resumed):
        step(engine, 3)
    assert bits(resumed, *refs) == bits(straight, *refs)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux lists what is mapped")
def test_a_checkpoint_that_was_loaded_is_not_held(saved: tuple[LocalEngine, Path], model_folder: Folder) -> None:
    """Mapped, all of it would count as the process's memory, and its room on the disk would not be freed."""
    resumed = make_engine(model_folder("qwen3"))
    resumed.load(saved[1])
    assert str(saved[1]) not in Path("/proc/self/maps").read_text()


def test_an_engine_that_never_stepped_can_be_saved(model_folder: Folder, tmp_path: Path) -> None:
    engines = [make_engine(model_folder("llama")) for _ in range(2)]
    engines[0].save(tmp_path)
    step(engines[1], 1)
    engines[1].load(tmp_path)
    for engine in engines:
        step(engine, 2)
    assert bits(engines[0], PolicyRef("student")) == bits(engines[1], PolicyRef("student"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["student.safetensors", "teacher.safetensors", "engine.json"])
def test_a_cut_or_missing_file_is_an_input_error(
    name: str, saved: tuple[LocalEngine, Path], model_folder: Folder
) -> None:
    folder = saved[1]
    whole = (folder / name).read_bytes()
    for kept in (len(whole) - 3, len(whole) // 2, 4, 0):
        (folder / name).write_bytes(whole[:kept])
        with pytest.raises(InputError, match=name.partition(".")[0]):
            make_engine(model_folder("qwen3")).load(folder)
    (folder / name).unlink()
    with pytest.raises(InputError, match=name.partition(".")[0]):
        make_engine(model_folder("qwen3")).load(folder)


def test_a_checkpoint_of_another_run_is_an_input_error(saved: tuple[LocalEngine, Path], model_folder: Folder) -> None:
    folder = saved[1]
    with pytest.raises(InputError, match="another model"):
        make_engine(model_folder("llama")).load(folder)
    listing = json.loads((folder / "engine.json").read_text())
    (folder / "engine.json").write_text(json.dumps(listing | {"policies": {"student": 2}}))
    with pytest.raises(InputError, match="holds policies"):
        make_engine(model_folder("qwen3")).load(folder)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_an_export_is_an_ordinary_folder(kind: str, model_folder: Folder, plain: Plain, tmp_path: Path) -> None:
    engine = make_engine(model_folder(kind))
    step(engine, 1)
    engine.export("student", tmp_path / "out")
    exported = plain(tmp_path / "out")
    ids = torch.arange(20)[None]
    with torch.no_grad():
        torch.testing.assert_close(
            exported(ids).logits, engine._policies.model(PolicyRef("student"))(ids).logits, atol=1e-5, rtol=1e-5
        )
    assert (exported.lm_head.weight is exported.model.embed_tokens.weight) is (kind == "qwen3")
    assert (tmp_path / "out" / "tokenizer.json").read_text() == (model_folder(kind) / "tokenizer.json").read_text()
    assert not (tmp_path / "out" / "README.md").exists()
    assert "piplay" not in (tmp_path / "out" / "config.json").read_text()


def test_following_nobody_is_an_input_error(model_folder: Folder) -> None:
    for follows in ("nobody", "teacher"):
        specs = {"student": Policy(), "teacher": Policy(follows="student"), "late": Policy(follows=follows)}
        with pytest.raises(InputError, match="late follows"):
            LocalEngine(model_folder("qwen3"), specs, seed=0, slots=1, threads=1, micro_batch_tokens=1)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 3])
def test_what_is_written_is_as_large_as_reckoned(rank: int, model_folder: Folder, tmp_path: Path) -> None:
    """But for the files' headers and the tokenizer."""
    policies = {"student": Policy(), "teacher": Policy(follows="student", tau=0.25)}
    settings = EngineSettings(dtype="bfloat16", lora=Lora(rank=rank), threads=1)
    engine = LocalEngine(
        model_folder("llama"), policies, seed=0, slots=1, threads=1, micro_batch_tokens=64,
        dtype=torch.bfloat16, lora=settings.lora,
    )  # fmt: skip
    engine.train("student", [make_sample(0)], TEACHER_VIEW)
    engine.save(tmp_path / "checkpoint")
    engine.export("student", tmp_path / "export")
    needed = estimate(model_folder("llama"), policies, settings, tokens=64, writing=1, learning=frozenset({"student"}))
    for folder, reckoned in (("checkpoint", needed.checkpoint), ("export", needed.export)):
        written = sum(path.stat().st_size for path in (tmp_path / folder).glob("*.safetensors"))
        assert reckoned <= written < reckoned + 25_000, folder
