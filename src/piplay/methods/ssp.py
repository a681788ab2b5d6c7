"""SSP, search self-play (arXiv 2510.18821): one policy proposes and solves, and learns from both in every step.

So that the proposer is not rewarded for what nobody could answer, a frozen reader has to find the answer among what the
proposer saw and what other proposers saw. A refused proposal's place is taken by an earlier one, so that solvers always
have as many questions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import NonNegativeInt, PositiveInt

from piplay.envs.search.question import Question, show
from piplay.envs.search.tool import passages_of, query_of, searches
from piplay.envs.search.values import canonical, same_value
from piplay.envs.search.words import length
from piplay.methods.pi_play.gates import passes, seed_passage, written_question
from piplay.methods.pi_play.metrics import SOMETIMES, question_metrics, role_metrics
from piplay.methods.pi_play.views import STUDENT, student_view
from piplay.methods.proposals import answers_of, attempts, propose
from piplay.protocols import Audit, Game
from piplay.rollout.context import Context
from piplay.types import Episode, ScoredTrajectory, State, Trajectory

CHARACTERS = range(10, 1001)
"""How long a question may be."""


@dataclass
class SearchSelfPlay(Game):
    """Proposer against solvers, with a reader between them."""

    state: State
    """``shown``, what the proposers of the last step saw; ``pool``, admitted questions; ``step``."""
    solvers: PositiveInt = 5
    """G, the solver samples a question."""
    check: Literal["passages", "path", "none"] = "passages"
    """What the reader sees. ``passages``: as in the paper, all passages that the proposer saw; it answers at once,
    without a search. ``path``: the proposer's searches and notes, and it may search, for a model that only knows how to
    read these."""
    noise: NonNegativeInt = 4
    """How much of the same from other proposers stands among it."""
    refill: Literal["pool", "none"] = "pool"
    """Whether a refused proposal's place is taken."""
    reset: PositiveInt = 10
    """Steps after which the pool is emptied."""
    min_words: PositiveInt = 10
    """Of a question."""
    min_searches: NonNegativeInt = 2
    """Of a proposer, all of them different, each with a result."""
    headline: ClassVar[Mapping[str, str]] = {
        "examiner/reward": "proposer reward",
        "accuracy": "solver accuracy",
        "refused": "refused",
        "true": "true",
    }
    sometimes: ClassVar[Sequence[str]] = SOMETIMES

    @property
    def roles(self) -> tuple[str, ...]:  # type: ignore[override]
        """The roles that write, by its options."""
        return ("examiner", "student", *(["reader"] if self.check != "none" else []))

    def cost(self) -> Mapping[str, int]:
        """See ``Game.cost``."""
        return {"examiner": 1, "student": self.solvers, "reader": int(self.check != "none")}

    async def play(self, task: Question, context: Context) -> Episode:
        """Propose, read, solve: the proposer gets 1 − mean solver success, each solver 1 or 0."""
        draft, trajectory = await propose(task, context)
        played = [ScoredTrajectory(trajectory, ("proposers",))]
        gate = self._refused_by(draft, trajectory)
        if not gate and self.check != "none":
            read = await self._read(draft, trajectory, context)
            played.append(ScoredTrajectory(read, ("readers",), float(same_value(read.answer, draft.answers))))
            gate = "" if played[-1].reward else "read"
        asked = self._refill(context) if gate else draft
        if asked is None:
            return Episode(context.key, task, tuple(played), facts={"gate": gate})
        tries = await attempts(asked, context, self.solvers)
        right = [same_value(answer, asked.answers) for answer in answers_of(tries)]
        facts: dict[str, float | str] = {"gate": gate, "k": float(sum(right)), "n": float(len(right))}
        group = (*context.key, "students")
        solved = [ScoredTrajectory(one, group, float(same_value(one.answer, asked.answers))) for one in tries]
        if gate:
            return Episode(context.key, task, (*played, *solved), facts=facts)
        played[0] = replace(played[0], reward=1 - sum(right) / len(right) if right else 0.0)
        return Episode(context.key, task, (*played, *solved), written=(draft,), facts=facts)

    def _refused_by(self, draft: Question, trajectory: Trajectory) -> str:
        """The first rule that the proposal breaks; empty where it breaks none."""
        for gate in ("format", "leak", "grounded"):
            if not passes(gate, draft, trajectory, seed_passage(draft), set()):
                return gate
        if len(draft.question) not in CHARACTERS or length(draft.question) < self.min_words:
            return "length"
        uses = searches(trajectory)
        queries = {canonical(query_of(use.call)) for use in uses}
        found = all(passages_of(use) for use in uses)
        return "" if found and len(queries) == len(uses) >= self.min_searches else "searches"

    async def _read(self, draft: Question, trajectory: Trajectory, context: Context) -> Trajectory:
        """The reader's answer to what it is shown, its own lines and the others' in random order."""
        own = self._shown(draft, trajectory)
        rng = context.rng("noise")
        others = [line for line in self.state.get("shown", ()) if line not in own]
        picked = rng.permutation(len(others))[: self.noise]
        lines = [*own, *(others[place] for place in picked)]
        mixed = " ".join(lines[place] for place in rng.permutation(len(lines)))
        system, question = context.system("student", STUDENT), student_view(draft.question)
        if self.check == "path":
            return await context.child("reader").converse("reader", system, f"{question} Path: {mixed}")
        line = context.child("reader").open("reader", system, f"{question} Passages: {mixed}")
        await line.say()
        return await line.close()

    def _shown(self, draft: Question, trajectory: Trajectory) -> list[str]:
        """The lines that a proposal adds to what readers see."""
        if self.check == "path":
            return [f"{step.query} > {step.evidence}" for step in draft.path]
        passages = [seed_passage(draft), *(one for use in searches(trajectory) for one in passages_of(use))]
        return list(dict.fromkeys(show([passage]) for passage in passages))

    def _refill(self, context: Context) -> Question | None:
        """An earlier question in the place of a refused one; None where there is none."""
        pool = self.state.get("pool", ())
        if self.refill == "none" or not pool:
            return None
        question, answer = pool[context.rng("refill").integers(len(pool))]
        return Question("/".join(map(str, context.key)), question=question, answers=(answer,))

    def finalize_batch(self, episodes: Sequence[Episode]) -> list[Episode]:
        """Remember what proposers saw and what was admitted."""
        shown: list[str] = []
        admitted: list[list[str]] = []
        for episode in episodes:
            assert isinstance(episode.task, Question)
            trajectory = episode.trajectories[0].trajectory
            draft = written_question(episode.task, trajectory)
            shown += self._shown(draft, trajectory)
            admitted += [[draft.question, draft.answers[0]]] if episode.written else []
        self.state["step"] = self.state.get("step", 0) + 1
        self.state["shown"] = list(dict.fromkeys(shown))
        self.state["pool"] = [] if self.state["step"] % self.reset == 0 else [*self.state.get("pool", ()), *admitted]
        return list(episodes)

    def metrics(self, episodes: Sequence[Episode], audit: Audit | None) -> dict[str, float]:
        """π-Play's, without the tries at refilled questions; and ``refused`` and ``refilled``, shares of the step."""
        fresh = [e if e.written else replace(e, trajectories=e.trajectories[:1]) for e in episodes]
        return (
            role_metrics(episodes)
            | question_metrics(fresh, audit)
            | {
                "refused": float(np.mean([not e.written for e in episodes])),
                "refilled": float(np.mean([not e.written and "k" in e.facts for e in episodes])),
            }
        )
