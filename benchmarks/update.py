"""What one update costs: seconds against the machine's own matrix products, bytes, the teacher's share, and growth.

    python benchmarks/update.py gemm memory teacher growth
    python benchmarks/update.py gemm --sizes 1M --rounds 1

Models are random, of Qwen3's architecture, and rollouts are of the shape that the recipe pi-play has at the tiny base
times --context: a prompt of 34 tokens, a teacher's prompt of 52, five rollouts a question, turns of a dozen tokens with
a passage of 28 after each. Results go to benchmarks/results/update-*.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import record
from transformers import Qwen3Config, Qwen3ForCausalLM
from transformers.utils import logging

from piplay.algo.losses.base import Loss
from piplay.algo.losses.distill import DistillLoss
from piplay.algo.losses.pg import PgLoss
from piplay.algo.packing import packs
from piplay.engine.local import rows as own_rows
from piplay.engine.local.engine import LocalEngine
from piplay.engine.protocol import Generate
from piplay.settings import Policy
from piplay.types import Ints, Owner, PolicyRef, Sample, Stop

logging.disable_progress_bar()

SHAPES = {  # width, layers, heads, key-value heads, inner width, vocabulary
    "1M": (128, 4, 4, 2, 384, 2048),
    "5M": (256, 5, 4, 2, 768, 4096),
    "20M": (384, 8, 6, 3, 1152, 8192),
    "100M": (768, 12, 12, 4, 2304, 16384),
}
_FOLDER = tempfile.TemporaryDirectory(prefix="piplay-bench-")
MODELS = Path(_FOLDER.name)
STUDENT = PolicyRef("student")
ALONE: dict[str, Loss] = {"pg": PgLoss()}
DISTILLED: dict[str, Loss] = ALONE | {"distill": DistillLoss(policy="teacher")}


def folder(size: str, vocabulary: int | None = None) -> Path:
    """A random model of that size on disk."""
    width, layers, heads, shared, inner, usual = SHAPES[size]
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=vocabulary or usual, hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=shared, head_dim=width // heads, intermediate_size=inner, tie_word_embeddings=True,
    )  # fmt: skip
    path = MODELS / f"{size}-{config.vocab_size}"
    Qwen3ForCausalLM(config).save_pretrained(path)
    return path


def engine_of(path: Path, tokens: int, threads: int) -> LocalEngine:
    specs = {"student": Policy(lr=0.0), "teacher": Policy(follows="student", tau=0.01)}
    return LocalEngine(path, specs, seed=0, slots=128, threads=threads, micro_batch_tokens=tokens)


def rollouts_of(
    count: int,
    vocabulary: int,
    *,
    context: float = 1.0,
    turns: int = 3,
    engine: LocalEngine | None = None,
    step: int = 0,
) -> list[Sample]:
    """Five a question; what the tool answers is drawn at random, and what the student writes too, without an engine."""
    rng = np.random.default_rng(step)

    def words(mean: float) -> Ints:
        return rng.integers(0, vocabulary, max(1, round(rng.uniform(0.5, 1.5) * mean * context)))

    asked = [(words(34), words(52)) for _ in range(-(-count // 5))]
    story = [asked[i // 5][0] for i in range(count)]
    owners = [np.full(len(ids), Owner.PROMPT) for ids in story]
    for turn in range(turns):
        written = [words(12) for _ in story]
        if engine is not None:
            for i, ids in enumerate(story):
                engine.submit(Generate((step, turn, i), STUDENT, ids, (step, i), len(written[i]), 1.0, Stop(())))
            while ready := engine.ready():
                for one in ready:
                    written[int(one.key[2])] = one.ids
        for i, turned in enumerate(written):
            tool = words(28) if turn < turns - 1 else np.zeros(0, np.int64)
            story[i] = np.concatenate([story[i], turned, tool])
            owners[i] = np.concatenate([owners[i], np.repeat([Owner.MODEL, Owner.TOOL], [len(turned), len(tool)])])
    samples = []
    for i, (ids, owner) in enumerate(zip(story, owners, strict=True)):
        if engine is not None:
            engine.close((step, i))
        prompt, prefix = asked[i // 5]
        weight = np.float32(rng.standard_normal() / len(ids)) * (owner == Owner.MODEL).astype(np.float32)
        samples.append(
            Sample(
                (step, i), "student", STUDENT, (step, i // 5), ids, owner.astype(np.int8),
                np.zeros(len(ids), np.float32), 1.0, {"pg": weight, "distill": np.abs(weight)}, len(prompt),
                {"privileged": prefix},
            )
        )  # fmt: skip
    return samples


def alone(samples: Sequence[Sample]) -> list[Sample]:
    """The same without a teacher."""
    return [replace(sample, terms={"pg": sample.terms["pg"]}) for sample in samples]


def seconds(work: Callable[..., Any], *arguments: Any) -> float:
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


Row = tuple[int, int, int]
"""Places, rows to the vocabulary, and products for each weight: forward 1, with the backward 3."""


def laid_out(work: Callable[..., Any], *arguments: Any) -> tuple[list[Row], Any]:
    """What an update lays out, student's and teacher's rows in turns; and what ``work`` returns."""
    seen: list[Row] = []
    original = own_rows.lay_out

    def spy(*arguments: Any) -> Any:
        layout = original(*arguments)
        seen.append((len(layout.ids_N), len(layout.row_R), 1 if len(seen) % 2 else 3))
        return layout

    own_rows.lay_out = spy
    try:
        result = work(*arguments)
    finally:
        own_rows.lay_out = original
    return seen, result


def products(size: str, laid: Sequence[Row]) -> tuple[Callable[[], None], float]:
    """The matrix products with weights of some rows, alone and on fresh operands, and their FLOPs."""
    width, layers, heads, shared, inner, vocabulary = SHAPES[size]
    kv = shared * width // heads
    body = [(width, width), (width, kv), (width, kv), (width, width), (width, inner), (width, inner), (inner, width)]
    cases = []
    flops = 0.0
    for places, rows, times in laid:
        for count, height, pairs in ((layers, places, body), (1, rows, [(width, vocabulary)])):
            for into, out in pairs:
                cases.append((count, height, into, out, times))
                flops += 2.0 * count * height * into * out * times

    def work() -> None:
        for count, height, into, out, times in cases:
            x, w, y = torch.ones(height, into), torch.ones(out, into), torch.ones(height, out)
            for _ in range(count):
                torch.mm(x, w.T)
                if times == 3:
                    torch.mm(y, w)
                    torch.mm(y.T, x)

    return work, flops


def gemm(options: argparse.Namespace) -> None:
    rows = []
    for size in options.sizes:
        engine = engine_of(folder(size), options.tokens, options.threads)
        samples = rollouts_of(options.rollouts, SHAPES[size][-1], context=options.context)
        laid, _ = laid_out(engine.train, "student", samples, DISTILLED)
        work, flops = products(size, laid)
        work()
        pairs = [(seconds(work), seconds(engine.train, "student", samples, DISTILLED)) for _ in range(options.rounds)]
        floor, whole = (min(side) for side in zip(*pairs, strict=True))
        length = [len(sample.ids_T) for sample in samples]
        padded = sum(
            len(batch) * max(length[i] for i in batch)
            for batch in packs(sorted(range(len(length)), key=length.__getitem__), length, options.tokens)
        )
        rows.append(
            {
                "model": size,
                "rollouts": len(samples),
                "tokens": sum(length),
                "student_places": sum(places for places, *_ in laid[::2]),
                "padded_places": padded,
                "update_s": whole,
                "products_s": floor,
                "products_gflops": flops / floor / 1e9,
                "share_of_gemm": statistics.median(one / other for one, other in pairs),
            }
        )
    record(
        "update-gemm",
        options.command,
        rows,
        "One update (student forward and backward, teacher forward, losses, AdamW, moving average) against the "
        "products with weights that it makes, alone, of the same heights, in turns; attention is in update_s and not "
        "in products_s. share_of_gemm: median of the rounds' ratios; seconds: the least. student_places: what the "
        "student's body is run over, every one of them a real token; padded_places: what right-padded batches, sorted "
        "by length, would take.",
    )


def _memory(size: str, vocabulary: int, rollouts: int, teacher: bool, options: argparse.Namespace) -> dict[str, Any]:
    path = folder(size, vocabulary)
    engine = engine_of(path, options.tokens, options.threads)
    samples = rollouts_of(rollouts, vocabulary, context=options.context)
    samples = samples if teacher else alone(samples)
    losses = DISTILLED if teacher else ALONE
    engine.train("student", samples[:1], losses)
    held = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    engine.train("student", samples, losses)
    return {
        "model": size,
        "vocabulary": vocabulary,
        "teacher": teacher,
        "rollouts": rollouts,
        "tokens": sum(len(sample.ids_T) for sample in samples),
        "rows": sum(int((sample.owner_T == Owner.MODEL).sum()) for sample in samples),
        "held_mb": held,
        "peak_mb": _status("VmHWM"),
    }


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def isolated(*arguments: Any) -> dict[str, Any]:
    """``_memory`` in a process of its own, so that its peak is nobody else's, and without glibc's holes in it."""
    os.environ["MALLOC_MMAP_THRESHOLD_"] = "1000000"
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_memory, arguments)


def memory(options: argparse.Namespace) -> None:
    rows = []
    for vocabulary in (2048, 151_936):
        for rollouts in (options.rollouts // 4, options.rollouts, options.rollouts * 4):
            for teacher in (False, True):
                rows.append(isolated(options.sizes[0], vocabulary, max(5, rollouts), teacher, options))
    record(
        "update-memory",
        options.command,
        rows,
        "Resident memory of a process: held before the update (weights of student and teacher, moments, libraries) "
        "and at its peak, with MALLOC_MMAP_THRESHOLD_=1000000. Both lines of a pair hold the teacher's weights; "
        "without teacher it is not run.",
    )


def teacher(options: argparse.Namespace) -> None:
    rows = []
    for size in options.sizes:
        engine = engine_of(folder(size), options.tokens, options.threads)
        times: dict[str, list[float]] = {"rollouts": [], "with": [], "without": [], "floor": []}
        for step in range(options.rounds + 1):
            before, start = engine.usage(), time.perf_counter()
            found = rollouts_of(options.rollouts, SHAPES[size][-1], context=options.context, engine=engine, step=step)
            spent = {"rollouts": time.perf_counter() - start}
            after = engine.usage()
            drawn, prefilled = after.drawn - before.drawn, after.prefilled - before.prefilled
            spent["without"] = seconds(engine.train, "student", alone(found), ALONE)
            laid, spent["with"] = laid_out(seconds, engine.train, "student", found, DISTILLED)
            spent["floor"] = seconds(products(size, [*laid, (prefilled + drawn, drawn, 1)])[0])
            if step:  # the first warms up
                for name, value in spent.items():
                    times[name].append(value)
        middle = {name: statistics.median(values) for name, values in times.items()}
        rows.append(
            {
                "model": size,
                "rollouts_s": middle["rollouts"],
                "update_s": middle["without"],
                "distilling_update_s": middle["with"],
                "added_to_step": (middle["with"] - middle["without"]) / (middle["rollouts"] + middle["without"]),
                "products_s": middle["floor"],
                "step_over_products": (middle["rollouts"] + middle["with"]) / middle["floor"],
            }
        )
    record(
        "update-teacher",
        options.command,
        rows,
        "A step is rollouts and update; added_to_step is what distillation adds to it. products_s: the products with "
        "weights of a whole step, alone: of all tokens fed and drawn in rollouts as if they were one batch, and of the "
        "update with its teacher. Memory: update-memory.",
    )


def growth(options: argparse.Namespace) -> None:
    usual = {"size": options.sizes[0], "rollouts": options.rollouts, "turns": 3, "context": options.context}
    axes: Mapping[str, Sequence[Any]] = {
        "rollouts": [options.rollouts * n for n in (1, 2, 4, 8)],
        "turns": [1, 2, 4, 8],
        "context": [options.context * n for n in (1, 2, 4, 8)],
        "size": [size for size in SHAPES if size in options.sizes] if len(options.sizes) > 1 else list(SHAPES)[:3],
    }
    rows = []
    for axis, values in axes.items():
        cases = []
        for value in values:
            case = usual | {axis: value}
            engine = engine_of(folder(case["size"]), options.tokens, options.threads)
            samples = rollouts_of(
                case["rollouts"], SHAPES[case["size"]][-1], context=case["context"], turns=case["turns"]
            )
            x = sum(p.numel() for p in engine._policies.model(STUDENT).parameters()) if axis == "size" else value
            cases.append((x, engine, samples))
        spent = [
            [seconds(engine.train, "student", samples, DISTILLED) for _, engine, samples in cases]
            for _ in range(options.rounds)
        ]
        least = np.array(spent).min(0)
        exponent = np.polyfit(np.log([x for x, _, _ in cases]), np.log(least), 1)[0]
        for (x, _, samples), least_s in zip(cases, least, strict=True):
            rows.append(
                {
                    "axis": axis,
                    "value": float(x),
                    "tokens": sum(len(sample.ids_T) for sample in samples),
                    "update_s": float(least_s),
                    "exponent": float(exponent),
                }
            )
    record(
        "update-growth",
        options.command,
        rows,
        "Seconds of one update, teacher included, while one thing grows and the rest stays; exponent: of the line "
        "fitted to the logarithms. The longer the context, the more of an update is attention.",
    )


PARTS = {"gemm": gemm, "memory": memory, "teacher": teacher, "growth": growth}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []])
    parser.add_argument("--sizes", nargs="+", choices=SHAPES, default=["1M", "20M", "100M"])
    parser.add_argument("--rollouts", type=int, default=40)
    parser.add_argument("--context", type=float, default=1.0, help="how many times longer everything is")
    parser.add_argument("--tokens", type=int, default=4096, help="engine.micro_batch_tokens")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    given = {n: value for n, value in vars(options).items() if n != "parts" and value != parser.get_default(n)}
    flags = [f"--{n} {' '.join(value) if isinstance(value, list) else value}" for n, value in given.items()]
    for part in options.parts or PARTS:
        options.command = " ".join(["python benchmarks/update.py", part, *flags])
        PARTS[part](options)


if __name__ == "__main__":
    main()
