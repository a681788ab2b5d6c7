"""Samples and engines that several tests share."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from piplay.config import Policy
from piplay.engine.local.engine import LocalEngine
from piplay.engine.protocol import Objective
from piplay.types import Owner, PolicyRef, Sample

P, M, T = int(Owner.PROMPT), int(Owner.MODEL), int(Owner.TOOL)
TEACHER_VIEW = Objective(top_k=5, teacher="teacher")


def make_sample(number: int, terms: Sequence[str] = ("pg", "distill"), prefix: int | None = 9) -> Sample:
    """A prompt, a turn, a tool's answer, a turn; weights of both signs."""
    rng = np.random.default_rng(number)
    prompt, turn, tool, last = rng.integers(1, 12, 4)
    owner_T = np.repeat(np.array([P, M, T, M], np.int8), [prompt, turn, tool, last])
    length = len(owner_T)
    weight = {term: (rng.standard_normal(length) * (owner_T == M)).astype(np.float32) for term in terms}
    return Sample(
        ("sample", number), "student", PolicyRef("student"), ("q",), rng.integers(0, 61, length), owner_T,
        -rng.random(length).astype(np.float32), 1.0, weight, int(prompt),
        None if prefix is None else rng.integers(0, 61, prefix),
    )  # fmt: skip


def make_engine(path: Path, tau: float = 0.25, tokens: int = 64, **rest: Any) -> LocalEngine:
    specs = {
        "student": Policy(lr=0.01, **rest),
        "teacher": Policy(follows="student", tau=tau),
        "base": Policy(follows="student", tau=0.0),
    }
    return LocalEngine(path, specs, seed=0, slots=4, threads=1, micro_batch_tokens=tokens, end_ids=[60])
