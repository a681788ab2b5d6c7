"""A benchmark as a task of Inspect, answered by a served agent.

    piplay serve runs/pi-play-1
    PIPLAY_BASE_URL=http://127.0.0.1:8001/v1 PIPLAY_API_KEY=none inspect eval examples/serve/inspect_task.py \
        --model openai-api/piplay/pi-play-1 -T bench=nq.jsonl

The agent searches where it is served, so there is no tool here, and it is asked greedily. ``bench`` is any file that
``piplay eval --bench`` takes; an answer is right by SQuAD's rule, as ``piplay eval`` counts published benchmarks.
"""

from pathlib import Path

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.scorer import CORRECT, INCORRECT, Score, Scorer, Target, accuracy, scorer, stderr
from inspect_ai.solver import TaskState, generate

from piplay.envs.search.benchmarks import read_benchmark
from piplay.envs.search.match import exact_match


@scorer(metrics=[accuracy(), stderr()])
def squad() -> Scorer:
    """Exact match with any gold answer."""

    async def score(state: TaskState, target: Target) -> Score:
        answer = state.output.completion
        return Score(value=CORRECT if exact_match(answer, list(target)) else INCORRECT, answer=answer)

    return score


@task
def benchmark(bench: str) -> Task:
    """One question a sample."""
    questions = read_benchmark(Path(bench), strict=False)
    samples = [Sample(id=one.id, input=one.question, target=list(one.answers)) for one in questions]
    return Task(dataset=MemoryDataset(samples, name=Path(bench).stem), solver=generate(), scorer=squad())
