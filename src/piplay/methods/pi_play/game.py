"""π-Play's games (arXiv 2604.14054). The formulas are numbered as in docs/method.md.

``Examine``: an examiner starts from a seed passage, searches on, and writes a question with its answer; where every
gate passes, students try it and the examiner is rewarded for difficulty. ``Study``: students answer a written question
and are rewarded for the exact answer; each rollout carries the teacher's prompt, the question with the path by which it
was made or what stands for it (``privilege.py``). ``PrivilegedStudy``: the teacher itself plays, path in hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt

from piplay.envs.search.question import Passage, Question
from piplay.envs.search.tool import passages_of, searches
from piplay.envs.search.values import canonical
from piplay.errors import InputError
from piplay.methods.pi_play.conduct import conduct_metrics
from piplay.methods.pi_play.gates import (
    READ_GATES,
    USUAL_GATES,
    Gate,
    confirms,
    contested,
    passes,
    seed_passage,
    written_question,
)
from piplay.methods.pi_play.hooks import SAME_VALUE, ImportPath, Reward, load_gates, load_reward
from piplay.methods.pi_play.hooks import Gate as OwnGate
from piplay.methods.pi_play.metrics import SOMETIMES, question_metrics, role_metrics
from piplay.methods.pi_play.privilege import Privilege, privileged_prompt, shown
from piplay.methods.pi_play.rewards import difficulty_reward, format_score
from piplay.methods.pi_play.views import (
    CHECKER,
    EXAMINER,
    READER,
    STUDENT,
    checker_view,
    examiner_view,
    privileged_view,
    reader_view,
    student_view,
)
from piplay.protocols import Audit, Game, Healthy
from piplay.rollout.context import Context
from piplay.types import Episode, Key, ScoredTrajectory, State, Trajectory

HEADLINE = {
    "examiner/reward": "examiner reward",
    "accuracy": "student accuracy",
    "true": "true",
    "student/distill_kl": "KL to the teacher",
    "teacher/em": "teacher EM",
}


HEALTHY = (
    Healthy(
        metric="true",
        low=0.7,
        steps=3,
        advice="the examiner writes what is not true: lower its rate, add gates, or see whether it can read this data",
    ),
    Healthy(
        metric="false_agreement",
        high=0.1,
        steps=3,
        advice="examiner and students agree on what is not true: add gates, or stop earlier",
    ),
    Healthy(
        metric="gate/duplicate",
        high=0.5,
        share_of="gate/*",
        steps=2,
        advice="the examiner asks the same again: it collapses, or the seed passages are used up; lower its rate, or "
        "write fewer",
    ),
    Healthy(
        metric="teacher/em",
        low=0.8,
        of="base",
        advice="the teacher forgets how to use a path: take a smaller tau or learning rate, from an earlier checkpoint",
    ),
)


class _PiPlayGame(Game):
    """What π-Play's games have in common: their numbers."""

    headline: ClassVar[Mapping[str, str]] = HEADLINE
    sometimes: ClassVar[Sequence[str]] = (*HEADLINE, *SOMETIMES)
    healthy: ClassVar[Sequence[Healthy]] = HEALTHY

    def metrics(self, episodes: Sequence[Episode], audit: Audit | None) -> dict[str, float]:
        """See ``Game.metrics`` and docs/metrics.md."""
        return role_metrics(episodes) | question_metrics(episodes, audit)


class _Answering(_PiPlayGame):
    """A game in which a given question is answered."""

    def metrics(self, episodes: Sequence[Episode], audit: Audit | None) -> dict[str, float]:
        """Those of every game of π-Play, and how questions are answered (``conduct.py``)."""
        return super().metrics(episodes, audit) | conduct_metrics(episodes)


async def check(passages: Sequence[Passage], note: str, context: Context, group: Key) -> ScoredTrajectory:
    """The checker reads passages and a note of them, greedily: 1 where it finds the note right."""
    system, view = context.system("checker", CHECKER), checker_view(passages, note)
    read = await replace(context, temperature=0.0).converse("checker", system, view)
    return ScoredTrajectory(read, group, float(confirms(read, note)))


@dataclass(slots=True)
class Examine(_PiPlayGame):
    """Examiner against students."""

    state: State
    probes: NonNegativeInt = 5
    """n, the student samples a question; 0 only writes."""
    format_weight: NonNegativeFloat = 0.5
    """w_f, the weight of the format score."""
    gates: Sequence[Gate | ImportPath] = USUAL_GATES
    """Some of ``GATES``, and functions of one's own, which are asked once those of ``READ_GATES`` have let it pass."""
    reward: ImportPath = SAME_VALUE
    """What a student's answer earns; right is one that earns 1."""
    easy_share: NonNegativeFloat = 0.1
    """With the gate "easy": how much of what is written may be questions that every sample answers."""
    _own_gates: dict[str, OwnGate] = field(init=False, repr=False)
    _reward_of: Reward = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._own_gates, self._reward_of = load_gates(self.gates), load_reward(self.reward)
        tried = [gate for gate in ("contested", "easy") if gate in self.gates]
        if tried and not self.probes:
            raise InputError(f"the gate {tried[0]} needs students' tries: set options.probes, or leave it out")

    @property
    def roles(self) -> tuple[str, ...]:  # type: ignore[override]
        """The roles that write, by its options."""
        others = {"student": self.probes, "checker": "checked" in self.gates, "reader": "answerable" in self.gates}
        return ("examiner", *(role for role, wanted in others.items() if wanted))

    def cost(self) -> Mapping[str, int]:
        """See ``Game.cost``."""
        # Checks and readings are a few tokens each: not worth counting.
        return {"examiner": 1, "student": self.probes}

    async def play(self, task: Question, context: Context) -> Episode:
        """The examiner writes; where its gates pass, students try."""
        seed = seed_passage(task)
        system, view = context.system("examiner", EXAMINER), examiner_view(seed, task.hops)
        trajectory = await context.child("examiner").converse("examiner", system, view)
        draft = written_question(task, trajectory)
        played = [ScoredTrajectory(trajectory, group=("hops", task.hops))]
        gate = self._refused_by(draft, trajectory)
        if not gate:
            gate, opinions = await self._doubted_by(draft, trajectory, context)
            played += opinions
        if gate:
            return Episode(context.key, task, tuple(played), facts={"gate": gate})
        tries = await self._tries(draft, context)
        played += tries
        # A try whose tool failed says nothing about the question.
        valid = [one.trajectory for one in tries if not one.trajectory.tool_failed]
        correct = _right(tries)
        r_d, r_f = difficulty_reward(correct, len(valid)), format_score(draft, trajectory, seed)
        facts = {"k": float(correct), "n": float(len(valid)), "r_d": r_d, "r_f": r_f}
        if "contested" in self.gates and contested(draft, [one.answer for one in valid]):
            return Episode(context.key, task, tuple(played), facts={"gate": "contested", **facts})
        played[0] = replace(played[0], reward=r_d + self.format_weight * r_f)
        return Episode(context.key, task, tuple(played), written=(draft,), facts={"gate": "", **facts})

    def _refused_by(self, draft: Question, trajectory: Trajectory) -> str:
        """The first gate that reading alone can tell refuses it; empty where none does."""
        seed, asked = seed_passage(draft), set(self.state.get("questions", ()))
        gate = next((g for g in READ_GATES if g in self.gates and not passes(g, draft, trajectory, seed, asked)), "")
        return gate or next((name for name, passed in self._own_gates.items() if not passed(draft, trajectory)), "")

    async def _doubted_by(
        self, draft: Question, trajectory: Trajectory, context: Context
    ) -> tuple[str, list[ScoredTrajectory]]:
        """The first gate of another player that refuses it, empty where none does; and what they wrote."""
        played: list[ScoredTrajectory] = []
        if "checked" in self.gates:
            played += await self._checks(draft, trajectory, context)
            if not all(check.reward for check in played):
                return "checked", played
        if "answerable" in self.gates:
            played.append(await self._reading(draft, trajectory, context))
            if played[-1].reward != 1:
                return "answerable", played
        return "", played

    async def _reading(self, draft: Question, trajectory: Trajectory, context: Context) -> ScoredTrajectory:
        """The question back to a reader of its passages, greedily: 1 where the answer is the written one.

        A round trip: words of the answer in a passage are no answer to what was asked.
        """
        passages = [seed_passage(draft), *(passage for use in searches(trajectory) for passage in passages_of(use))]
        system, view = context.system("reader", READER), reader_view(passages, draft.question)
        read = await replace(context.child("reader"), temperature=0.0).converse("reader", system, view)
        return ScoredTrajectory(read, (*context.key, "reading"), self._reward_of(read.answer, draft.answers))

    async def _tries(self, draft: Question, context: Context) -> list[ScoredTrajectory]:
        """Students' answers. They are kept to be looked at; they are in no one's training batch here."""
        system = context.system("student", STUDENT)
        tries = await context.gather(
            context.child("student", i).converse("student", system, student_view(draft.question))
            for i in range(self.probes)
        )
        return [
            ScoredTrajectory(one, (*context.key, "students"), self._reward_of(one.answer, draft.answers))
            for one in tries
        ]

    async def _checks(self, draft: Question, trajectory: Trajectory, context: Context) -> list[ScoredTrajectory]:
        """Each step of the path, checked alone."""
        shown = [(seed_passage(draft),), *map(passages_of, searches(trajectory))]
        return await context.gather(
            check(passages, step.evidence, context.child("checker", i), (*context.key, "checks"))
            for i, (passages, step) in enumerate(zip(shown, draft.path, strict=True))
        )

    def finalize_batch(self, episodes: Sequence[Episode]) -> list[Episode]:
        """Refuse what was asked twice within the batch, the first one kept, and what is easy beyond its share."""
        asked, known = self.state.setdefault("questions", []), self.state.setdefault("easy", [])
        seen = set(asked)
        final = []
        for episode in episodes:
            for draft in episode.written:
                assert isinstance(draft, Question)
                question = canonical(draft.question)
                easy = episode.facts["k"] == episode.facts["n"] and episode.facts["n"] != 0
                gate = "duplicate" if "duplicate" in self.gates and question in seen else ""
                if not gate and "easy" in self.gates and easy:
                    gate = "easy" if len(known) >= self.easy_share * (len(asked) + 1) else ""
                if gate:
                    episode = _refused(episode, gate)
                else:
                    seen.add(question)
                    asked.append(question)
                    known += [question] if easy else []
            final.append(episode)
        return final


@dataclass(slots=True)
class Study(_Answering):
    """Students on a written question, beside a teacher who knows how it was made."""

    rollouts: PositiveInt = 5
    """G, the student samples a question."""
    reward: ImportPath = SAME_VALUE
    """What an answer earns; right is one that earns 1."""
    privilege: Privilege = "true"
    """What the teacher is shown beside the question, see ``privilege.py``; a task that lacks it is refused."""
    _reward_of: Reward = field(init=False, repr=False)
    roles = ("student",)

    def __post_init__(self) -> None:
        self._reward_of = load_reward(self.reward)

    def cost(self) -> Mapping[str, int]:
        """See ``Game.cost``."""
        return {"student": self.rollouts}

    async def play(self, task: Question, context: Context) -> Episode:
        """Students answer; the view ``privileged`` of each rollout shows the path, or what stands for it."""
        system = context.system("student", STUDENT)
        privileged = privileged_prompt(task, self.privilege, system, context)
        trajectories = await context.gather(
            context.child("student", i).converse("student", system, student_view(task.question))
            for i in range(self.rollouts)
        )
        played = tuple(
            ScoredTrajectory(
                trajectory,
                (*context.key, "students"),
                self._reward_of(trajectory.answer, task.answers),
                {"privileged": privileged},
            )
            for trajectory in trajectories
        )
        return Episode(context.key, task, played, facts={"k": float(_right(played))})


@dataclass(slots=True)
class PrivilegedStudy(_Answering):
    """The teacher plays: the question with its path in the student's place.

    One greedy rollout shows whether it can still use a path. As a phase in which the role ``teacher`` learns, with the
    student's policy in the place of its teacher, this is the ideal objective that the moving average stands in for:
    max E[1(o = o*)] − β KL(π^T(·|q, c) ‖ stopgrad π^S(·|q)) over the teacher's own rollouts.
    """

    rollouts: PositiveInt = 1
    reward: ImportPath = SAME_VALUE
    privilege: Privilege = "true"
    _reward_of: Reward = field(init=False, repr=False)
    roles = ("teacher",)

    def __post_init__(self) -> None:
        self._reward_of = load_reward(self.reward)

    def cost(self) -> Mapping[str, int]:
        """See ``Game.cost``."""
        return {"teacher": self.rollouts}

    async def play(self, task: Question, context: Context) -> Episode:
        """The teacher answers; the view ``plain`` of each rollout is the student's."""
        system = context.system("student", STUDENT)
        view = privileged_view(task.question, shown(task, self.privilege, context))
        plain = context.chat.prompt(system, student_view(task.question))
        trajectories = await context.gather(
            context.child("teacher", i).converse("teacher", system, view) for i in range(self.rollouts)
        )
        played = tuple(
            ScoredTrajectory(
                trajectory,
                (*context.key, "teacher"),
                self._reward_of(trajectory.answer, task.answers),
                {"plain": plain},
            )
            for trajectory in trajectories
        )
        return Episode(context.key, task, played)


def _right(played: Sequence[ScoredTrajectory]) -> int:
    """How many of the answers are right. A rollout whose tool failed has no answer."""
    return sum(one.reward == 1 for one in played)


def _refused(episode: Episode, gate: str) -> Episode:
    """The same without its question and without its reward."""
    unpaid = replace(episode.trajectories[0], reward=0.0)
    return replace(
        episode,
        trajectories=(unpaid, *episode.trajectories[1:]),
        written=(),
        facts={**episode.facts, "gate": gate},
    )
