"""Engines over the tiny base and others, for ``make test-scale``."""

from pathlib import Path

from piplay.engine.local import LocalEngine
from piplay.engine.vllm import VllmEngine
from piplay.settings import EngineSettings, Lora, Policy

ROOT = Path(__file__).parents[2]
POLICIES = {
    "student": Policy(lr=1e-3),
    "teacher": Policy(follows="student", tau=0.25),
    "base": Policy(follows="student", tau=0.0),
}
TOKENS = 1024


def settings(kind: str = "vllm", rank: int = 0, **given: object) -> EngineSettings:
    return EngineSettings.model_validate(
        {"kind": kind, "slots": 64, "threads": 1, "lora": Lora(rank=rank), "micro_batch_tokens": 2048} | given
    )


def vllm(model: Path, rank: int = 0, **given: object) -> VllmEngine:
    return VllmEngine.start(model, POLICIES, settings(rank=rank, **given), seed=0, tokens=TOKENS)


def local(model: Path, rank: int = 0, **given: object) -> LocalEngine:
    return LocalEngine.start(model, POLICIES, settings("local", rank, **given), seed=0)
