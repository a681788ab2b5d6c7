"""What systems have in common in which one proposes a question and others try it.

Roles are π-Play's, ``examiner`` and ``student``, so that prompts, metrics and reports know them; what a paper calls a
challenger, a proposer or a solver is the name of a policy in its recipe.
"""

from __future__ import annotations

from collections.abc import Sequence

from piplay.envs.search.question import Question
from piplay.methods.pi_play.gates import seed_passage, written_question
from piplay.methods.pi_play.views import EXAMINER, STUDENT, examiner_view, student_view
from piplay.rollout.context import Context
from piplay.types import Trajectory


async def propose(task: Question, context: Context) -> tuple[Question, Trajectory]:
    """What the examiner writes from a seed passage, and its trajectory; the question is empty where it wrote none."""
    system, view = context.system("examiner", EXAMINER), examiner_view(seed_passage(task), task.hops)
    trajectory = await context.child("examiner").converse("examiner", system, view)
    return written_question(task, trajectory), trajectory


async def attempts(question: Question, context: Context, count: int, hint: str = "") -> list[Trajectory]:
    """So many students' trajectories on a question; ``hint``: see ``Context.converse``."""
    system, view = context.system("student", STUDENT), student_view(question.question)
    return await context.gather(
        context.child("student", i).converse("student", system, view, hint) for i in range(count)
    )


def answers_of(tries: Sequence[Trajectory]) -> list[str]:
    """What was answered, empty where nothing was; a try whose tool failed says nothing and is left out."""
    return [one.answer for one in tries if not one.tool_failed]
