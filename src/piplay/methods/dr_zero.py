"""Dr. Zero (arXiv 2601.07055): π-Play's examiner and student without a teacher, and with the best of several drafts.

The challenger is ``pi_play:Examine`` with the gates of its format reward alone; the solver learns by
``pi_play:Study`` from the reward alone. What is its own is how the frozen challenger writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pydantic import PositiveInt

from piplay.envs.search.question import Question
from piplay.envs.search.words import beginning
from piplay.methods.pi_play.game import Examine
from piplay.rollout.context import Context
from piplay.types import Episode


@dataclass
class Write(Examine):
    """Several drafts a seed passage, of which the one with the highest format score r_f (formula 1) is kept."""

    samples: PositiveInt = 5
    """Drafts a seed passage."""
    words: PositiveInt = 50
    """Of a question; what is beyond is cut off."""

    def cost(self) -> Mapping[str, int]:
        """See ``Game.cost``."""
        return {role: self.samples * most for role, most in super().cost().items()}

    async def play(self, task: Question, context: Context) -> Episode:
        """The episode of the best draft, of equal ones the first; the others' trajectories stand behind its own."""
        drafts = await context.gather(self._draft(task, context.child("draft", i)) for i in range(self.samples))
        best = max(drafts, key=lambda draft: float(draft.facts["r_f"]) if draft.written else -1.0)
        others = [one for draft in drafts if draft is not best for one in draft.trajectories]
        written = tuple(
            replace(one, question=beginning(" ".join(one.question.split()), self.words))
            for one in best.written
            if isinstance(one, Question)
        )
        return replace(best, key=context.key, trajectories=(*best.trajectories, *others), written=written)

    async def _draft(self, task: Question, context: Context) -> Episode:
        return await super().play(task, context)
