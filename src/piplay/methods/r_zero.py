"""R-Zero (arXiv 2508.05004): a challenger asks what the solver is unsure of, who learns its own majority.

``Challenge`` trains the challenger, and writes the task set once it is frozen; ``Solve`` trains the solver on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import PositiveInt

from piplay.envs.search.question import Question
from piplay.envs.search.values import canonical
from piplay.methods.alike import cluster_shares
from piplay.methods.judges import VOTED_SOMETIMES, vote, vote_metrics
from piplay.methods.pi_play.game import Study
from piplay.methods.pi_play.gates import written_question
from piplay.methods.pi_play.metrics import SOMETIMES, question_metrics, role_metrics
from piplay.methods.pi_play.privilege import Privilege
from piplay.methods.proposals import answers_of, attempts, propose
from piplay.protocols import Audit, Game
from piplay.rollout.context import Context
from piplay.types import Episode, ScoredTrajectory, Trajectory

FORMAT = 0.1
"""The share of the solver's reward that its form makes."""


@dataclass(frozen=True)
class Challenge(Game):
    """Challenger against solvers, who vote."""

    samples: PositiveInt = 10
    """Solver samples a question."""
    form: Literal["code", "paper"] = "code"
    """Of the challenger's reward (see ``challenger_reward``)."""
    band: tuple[float, float] = (0.3, 0.8)
    """Of s, the majority's share: a question within it is kept with the majority as its answer."""
    roles = ("examiner", "student")
    headline: ClassVar[Mapping[str, str]] = {
        "examiner/reward": "challenger reward",
        "majority_share": "majority",
        "cluster_share": "cluster",
        "label_accuracy": "labels true",
    }
    sometimes: ClassVar[Sequence[str]] = (*SOMETIMES, *VOTED_SOMETIMES, "distinct")

    def cost(self) -> Mapping[str, int]:
        """See ``Game.cost``."""
        return {"examiner": 1, "student": self.samples}

    async def play(self, task: Question, context: Context) -> Episode:
        """The hop count takes the place of the paper's fixed prompt: challengers of one hop count are one group."""
        draft, trajectory = await propose(task, context)
        challenger = ScoredTrajectory(trajectory, ("hops", task.hops))
        if not draft.question:
            return Episode(context.key, task, (challenger,), facts={"gate": "format"})
        tries = await attempts(draft, context, self.samples)
        ballot = vote(answers_of(tries))
        group = (*context.key, "students")
        solvers = [ScoredTrajectory(one, group, float(ballot.agrees(one.answer))) for one in tries]
        kept = self.band[0] <= ballot.share <= self.band[1]
        return Episode(
            context.key,
            task,
            (challenger, *solvers),
            written=(replace(draft, answers=(ballot.majority,)),) if kept else (),
            facts={
                "gate": "" if kept else "band",
                "k": float(ballot.votes),
                "n": float(ballot.size),
                "majority": ballot.share,
            },
        )

    def finalize_batch(self, episodes: Sequence[Episode]) -> list[Episode]:
        """Reward challengers: c, the share of the batch that a question's cluster makes, is known only now."""
        final = []
        for episode, cluster in zip(episodes, cluster_shares([_question(e) for e in episodes]), strict=True):
            share = float(episode.facts["majority"]) if "majority" in episode.facts else None
            challenger, *solvers = episode.trajectories
            challenger = replace(challenger, reward=challenger_reward(share, cluster, self.form))
            facts = {**episode.facts, "cluster": cluster}
            final.append(replace(episode, trajectories=(challenger, *solvers), facts=facts))
        return final

    def metrics(self, episodes: Sequence[Episode], audit: Audit | None) -> dict[str, float]:
        """π-Play's, with the majority in the place of the answer, ``vote_metrics``, and how alike the questions are.

        ``cluster_share`` is the mean of c, ``distinct`` the share of questions that no other of the step repeats.
        """
        asked = [canonical(question) for question in map(_question, episodes) if question]
        row = role_metrics(episodes) | question_metrics(episodes, audit) | vote_metrics(episodes, audit)
        row["cluster_share"] = float(np.mean([float(e.facts["cluster"]) for e in episodes]))
        return row | ({"distinct": len(set(asked)) / len(asked)} if asked else {})


@dataclass
class Solve(Study):
    """Solvers on a question and its voted answer: .9 · correct + .1 · format."""

    privilege: Privilege = "none"
    """No teacher reads it."""

    async def play(self, task: Question, context: Context) -> Episode:
        """See ``Study.play``."""
        episode = await super().play(task, context)
        scored = [
            replace(one, reward=(1 - FORMAT) * one.reward + FORMAT * well_formed(one.trajectory))
            for one in episode.trajectories
        ]
        return replace(episode, trajectories=tuple(scored))

    def metrics(self, episodes: Sequence[Episode], audit: Audit | None) -> dict[str, float]:
        """Those of ``Study``, of the correct part of the reward alone."""
        plain = [
            replace(e, trajectories=tuple(replace(one, reward=float(one.reward > 0.5)) for one in e.trajectories))
            for e in episodes
        ]
        return super().metrics(plain, audit)


def challenger_reward(share: float | None, cluster: float, form: str) -> float:
    """The challenger's reward.

    Args:
        share: s, the share of the solver's samples that give the majority's answer; None where the question cannot be
            read.
        cluster: c, the share of the batch that asks alike.
        form: ``code``: min(s, 1 − s) − c, and −1 − c without a question. ``paper``: max(0, 1 − 2|s − ½| − c), and 0
            without a question.
    """
    if form == "paper":
        return 0.0 if share is None else max(0.0, 1 - 2 * abs(share - 0.5) - cluster)
    return (-1.0 if share is None else min(share, 1 - share)) - cluster


def well_formed(trajectory: Trajectory) -> bool:
    """Whether a solver thought in every turn and answered."""
    return bool(trajectory.answer) and all(turn.think for turn in trajectory.turns)


def _question(episode: Episode) -> str:
    """What an episode's challenger asked, kept or not."""
    assert isinstance(episode.task, Question)
    return written_question(episode.task, episode.trajectories[0].trajectory).question
