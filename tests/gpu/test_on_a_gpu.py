"""What only a GPU can show: the same results as on a CPU, within rounding, and one step at the size of real models.

``make test-gpu``. Without a GPU every test here is skipped.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from piplay.algo.losses.distill import DistillLoss
from piplay.algo.losses.pg import PgLoss
from piplay.cli.doctor import available, memory
from piplay.cli.main import main
from piplay.config import Config
from piplay.engine.local.attention import Packed, fused
from piplay.engine.local.graphs import Recorder
from piplay.engine.protocol import Engine, Generate
from piplay.recipes import load_config
from piplay.training.assemble import load_engine
from piplay.types import Owner, PolicyRef, Sample, Stop

ROOT = Path(__file__).parents[2]
LOSSES = {"pg": PgLoss(), "distill": DistillLoss(policy="teacher")}
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def settings(device: str, dtype: str, rank: int, cuda_graphs: bool) -> Config:
    engine = {"device": device, "dtype": dtype, "lora.rank": rank, "checkpointing": rank > 0, "slots": 6}
    engine["cuda_graphs"] = cuda_graphs
    return load_config("smoke", {f"engine.{key}": value for key, value in engine.items()})


def make(device: str, dtype: str = "float32", rank: int = 0, cuda_graphs: bool = False) -> Engine:
    return load_engine(settings(device, dtype, rank, cuda_graphs))


def sample(number: int) -> Sample:
    """Two and two have the prompts in common, their own and the teacher's."""
    rng, shared = np.random.default_rng(number), np.random.default_rng(number // 2)
    lengths = np.array([shared.integers(5, 60), *rng.integers(5, 60, 3)])
    owner_T = np.repeat(np.array([Owner.PROMPT, Owner.MODEL, Owner.TOOL, Owner.MODEL], np.int8), lengths)
    count = len(owner_T)
    terms = {
        name: (rng.standard_normal(count) * (owner_T == Owner.MODEL)).astype(np.float32) for name in ("pg", "distill")
    }
    return Sample(
        ("sample", number), "student", PolicyRef("student"), ("q",),
        np.concatenate([shared.integers(0, 2000, lengths[0]), rng.integers(0, 2000, count - lengths[0])]), owner_T,
        np.zeros(count, np.float32), 1.0, terms, int(lengths[0]), {"privileged": shared.integers(0, 2000, 40)},
    )  # fmt: skip


def written(engine: Engine) -> list[tuple[list[int], list[float]]]:
    """Greedy turns of two policies at once, more of them than slots."""
    rng = np.random.default_rng(0)
    for row in range(10):
        for policy in ("student", "examiner"):
            key = (policy, row)
            ids = rng.integers(0, 2000, 10 + 7 * row)
            engine.submit(Generate(key, PolicyRef(policy), ids, key, 12, 0.0, Stop((0,))))
    found = {}
    while ready := engine.ready():
        found |= {generated.key: generated for generated in ready}
    return [(found[key].ids.tolist(), found[key].logprobs.tolist()) for key in sorted(found)]


def test_fp32_on_the_gpu_is_fp32_on_the_cpu() -> None:
    on_cpu, on_gpu = make("cpu"), make("cuda")
    agreeing = 0
    for (ids, logprobs), (other_ids, other_logprobs) in zip(written(on_cpu), written(on_gpu), strict=True):
        # Where two tokens are all but equally likely, another may be drawn, and what follows differs.
        agreeing += ids == other_ids
        if ids == other_ids:
            np.testing.assert_allclose(logprobs, other_logprobs, atol=1e-3)
    assert agreeing >= 18
    metrics = [e.train("student", [sample(i) for i in range(8)], LOSSES) for e in (on_cpu, on_gpu)]
    for name in ("loss", "pg_loss", "distill_kl", "entropy", "grad_norm"):
        assert metrics[1][name] == pytest.approx(metrics[0][name], rel=1e-3, abs=1e-4), name


@pytest.mark.parametrize("rank", [0, 8])
def test_bf16_on_the_gpu_learns_as_fp32_does_but_for_rounding(rank: int, tmp_path: Path) -> None:
    exact, rough = make("cpu", "float32", rank), make("cuda", "bfloat16", rank)
    for number in range(3):
        samples = [sample(10 * number + i) for i in range(8)]
        found = [engine.train("student", samples, LOSSES) for engine in (exact, rough)]
        assert found[1]["grad_norm"] == pytest.approx(found[0]["grad_norm"], rel=0.1)
        assert found[1]["entropy"] == pytest.approx(found[0]["entropy"], rel=0.05)
    rough.save(tmp_path)
    again = make("cuda", "bfloat16", rank)
    again.load(tmp_path)
    # The same weights; the kernels of a GPU need not add in the same order twice.
    for (ids, logprobs), (other_ids, other_logprobs) in zip(written(rough), written(again), strict=True):
        if ids == other_ids:
            np.testing.assert_allclose(logprobs, other_logprobs, atol=0.1)


def test_a_row_in_one_call_is_attended_to_as_segment_by_segment() -> None:
    """Half precision's error, of the result and of the gradients, beside that of the kernels segment by segment."""
    lengths, parents = [300, 200, 77, 1, 500, 9, 40], [None, 0, 0, 0, None, None, 5]
    row = Packed(lengths, parents, torch.device("cuda"))
    torch.manual_seed(0)
    exact = [torch.randn(1, heads, sum(lengths), 128, device="cuda") for heads in (16, 8, 8, 16)]
    if not fused(*(part.bfloat16() for part in exact[:3])):
        pytest.skip("needs torch 2.12 and a GPU with flash attention")

    def found(attend: Callable[..., torch.Tensor], dtype: torch.dtype) -> list[torch.Tensor]:
        *given, direction = (part.to(torch.bfloat16).to(dtype).requires_grad_() for part in exact)
        attended = attend(*given, None)
        return [attended, *torch.autograd.grad((attended * direction).sum(), given)]

    expected = found(row._one_by_one, torch.float32)
    apart, at_once = found(row._one_by_one, torch.bfloat16), found(row.attend, torch.bfloat16)
    for right, one_by_one, one_call in zip(expected, apart, at_once, strict=True):
        usual, error = ((some.float() - right).abs() for some in (one_by_one, one_call))
        assert error.max() <= 2 * usual.max() + 1e-3
        assert error.mean() <= 2 * usual.mean()


@pytest.mark.parametrize("rank", [0, 8])
def test_graphs_draw_what_steps_draw(rank: int, monkeypatch: pytest.MonkeyPatch) -> None:
    captured: list[object] = []
    capture = Recorder.capture

    def counted(self: Recorder, forward: Callable[[], torch.Tensor]) -> tuple[Callable[[], None], torch.Tensor]:
        captured.append(forward)
        return capture(self, forward)

    monkeypatch.setattr(Recorder, "capture", counted)
    usual, replaying = (make("cuda", rank=rank, cuda_graphs=on) for on in (False, True))
    agreeing = 0
    for _ in range(2):
        for (ids, logprobs), (other_ids, other_logprobs) in zip(written(usual), written(replaying), strict=True):
            # Padding changes the last bits: where two tokens are all but equally likely, another may be drawn.
            agreeing += ids == other_ids
            if ids == other_ids:
                np.testing.assert_allclose(logprobs, other_logprobs, atol=1e-3)
        # Behind an update weights and cache are others.
        for engine in (usual, replaying):
            engine.train("student", [sample(i) for i in range(4)], LOSSES)
    assert captured
    assert agreeing >= 36


def test_a_whole_run(tmp_path: Path) -> None:
    words = [
        "train",
        "smoke",
        "--run-dir",
        str(tmp_path / "run"),
        "--engine.device",
        "cuda",
        "--engine.dtype",
        "bfloat16",
    ]
    assert main([*words, "--engine.checkpointing", "true"]) == 0
    assert (tmp_path / "run" / "final" / "student" / "model.safetensors").is_file()


def test_doctor_knows_the_memory_of_the_gpu(capfd: pytest.CaptureFixture[str]) -> None:
    name, there = available("cuda")
    assert torch.cuda.get_device_name() in name
    assert 0 < there <= torch.cuda.get_device_properties(0).total_memory
    assert main(["doctor", "--recipe", "smoke", "--engine.device", "cuda"]) == 0
    assert main(["doctor", "--recipe", "smoke", "--engine.device", "cuda", "--engine.slots", "10000000"]) == 2
    assert "it would fit with" in capfd.readouterr().err


@pytest.mark.parametrize(("shape", "rank", "room"), [("qwen3-0.6b", 0, 40e9), ("qwen3-4b", 32, 60e9)])
def test_one_step_at_the_size_of_real_models(shape: str, rank: int, room: float) -> None:
    if available("cuda")[1] < room:
        pytest.skip(f"needs {room / 1e9:.0f} GB of free GPU memory")
    command = [sys.executable, str(ROOT / "benchmarks" / "one_step.py"), "--shape", shape, "--rank", str(rank)]
    command += ["--device", "cuda", "--dtype", "bfloat16", "--checkpointing", "--slots", "8"]
    command += ["--tokens", "2048", "--write", "32", "--micro-batch-tokens", "4096", "--sequences", "4"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert 0.7 < found["estimated"] / found["measured"] < 2, found


def test_the_estimate_needs_no_gpu_to_be_made(toy: Callable[[str], Path]) -> None:
    config = load_config("pi-play-hf", {"model": str(toy("qwen3")), "engine.device": "cuda"})
    before = torch.cuda.memory_allocated()
    assert memory(config).peak > 0
    assert torch.cuda.memory_allocated() == before
