"""Search self-play, after SSP (arXiv 2510.18821): a proposer and its solvers learn against each other, in one phase.

The proposer starts from a passage, searches on and writes a question. It is paid for what the solvers cannot answer,
each solver for the right answer. So that the proposer is not paid for what nobody could answer, a solver who is shown
the path has to arrive at the proposer's answer first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pydantic import PositiveInt

from piplay.envs.search.match import exact_match
from piplay.methods.pi_play.game import (
    EXAMINER,
    STUDENT,
    examiner_view,
    passes,
    student_view,
    teacher_view,
    written_task,
)
from piplay.rollout.context import Context
from piplay.types import Episode, Memory, Seat, Task


@dataclass
class SelfPlay:
    """Proposer, in the examiner's seat, against solvers, in the student's."""

    memory: Memory
    solvers: PositiveInt = 5
    roles = ("examiner", "student")

    async def play(self, task: Task, context: Context) -> Episode:
        assert task.source is not None  # tasks = "seeds"
        story = await context.child("examiner").converse("examiner", EXAMINER, examiner_view(task.source, task.hops))
        draft, proposed = written_task(task, story), Seat(story, group=("hops", task.hops))
        for gate in ("format", "leak", "grounded"):
            if not passes(gate, draft, story, task.source, set()):
                return Episode(context.key, task, (proposed,), gate=gate)
        shown = await context.child("check").converse("student", STUDENT, teacher_view(draft.question, draft.path))
        if not exact_match(shown.answer, draft.answers):
            return Episode(context.key, task, (proposed,), gate="solvable")
        tries = await context.gather(
            context.child("student", i).converse("student", STUDENT, student_view(draft.question))
            for i in range(self.solvers)
        )
        group = (*context.key, "students")
        solvers = tuple(Seat(story, group, float(exact_match(story.answer, draft.answers))) for story in tries)
        right = sum(solver.reward for solver in solvers)
        proposed = replace(proposed, reward=1 - right / len(solvers))
        facts = {"k": right, "n": float(len(solvers))}
        return Episode(context.key, task, (proposed, *solvers), written=draft, facts=facts)

    def settle(self, episodes: Sequence[Episode]) -> list[Episode]:
        return list(episodes)
