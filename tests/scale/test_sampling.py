"""Turns of vLLM beside the local engine's and transformers' (SCALE 1), and what is cached between turns (3)."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from engines import ROOT, local, vllm
from transformers import AutoModelForCausalLM
from turns import STOP, request

from piplay.engine.protocol import Engine
from piplay.engine.vllm import VllmEngine
from piplay.envs.search.benchmarks import first_of_each_hop, task_of
from piplay.envs.search.bm25 import BM25Searcher
from piplay.envs.search.tool import SEARCH, SearchTool
from piplay.envs.world.store import default_world
from piplay.methods.pi_play.evaluation import play_student
from piplay.rollout.stage import Stage
from piplay.settings import Limits
from piplay.training.assemble import load_chat, tiny_base
from piplay.types import Key, Owner, Trajectory

SMOLLM2 = ROOT / "data" / "wikipedia" / "model"


def study(
    model: Path, engine: Engine, temperature: float, questions: int = 20, samples: int = 5
) -> dict[Key, Trajectory]:
    """Rollouts of held-out questions by their keys."""
    world = default_world()
    tasks = first_of_each_hop([task_of(question) for question in world.heldout], questions // 4)
    tools = {"search": SearchTool(BM25Searcher(world.passages, title_weight=None))}
    stage = Stage(engine, load_chat(model, tools=(SEARCH,)), tools, Limits(turns=5))
    episodes = play_student(stage, "student", tasks, ("scale",), samples=samples, temperature=temperature)
    return {one.trajectory.key: one.trajectory for episode in episodes for one in episode.trajectories}


def alike(ours: dict[Key, Trajectory], theirs: dict[Key, Trajectory]) -> tuple[int, float]:
    """How many trajectories have the same ids, and the largest difference of log-probabilities among those."""
    assert ours.keys() == theirs.keys()
    same = [key for key in ours if np.array_equal(ours[key].ids_T, theirs[key].ids_T)]
    return len(same), max(float(np.abs(ours[key].logprobs_T - theirs[key].logprobs_T).max()) for key in same)


@torch.no_grad()
def from_plain(model: Path, played: dict[Key, Trajectory], most: int = 40) -> float:
    """The largest difference from transformers' own log-probabilities."""
    plain = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    found = 0.0
    for one in list(played.values())[:: max(1, len(played) // most)]:
        logp_T_V = plain(torch.from_numpy(one.ids_T)[None]).logits[0].log_softmax(-1)
        written = np.flatnonzero(one.owner_T == Owner.MODEL)
        expected = logp_T_V[written - 1, one.ids_T[written]].numpy()
        found = float(np.maximum(found, np.abs(one.logprobs_T[written] - expected).max()))
    return found


def test_rollouts_are_the_local_engines(whole: VllmEngine, measured) -> None:
    own = local(tiny_base())
    for temperature, samples, most in ((1.0, 5, 100), (0.0, 1, 20)):
        ours, theirs = (study(tiny_base(), engine, temperature, samples=samples) for engine in (whole, own))
        same, difference = alike(ours, theirs)
        what = f"rollouts at T = {temperature:g}"
        measured(f"{what} with the local engine's ids, of {most}", same, f"at least {0.99 * most:g}")
        measured(f"log-probabilities of theirs at T = {temperature:g}", difference, "at most 1e-4")
        assert len(ours) == most
        assert same >= 0.99 * most
        assert difference <= 1e-4
        plain = from_plain(tiny_base(), ours)
        measured(f"log-probabilities and transformers' at T = {temperature:g}", plain, "at most 1e-3")
        assert plain <= 1e-3


def test_a_second_turn_finds_its_prefix_and_none_after_a_sync(whole: VllmEngine, measured) -> None:
    rng = np.random.default_rng(3)
    ids = rng.integers(5, 400, 149)

    def shared(name: str) -> int:
        before = whole.usage().shared
        whole.submit(request((name,), ids, max_new=4, stop=STOP))
        whole.ready()
        return whole.usage().shared - before

    assert shared("first") == 0
    again = shared("again")
    measured("cached tokens of a prompt of 149, the second time", again, "above 0")
    assert again > 0
    whole.train("student", [], {})
    behind = shared("behind a sync")
    measured("the same behind a sync", behind, "0")
    assert behind == 0


def test_half_precision(measured) -> None:
    """The engine starts, so the self-test of bfloat16 was passed and its control failed."""
    engine = vllm(tiny_base(), dtype="bfloat16")
    measured("bfloat16: mean difference of log-probabilities in the self-test", engine._usual, "at most 0.03")
    assert engine._usual <= 0.03
    assert len(study(tiny_base(), engine, 1.0, questions=4, samples=1)) == 4


@pytest.mark.skipif(not SMOLLM2.is_dir(), reason="make wikipedia-data")
def test_a_real_model(measured) -> None:
    """SmolLM2-135M in float32: the same rollouts by both, and their rates. In bfloat16 the local engine refuses it."""
    played, rates = [], []
    for engine in (vllm(SMOLLM2), local(SMOLLM2)):
        began, before = time.perf_counter(), engine.usage().drawn
        played.append(study(SMOLLM2, engine, 1.0, questions=4, samples=3))
        rates.append((engine.usage().drawn - before) / (time.perf_counter() - began))
    same, difference = alike(*played)
    measured("SmolLM2: rollouts with the local engine's ids, of 12", same, "12 (SCALE: 99 of 100)")
    measured("SmolLM2: log-probabilities of these", difference, "at most 1e-4")
    measured("SmolLM2: tokens/s of vLLM", rates[0], "")
    measured("SmolLM2: tokens/s of the local engine", rates[1], "")
    assert difference <= 1e-4
