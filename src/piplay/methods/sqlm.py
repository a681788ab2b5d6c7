"""SQLM, self-questioning language models (arXiv 2508.03682): the majority of a solver's samples is the answer.

The proposer's own answer is thrown away. Nobody checks anything: what most samples say is right, and a question is
worth asking where some agree and not all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from pydantic import PositiveInt

from piplay.envs.search.question import Question
from piplay.methods.judges import VOTED_SOMETIMES, Ballot, vote, vote_metrics
from piplay.methods.pi_play.metrics import SOMETIMES, question_metrics, role_metrics
from piplay.methods.proposals import answers_of, attempts, propose
from piplay.protocols import Audit, Game
from piplay.rollout.context import Context
from piplay.types import Episode, ScoredTrajectory


@dataclass(frozen=True)
class SelfQuestion(Game):
    """Proposer and solvers, who learn in the same step."""

    samples: PositiveInt = 4
    """N, the solver samples a question."""
    roles = ("examiner", "student")
    headline: ClassVar[Mapping[str, str]] = {
        "examiner/reward": "some agree, not all",
        "majority_share": "majority",
        "label_accuracy": "labels true",
    }
    sometimes: ClassVar[Sequence[str]] = (*SOMETIMES, *VOTED_SOMETIMES)

    def cost(self) -> Mapping[str, int]:
        """See ``Game.cost``."""
        return {"examiner": 1, "student": self.samples}

    async def play(self, task: Question, context: Context) -> Episode:
        """The hop count takes the place of the paper's topic, so proposers of one hop count are one group.

        A proposal that cannot be read gets 0 and is not learnt from.
        """
        draft, trajectory = await propose(task, context)
        proposed = ScoredTrajectory(trajectory, ("hops", task.hops))
        if not draft.question:
            return Episode(context.key, task, (replace(proposed, weight=0.0),), facts={"gate": "format"})
        tries = await attempts(draft, context, self.samples)
        ballot = vote(answers_of(tries))
        group = (*context.key, "students")
        solvers = [ScoredTrajectory(one, group, float(ballot.agrees(one.answer))) for one in tries]
        proposed = replace(proposed, reward=proposer_reward(ballot))
        labelled = replace(draft, answers=(ballot.majority,))
        return Episode(
            context.key,
            task,
            (proposed, *solvers),
            written=(labelled,) if ballot.majority else (),
            facts={"gate": "", "k": float(ballot.votes), "n": float(ballot.size), "majority": ballot.share},
        )

    def metrics(self, episodes: Sequence[Episode], audit: Audit | None) -> dict[str, float]:
        """π-Play's, with the majority in the place of the answer, and ``vote_metrics``."""
        return role_metrics(episodes) | question_metrics(episodes, audit) | vote_metrics(episodes, audit)


def proposer_reward(ballot: Ballot) -> float:
    """1 where 1 < #majority < N, else 0: the authors' code. The paper states 0 < #majority < N."""
    return float(1 < ballot.votes < ballot.size)
