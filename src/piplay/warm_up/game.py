"""The game of lessons: what is to be written stands already, and is learnt by likelihood."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from piplay.envs.search.tool import SEARCH
from piplay.protocols import Audit, Game
from piplay.rollout.context import Context
from piplay.types import Episode, ScoredTrajectory
from piplay.warm_up.lesson import Lesson


@dataclass(slots=True)
class Teach(Game):
    """A lesson in the chat's own tokens, for the loss ``nll``; what limits leave no room for is cut."""

    headline: ClassVar[Mapping[str, str]] = {"learner/nll": "loss"}
    sometimes: ClassVar[Sequence[str]] = ("lessons/*",)

    prompts: Mapping[str, str] = field(default_factory=dict)
    """System prompts by role (``student``, ``examiner``, …), where those of the runs to come are not the games' own."""
    roles = ("learner",)

    async def play(self, task: Lesson, context: Context) -> Episode:
        """Nobody plays: the lesson is put down turn by turn."""
        line = context.open("learner", self.prompts.get(task.role, task.system), task.view)
        for number, said in enumerate(task.said):
            line.put(context.chat.phrase(said.think, said.content, said.call))
            if number < len(task.found) and not line.told(SEARCH.name, task.found[number]):
                break
        return Episode(context.key, task, (ScoredTrajectory(await line.close(), context.key),))

    def metrics(self, episodes: Sequence[Episode], audit: Audit | None) -> dict[str, float]:
        """How many lessons there are of each kind, as ``lessons/KIND``, hop counts together."""
        counts = Counter(e.task.teaches.rstrip("1234") for e in episodes if isinstance(e.task, Lesson))
        return {f"lessons/{kind}": float(count) for kind, count in sorted(counts.items())}
