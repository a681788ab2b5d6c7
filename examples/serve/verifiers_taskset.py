"""A benchmark as a taskset of verifiers (v1), for an agent behind ``piplay serve``.

The agent searches where it is served, so that a rollout is one question and one answer. ``bench`` is any file that
``piplay eval --bench`` takes; the reward is 1 for an answer that is right by SQuAD's rule. From this folder, with
verifiers 0.4 and piplay installed, and ``piplay serve RUN`` at 127.0.0.1:8000::

    vf-eval verifiers_taskset --env.taskset.bench FILE --env.agent.harness.id null --env.agent.runtime.type subprocess \
        --client.base-url http://127.0.0.1:8000/v1 --client.api-key-var USER -m NAME --no-push
"""

from collections.abc import Iterable
from pathlib import Path

import verifiers.v1 as vf

from piplay.envs.search.benchmarks import read_benchmark
from piplay.envs.search.match import exact_match

__all__ = ["BenchmarkTaskset"]


class BenchmarkConfig(vf.TasksetConfig):
    """What is asked."""

    bench: str = ""
    """A file of questions with gold answers: ``--env.taskset.bench FILE``."""


class QuestionData(vf.TaskData):
    """A question with its answers."""

    answers: list[str]


class QuestionTask(vf.Task[QuestionData, vf.State, vf.TaskConfig]):
    """Asks it, and compares."""

    @vf.reward
    async def exact_match(self, trace: vf.Trace) -> float:
        """Whether the last reply is a gold answer."""
        return float(exact_match(trace.last_reply, self.data.answers))


class BenchmarkTaskset(vf.Taskset[QuestionTask, BenchmarkConfig]):
    """The questions of a file, in its order."""

    def load(self) -> Iterable[QuestionTask]:
        """One task a question."""
        for one in read_benchmark(Path(self.config.bench), strict=False):
            data = QuestionData(id=one.id, prompt=one.question, answers=list(one.answers))
            yield QuestionTask(data, self.config.task)
