"""Search self-play, after SSP (arXiv 2510.18821): a proposer and its solvers learn against each other, in one phase.

The proposer starts from a passage, searches on and writes a question. It is rewarded for what the solvers cannot
answer, each solver for the right answer. So that the proposer gains nothing by what nobody could answer, a solver who
is shown the path has to arrive at the proposer's answer first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from pydantic import PositiveInt

from piplay.envs.search.match import exact_match
from piplay.envs.search.question import Question
from piplay.methods.pi_play.gates import passes, seed_passage, written_question
from piplay.methods.pi_play.views import EXAMINER, STUDENT, examiner_view, student_view, teacher_view
from piplay.protocols import Audit, Game
from piplay.rollout.context import Context
from piplay.types import Episode, ScoredTrajectory


@dataclass
class SelfPlay(Game):
    """One proposer against several solvers."""

    solvers: PositiveInt = 5
    roles = ("proposer", "solver")
    headline: ClassVar[Mapping[str, str]] = {"accuracy": "solver accuracy", "passed": "passed", "true": "true"}
    sometimes: ClassVar[Sequence[str]] = ("accuracy", "true", "gate/*")

    def cost(self) -> Mapping[str, int]:
        return {"proposer": 1, "solver": 1 + self.solvers}

    async def play(self, task: Question, context: Context) -> Episode:
        seed = seed_passage(task)
        view = examiner_view(seed, task.hops)
        trajectory = await context.child("proposer").converse("proposer", EXAMINER, view)
        draft, proposed = written_question(task, trajectory), ScoredTrajectory(trajectory, group=("hops", task.hops))
        for gate in ("format", "leak", "grounded"):
            if not passes(gate, draft, trajectory, seed, set()):
                return Episode(context.key, task, (proposed,), facts={"gate": gate})
        shown = await context.child("check").converse("solver", STUDENT, teacher_view(draft.question, draft.path))
        if not exact_match(shown.answer, draft.answers):
            return Episode(context.key, task, (proposed,), facts={"gate": "solvable"})
        tries = await context.gather(
            context.child("solver", i).converse("solver", STUDENT, student_view(draft.question))
            for i in range(self.solvers)
        )
        group = (*context.key, "solvers")
        solvers = [ScoredTrajectory(one, group, float(exact_match(one.answer, draft.answers))) for one in tries]
        right = sum(solver.reward for solver in solvers)
        proposed = replace(proposed, reward=1 - right / len(solvers))
        return Episode(context.key, task, (proposed, *solvers), written=(draft,), facts={"gate": "", "right": right})

    def metrics(self, episodes: Sequence[Episode], audit: Audit | None) -> dict[str, float]:
        """How many questions pass, which gate refuses the others, how many are answered, and how many are true."""
        tried = [episode for episode in episodes if episode.written]
        row: dict[str, float] = {"passed": len(tried) / len(episodes)}
        row |= Counter(f"gate/{episode.facts['gate'] or 'passed'}" for episode in episodes)
        if tried:
            row["accuracy"] = sum(float(episode.facts["right"]) for episode in tried) / (len(tried) * self.solvers)
            if audit is not None:
                row["true"] = sum(audit(episode.written[0]) == "true" for episode in tried) / len(tried)
        return row
