"""Search-R1 (arXiv 2503.09516): a solver learns to search from questions whose true answers are known.

It needs labels, which self-play does without: here it is the upper reference for the systems that have none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import PositiveInt

from piplay.envs.search.benchmarks import read_benchmark
from piplay.envs.search.environment import SearchEnvironment
from piplay.envs.search.match import exact_match
from piplay.envs.search.question import Question
from piplay.envs.search.values import same_value
from piplay.errors import InputError
from piplay.methods.pi_play.metrics import SOMETIMES, question_metrics, role_metrics
from piplay.methods.proposals import attempts
from piplay.protocols import Audit, Environment, Game
from piplay.rollout.context import Context
from piplay.streams import stream
from piplay.types import Episode, Key, ScoredTrajectory

HINT = "This cannot be read. Call the search tool with one query, or give the answer alone."


class LabelledQuestions:
    """A ``TaskSource`` of questions with true answers, every one once before any twice."""

    def __init__(
        self, environment: Environment, seed: int, *, file: Path | None = None, hops: tuple[int, ...] = ()
    ) -> None:
        """Take the environment's questions, or those of a file.

        Args:
            environment: the search environment; with a world it has questions, none of which is held out.
            seed: the run's.
            file: questions of one's own, as ``piplay eval --bench`` reads them (FlashRAG's .jsonl, Search-R1's
                .parquet). Whether they are disjoint from what is measured by is the caller's care.
            hops: the hop counts that are wanted; none: all.

        Raises:
            InputError: there are no such questions, or the file cannot be read.
        """
        known = environment.labelled if isinstance(environment, SearchEnvironment) else ()
        found = known if file is None else read_benchmark(file)
        self.tasks = [task for task in found if not hops or task.hops in hops]
        """The questions."""
        if not self.tasks:
            asked = f" of {', '.join(map(str, hops))} hops" if hops else ""
            raise InputError(
                f"the source search_r1:LabelledQuestions finds no questions with answers{asked}: take a world, or give "
                "a file"
            )
        self._seed = seed

    def draw(self, key: Key, count: int) -> list[Question]:
        """See ``TaskSource.draw``. Each round through the questions has an order of its own."""
        *phase, step = key
        first, size = int(step) * count, len(self.tasks)
        rounds = {
            place // size: stream(self._seed, (*phase, "order", place // size)).permutation(size)
            for place in range(first, first + count)
        }
        return [self.tasks[rounds[place // size][place % size]] for place in range(first, first + count)]

    def note(self, episodes: Sequence[Episode]) -> None:
        """Nothing to learn."""


@dataclass(frozen=True)
class Solve(Game):
    """Solvers on a question: 1 for the right answer, 0 for any other (its formula for the reward).

    Right is what SQuAD's rule lets pass where the question is a published benchmark's, else the same value.
    """

    rollouts: PositiveInt = 5
    """G, the samples a question."""
    hint: str = HINT
    """What a solver is told after a turn that cannot be read, and goes on; empty: its episode ends there."""
    roles = ("student",)
    headline: ClassVar[Mapping[str, str]] = {"accuracy": "accuracy", "student/kl_ref": "KL to the base"}
    sometimes: ClassVar[Sequence[str]] = ("student/kl_ref", *SOMETIMES)

    def cost(self) -> Mapping[str, int]:
        """See ``Game.cost``."""
        return {"student": self.rollouts}

    async def play(self, task: Question, context: Context) -> Episode:
        """Every sample of a question is of one group (GRPO)."""
        tries = await attempts(task, context, self.rollouts, self.hint)
        is_right = exact_match if task.published else same_value
        played = tuple(
            ScoredTrajectory(one, (*context.key, "students"), float(is_right(one.answer, task.answers)))
            for one in tries
        )
        return Episode(context.key, task, played, facts={"k": sum(one.reward for one in played)})

    def metrics(self, episodes: Sequence[Episode], audit: Audit | None) -> dict[str, float]:
        """Those of π-Play's students; and ``student/malformed``, the mean number of turns that could not be read."""
        turns = [one.trajectory.turns for episode in episodes for one in episode.trajectories]
        malformed = float(np.mean([sum(turn.malformed for turn in said) for said in turns]))
        return role_metrics(episodes) | question_metrics(episodes, audit) | {"student/malformed": malformed}
