"""One step of each phase on a model of random weights: seconds and memory, measured beside what doctor estimates.

    python benchmarks/one_step.py --shape small --slots 8 --tokens 256

A process of its own for each case: what it needed at most is known only once. It prints one line of JSON. The model
stands in a folder as any other, with the tokenizer of the tiny base.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro
from transformers import AutoModelForCausalLM, Qwen3Config

from piplay.algo.losses.base import Loss
from piplay.algo.losses.distill import DistillLoss
from piplay.algo.losses.pg import PgLoss
from piplay.cli.doctor import memory
from piplay.config import Config
from piplay.engine.local import attention
from piplay.engine.local.policies import TOKENIZER_FILES
from piplay.engine.protocol import Engine, Generate
from piplay.recipes import load_config
from piplay.training.assemble import load_engine, tiny_base
from piplay.types import Owner, PolicyRef, Sample, Stop

SHAPES: dict[str, dict[str, int]] = {
    "small": {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 4, "vocab_size": 8192},
    "deep": {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 16, "vocab_size": 2048},
    "wide": {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 4, "vocab_size": 32768},
    "qwen3-0.6b": {"hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28, "vocab_size": 151936},
    "qwen3-4b": {"hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36, "vocab_size": 151936},
}
HEADS = {
    "small": (4, 2, 64),
    "deep": (4, 2, 64),
    "wide": (12, 4, 64),
    "qwen3-0.6b": (16, 8, 128),
    "qwen3-4b": (32, 8, 128),
}


REWARD: dict[str, Loss] = {"pg": PgLoss()}
DISTILLED: dict[str, Loss] = REWARD | {"distill": DistillLoss(policy="teacher")}


@dataclass(frozen=True)
class Case:
    """What is measured."""

    shape: str = "small"
    kind: Literal["local", "vllm", "ray"] = "local"
    """Of the engine; ``ray`` starts a cluster here."""
    device: str = "cpu"
    dtype: Literal["float32", "bfloat16"] = "float32"
    rank: int = 0
    """Of adapters; 0 trains all weights."""
    checkpointing: bool = False
    slots: int = 8
    """Sessions of each of the two policies that write at the same time."""
    cache_tokens: int | None = None
    """Of all sessions of one policy, where not all fit."""
    tokens: int = 256
    """Of each trajectory."""
    write: int = 16
    """Of these, how many are written; the others are the prompt."""
    micro_batch_tokens: int = 2048
    sequences: int = 8
    """Trajectories of an update."""
    questions: int = 0
    """Of these five rollouts each are played: 1 to 4 turns, about ``write`` tokens each, with tool results between."""
    cuda_graphs: bool = False
    one_by_one: bool = False
    """Attention of training rows segment by segment, where one call could do it."""


def random_model(shape: str, folder: Path, dtype: torch.dtype, device: str) -> Path:
    """A Qwen3 model of random weights, made on the device, in a folder with the tiny base's tokenizer."""
    heads, kv_heads, head_dim = HEADS[shape]
    config = Qwen3Config(
        **SHAPES[shape],
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        max_position_embeddings=40960,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    with torch.device(device):
        AutoModelForCausalLM.from_config(config, dtype=dtype).save_pretrained(folder)
    for pattern in TOKENIZER_FILES:
        for path in tiny_base().glob(pattern):
            shutil.copyfile(path, folder / path.name)
    return folder


def settings(case: Case, folder: Path) -> Config:
    """The recipe for models of one's own, at the case's size."""
    engine = {"device": case.device, "dtype": case.dtype, "lora.rank": case.rank, "checkpointing": case.checkpointing}
    engine |= {
        "slots": case.slots,
        "cache_tokens": case.cache_tokens,
        "cuda_graphs": case.cuda_graphs,
        "micro_batch_tokens": case.micro_batch_tokens,
        "threads": len(os.sched_getaffinity(0)),
        "kind": case.kind,
    }
    if case.kind == "ray":
        engine["address"] = ""
    overrides: dict[str, object] = {f"engine.{key}": value for key, value in engine.items()}
    limits = {"limits.tokens": case.tokens, "limits.turn_tokens": case.write, "limits.turns": 1}
    return load_config("pi-play-hf", overrides | limits | {"model": str(folder)})


def _most_resident() -> int:
    """Bytes. Not ``ru_maxrss``: a process inherits that from the one that started it."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def write(engine: Engine, case: Case, turn: int) -> int:
    """Examiner and student write, each in all slots and to the end of the cache; how many tokens."""
    rng = np.random.default_rng(turn)
    keys = [(policy, row, turn) for policy in ("examiner", "student") for row in range(case.slots)]
    for key in keys:
        ids = rng.integers(0, 2000, case.tokens - case.write)
        engine.submit(Generate(key, PolicyRef(key[0]), ids, key, case.write, 1.0, Stop(())))
    tokens = 0
    while ready := engine.ready():
        tokens += sum(len(generated.ids) for generated in ready)
    for key in keys:
        engine.close(key)
    return tokens


def play(engine: Engine, case: Case, turn: int) -> int:
    """The student's rollouts, of at most ``tokens``; how many tokens it wrote."""
    from rollouts import around, given

    # A prompt and three results, and four turns of one and a half times ``write`` at most.
    told = (case.tokens - 6 * case.write) // 4
    written, _ = given(2000, case.questions, prompt=told, written=around(case.write), tool=told)(engine, turn)
    return written


def learn(engine: Engine, case: Case, policy: str, losses: dict[str, Loss]) -> int:
    """One update on trajectories of which half is the model's, five behind one prompt; how many tokens."""
    rng = np.random.default_rng(1)
    half = case.tokens // 2
    asked = [rng.integers(0, 2000, (2, half)) for _ in range(-(-case.sequences // 5))]
    owner_T = np.repeat(np.array([Owner.PROMPT, Owner.MODEL], np.int8), [half, half])
    weight_T = np.where(owner_T == Owner.MODEL, 1e-4, 0).astype(np.float32)
    zeros_T = np.zeros(2 * half, np.float32)
    samples = [
        Sample(
            ("bench", i), policy, PolicyRef(policy), ("bench",),
            np.concatenate([asked[i // 5][0], rng.integers(0, 2000, half)]), owner_T, zeros_T,
            0.0, dict.fromkeys(losses, weight_T), half, {"privileged": asked[i // 5][1]},
        )
        for i in range(case.sequences)
    ]  # fmt: skip
    engine.train(policy, samples, losses)
    return case.sequences * 2 * half


def resident() -> int:
    """Bytes of this process now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(case: Case) -> dict[str, Any]:
    """The case's numbers: bytes estimated and measured, and seconds of each phase when it is played again."""
    on_gpu = torch.device(case.device).type == "cuda"
    if case.one_by_one:
        attention.fused = lambda *_: False
    peaks: dict[str, int] = {}
    seconds: dict[str, float] = {}
    tokens: dict[str, int] = {}

    def timed(name: str, work: Callable[[], int | None]) -> None:
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        began = time.perf_counter()
        tokens[name] = work() or 0
        if on_gpu:
            torch.cuda.synchronize()
            peaks[name] = torch.cuda.max_memory_allocated()
        seconds[name] = time.perf_counter() - began

    with tempfile.TemporaryDirectory() as place:
        folder = random_model(case.shape, Path(place) / "model", getattr(torch, case.dtype), case.device)
        if on_gpu:
            torch.cuda.empty_cache()
        config = settings(case, folder)
        estimated = memory(config)
        before = resident()
        engine = load_engine(config)
        # The first time makes optimisers and warms up; what counts is the second.
        for turn in range(2):
            if case.questions:
                timed("rollouts", lambda turn=turn: play(engine, case, turn))
            timed("write", lambda turn=turn: write(engine, case, turn))
            timed("examine", lambda: learn(engine, case, "examiner", REWARD))
            timed("study", lambda: learn(engine, case, "student", DISTILLED))
        timed("save", lambda: engine.save(Path(place) / "saved"))
        timed("export", lambda: engine.export("student", Path(place) / "out"))
        measured = max(peaks.values()) if on_gpu else _most_resident() - before
    return {
        "case": vars(case),
        "estimated": estimated.peak,
        "measured": measured,
        "seconds": seconds,
        "tokens": tokens,
        "peaks": peaks,
        "parts": [dict(part) for part in (estimated.held, estimated.playing, estimated.learning)],
    }


if __name__ == "__main__":
    print(json.dumps(measure(tyro.cli(Case))))
