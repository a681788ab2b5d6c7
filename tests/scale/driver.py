"""Trains over two hosts of a Ray cluster and says what happens: ``python driver.py ADDRESS FOLDER RANK``."""

import sys
import time
from pathlib import Path

import numpy as np
import ray
from fake_sampler import FakeSampler, FakeVllm
from test_ranks import POLICIES, learn, weights
from turns import SEED

from piplay.engine.protocol import EngineLost
from piplay.engine.ray import RayEngine
from piplay.settings import EngineSettings, Lora
from piplay.training.assemble import tiny_base


class FakeRay(RayEngine):
    """Ranks on the cluster, and a sampler without vLLM."""

    make = FakeSampler
    _child = FakeVllm._child


def start(address: str, rank: int) -> FakeRay:
    settings = EngineSettings(
        kind="ray", slots=3, threads=1, micro_batch_tokens=64, lora=Lora(rank=rank), trainers=2, address=address
    )
    return FakeRay(tiny_base(), POLICIES, settings, seed=SEED, tokens=1000)


def main() -> None:
    address, folder, rank = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    ray.init(address=address, log_to_driver=False)

    @ray.remote(num_cpus=2)
    class Holder:
        def holds(self) -> None:
            pass

    # This host has two CPUs: while they are held, the second rank can only be on the other.
    holder = Holder.options(resources={f"node:{address.partition(':')[0]}": 0.01}).remote()
    ray.get(holder.holds.remote())
    engine = start(address, rank)
    ray.kill(holder)
    learn(engine, 0)
    engine.save(folder)
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.perf_counter()
    try:
        learn(engine, 1)
    except EngineLost as error:
        print("lost", round(time.perf_counter() - began, 2), error, flush=True)
    del engine
    engine = start(address, rank)
    engine.load(folder)
    learn(engine, 1)
    np.save(folder / "weights.npy", weights(engine))
    print("done", round(time.perf_counter() - began, 2), flush=True)


if __name__ == "__main__":
    main()
