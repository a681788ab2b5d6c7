"""Samplers on the machines of a Ray cluster, here of one machine (SCALE 6 and 9)."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import ray
from engines import POLICIES, TOKENS, local, settings
from turns import STOP, contexts, drain, request

from piplay.cli.main import main
from piplay.engine.ray import RayEngine
from piplay.errors import InputError
from piplay.training.assemble import tiny_base

ASKED = [request(("ray", i), ids, max_new=24, stop=STOP) for i, ids in enumerate(contexts(60, seed=6))]


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    yield
    ray.shutdown()


def test_turns_are_the_local_engines_whatever_dies(cluster: None, measured) -> None:
    engine = RayEngine.start(tiny_base(), POLICIES, settings("ray", address=""), seed=0, tokens=TOKENS)
    own = local(tiny_base())
    for one in ASKED:
        own.submit(one)
    expected = drain(own)
    for how in ("nothing", "the process", "its actor"):
        for one in ASKED:
            engine.submit(one)
        done = {made.key: made for made in engine.ready()}
        child = engine._children[-1]
        pid, died, began = ray.get(child.actor.pid.remote()), engine._pool._died, time.perf_counter()
        if how == "the process":
            os.kill(pid, signal.SIGKILL)
        elif how == "its actor":
            ray.kill(child.actor)
        while how != "nothing" and engine._pool._died == died:
            engine._pool._receive()
            engine._pool._dispatch()
        noticed = time.perf_counter() - began
        done |= drain(engine)
        same = sum(np.array_equal(done[key].ids, made.ids) for key, made in expected.items())
        measured(f"ray, killed: {how}; turns with the local engine's ids, of 60", same, "at least 59")
        assert same >= 59
        if how != "nothing":
            measured(f"ray, killed: {how}; seconds until it was noticed", noticed, "at most 2")
            assert noticed <= 2
            assert not Path(f"/proc/{pid}").exists()


def test_a_run_over_a_cluster_completes(cluster: None, tmp_path: Path, measured) -> None:
    folder = tmp_path / "run"
    options = ["--engine.kind", "ray", "--engine.address", "", "--engine.threads", "1", "--seed", "0"]
    assert main(["train", "smoke", *options, "--report.grid", "0", "--run-dir", str(folder)]) == 0
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    most = max(value for row in rows for name, value in row.items() if name.endswith("logprob_diff_max"))
    measured("smoke over ray: largest logprob_diff_max", most, "at most 1e-3")
    assert most <= 1e-3
    assert json.loads((folder / "machine.json").read_text())["ray"].startswith("2.60.")


def test_a_cluster_that_is_not_there_is_said() -> None:
    ray.shutdown()
    with pytest.raises(InputError, match=r"no Ray cluster is reached .*: start one with `ray start --head`"):
        RayEngine.start(tiny_base(), POLICIES, settings("ray", address="127.0.0.1:1"), seed=0, tokens=TOKENS)
