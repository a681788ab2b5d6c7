"""Samples and engines that several tests share."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from piplay.algo.losses.distill import DistillLoss
from piplay.algo.losses.pg import PgLoss
from piplay.engine.local.engine import LocalEngine
from piplay.settings import Policy
from piplay.types import Owner, PolicyRef, Sample

P, M, T = int(Owner.PROMPT), int(Owner.MODEL), int(Owner.TOOL)
TEACHER_VIEW = {"pg": PgLoss(), "distill": DistillLoss("teacher", top_k=5)}


def make_sample(number: int, terms: Sequence[str] = ("pg", "distill"), prefix: int | None = 9) -> Sample:
    """A prompt, a turn, a tool's answer, a turn; weights of both signs.

    ``prefix`` is the length of the privileged view; None: it is the prompt itself.
    """
    rng = np.random.default_rng(number)
    prompt, turn, tool, last = rng.integers(1, 12, 4)
    owner_T = np.repeat(np.array([P, M, T, M], np.int8), [prompt, turn, tool, last])
    length = len(owner_T)
    weight = {term: (rng.standard_normal(length) * (owner_T == M)).astype(np.float32) for term in terms}
    ids_T, logprobs_T = rng.integers(0, 61, length), -rng.random(length).astype(np.float32)
    view = ids_T[:prompt] if prefix is None else rng.integers(0, 61, prefix)
    return Sample(
        ("sample", number), "student", PolicyRef("student"), ("q",), ids_T, owner_T, logprobs_T, 1.0, weight,
        int(prompt), {"privileged": view},
    )  # fmt: skip


def make_engine(path: Path, tau: float = 0.25, tokens: int = 64, **rest: Any) -> LocalEngine:
    specs = {
        "student": Policy(lr=0.01, **rest),
        "teacher": Policy(follows="student", tau=tau),
        "base": Policy(follows="student", tau=0.0),
    }
    return LocalEngine(path, specs, seed=0, slots=4, threads=1, micro_batch_tokens=tokens)
