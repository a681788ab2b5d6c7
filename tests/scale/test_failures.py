"""Samplers that are killed, and trainers (SCALE 6)."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from engines import ROOT
from turns import STOP, contexts, drain, request

from piplay.engine.vllm import VllmEngine

ASKED = [request(("killed", i), ids, max_new=24, stop=STOP) for i, ids in enumerate(contexts(100, seed=6))]


def lives(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_a_killed_samplers_turns_are_written_again_under_the_same_keys(whole: VllmEngine, measured) -> None:
    for one in ASKED:
        whole.submit(one)
    calm = drain(whole)
    for one in ASKED:
        whole.submit(one)
    done = {}
    while len(done) < 40:
        done |= {made.key: made for made in whole.ready()}
    process, died = whole._children[-1], whole._pool._died
    os.kill(process.pid, signal.SIGKILL)
    began = time.perf_counter()
    while whole._pool._died == died:
        whole._pool._receive()
        whole._pool._dispatch()
    noticed = time.perf_counter() - began
    sent_again = len(whole._pool._queue)
    done |= drain(whole)
    measured("a killed sampler: seconds until it was noticed", noticed, "at most 2")
    measured("a killed sampler: turns sent again", sent_again, "")
    same = sum(np.array_equal(done[key].ids, made.ids) for key, made in calm.items())
    measured("a killed sampler: turns with the ids of an undisturbed run, of 100", same, "at least 99")
    measured("a killed sampler: seconds until all turns were there", time.perf_counter() - began, "")
    assert done.keys() == calm.keys()
    assert noticed <= 2
    assert sent_again > 0
    assert same >= 99
    assert not lives(process.pid)


def test_a_sampler_dies_with_its_trainer(measured) -> None:
    code = (
        "from engines import vllm; from piplay.training.assemble import tiny_base; import time\n"
        "engine = vllm(tiny_base()); print(engine._children[0].pid, flush=True); time.sleep(600)"
    )
    path = os.pathsep.join([str(ROOT / "tests" / "scale"), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path}
    driver = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
    assert driver.stdout is not None
    pid = int(driver.stdout.readline())
    assert lives(pid)
    driver.kill()
    driver.wait()
    began = time.perf_counter()
    while lives(pid) and time.perf_counter() - began < 5:
        time.sleep(0.05)
    measured("a killed trainer: seconds that its sampler outlives it", time.perf_counter() - began, "at most 5")
    assert not lives(pid)
