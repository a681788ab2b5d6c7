"""Weights that trainer and sampler share, after updates (SCALE 2)."""

import statistics
from pathlib import Path

import numpy as np
import pytest
from engine_helpers import TEACHER_VIEW, make_sample
from engines import POLICIES, settings, vllm
from turns import STOP, contexts, drain, request

from piplay.engine.local import LocalEngine
from piplay.engine.vllm import VllmEngine, proof, serve
from piplay.errors import InputError
from piplay.training.assemble import tiny_base
from piplay.types import PolicyRef

ASKED = [np.random.default_rng(number).integers(0, 400, 24) for number in range(4)]


def expected(engine: VllmEngine, policy: PolicyRef) -> list[np.ndarray]:
    return [logp_T[1:] for logp_T in engine.score(policy, [proof.sample(ids_T) for ids_T in ASKED])]


def held(engine: VllmEngine, policies: list[PolicyRef]) -> float:
    """The largest difference of what the sampler computes under its newest versions, side by side, from the trainer."""
    replica = engine._pool._replicas[0]
    found = replica.call("read", [(str(engine._version(ref)), ids_T) for ref in policies for ids_T in ASKED])
    return proof.apart(found, [logp_T for ref in policies for logp_T in expected(engine, ref)])[1]


def learn(engine: VllmEngine | LocalEngine, number: int) -> None:
    engine.train("student", [make_sample(10 * number + i) for i in range(4)], TEACHER_VIEW)


def write(engine: VllmEngine | LocalEngine, policies: list[str], tag: str, temperature: float = 0.0) -> dict:
    for name in policies:
        for number, ids in enumerate(contexts(8, seed=9)):
            engine.submit(request((tag, name, number), ids, 16, temperature, PolicyRef(name), stop=STOP))
    return drain(engine)


@pytest.mark.filterwarnings("ignore:samplers and trainer differ")
@pytest.mark.parametrize("rank", [0, 8])
def test_two_updates_arrive(rank: int, measured) -> None:
    engine = vllm(tiny_base(), rank)
    own = LocalEngine.start(tiny_base(), POLICIES, settings("local", rank), seed=0)
    kind = "adapters" if rank else "whole weights"
    policies = ["student", "teacher", "base"] if rank else ["student"]
    seconds, moved = [], 2 if rank else 1
    for number in range(5):
        for one in (engine, own):
            learn(one, number)
        began = engine._synced
        ours, theirs = (write(one, policies, f"greedy-{number}") for one in (engine, own))
        seconds.append((engine._synced - began) / moved)
        assert all(np.array_equal(made.ids, theirs[key].ids) for key, made in ours.items())
        difference = held(engine, [PolicyRef(name) for name in policies])
        assert difference <= 1e-3
        if number == 1:
            what = f"{kind}, after two updates"
            measured(f"{what}: greedy turns with the local engine's ids, of {len(ours)}", len(ours), f"{len(ours)}")
            measured(f"{what}: log-probabilities of sampler and trainer", difference, "at most 1e-3")
    median = statistics.median(seconds)
    measured(f"{kind}: seconds of a sync, the quickest of 5", min(seconds), "")
    measured(f"{kind}: seconds of a sync, in the median of 5", median, f"at most {0.05 if rank else 0.3}")
    assert median <= (0.05 if rank else 0.3)


def test_without_packing_the_tied_head_again_the_self_test_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "MODULE", "unpacked")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=":")
    with pytest.raises(InputError, match="does not write under the weights that it is given"):
        vllm(tiny_base())
