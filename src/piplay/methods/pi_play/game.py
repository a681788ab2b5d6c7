"""π-Play (arXiv 2604.14054): an examiner writes a question, students try it, a teacher sees how it was made.

``Examine``: an examiner starts from a seed passage, searches on, and writes a question with its answer; where every
gate passes, students try it and the examiner is paid for difficulty. ``Study``: students answer a written question and
are paid for the exact answer; each rollout carries the teacher's prompt, the question with the path by which it was
made. ``Recite``: the teacher itself plays, path in hand. The formulas are numbered as in docs/method.md.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt

from piplay.chat.base import show
from piplay.envs.search.match import contains, exact_match, normalise
from piplay.errors import InputError
from piplay.methods.pi_play.hooks import EXACT_MATCH, Named, Reward, load_gates, load_reward
from piplay.methods.pi_play.hooks import Gate as OwnGate
from piplay.rollout.context import Context
from piplay.types import Episode, Memory, Passage, Seat, Step, StopReason, Task, Trajectory

STUDENT = "Answer the question: search for one fact at a time."
EXAMINER = "Write a question: start from the passage and search for each further hop."
CHECKER = "Say whether the note is what the passage says: yes or no."

Gate = Literal[
    "format", "leak", "grounded", "hops", "progress", "bridge", "evidence", "duplicate", "checked", "contested", "easy"
]
GATES: tuple[Gate, ...] = get_args(Gate)
"""In the order in which they are tried. What a gate refuses earns nothing. The last two gates need students' tries;
of what an earlier gate refuses no student sees any, but for a duplicate within one batch: only ``settle`` can tell."""
READ_GATES = GATES[:8]
"""Those that read what the examiner wrote and saw, and need no one else."""
USUAL_GATES: tuple[Gate, ...] = ("format", "leak", "grounded", "hops", "progress", "duplicate")
"""Those that ask nothing of the corpus, of the examiner's notes, or of another player."""
_WRITTEN = re.compile(r"Question:(.*?)Answer:(.*)", re.DOTALL)


def examiner_view(passage: Passage, hops: int) -> str:
    """What the examiner sees: how many hops, and the seed passage."""
    return f"Hops: {hops}. Passage: {show([passage])}"


def checker_view(passages: Sequence[Passage], note: str) -> str:
    """What the checker sees: one step of a path, the passages found and what the examiner noted of them."""
    return f"Passage: {show(passages)} Note: {note}"


def student_view(question: str) -> str:
    """What the student sees."""
    return question


def teacher_view(question: str, path: Sequence[Step]) -> str:
    """What the teacher sees: the student's view and the path; with an empty path exactly the student's view."""
    steps = " ".join(f"{step.query} > {step.evidence}" for step in path)
    return f"{student_view(question)} Path: {steps}" if path else student_view(question)


@dataclass(slots=True)
class Examine:
    """Examiner against students."""

    memory: Memory
    probes: NonNegativeInt = 5
    """n, the student samples a question; 0 only writes."""
    format_weight: NonNegativeFloat = 0.5
    """w_f, the weight of the format score."""
    gates: Sequence[Gate | Named] = USUAL_GATES
    """Some of ``GATES``, and functions of one's own, which are asked once those of ``READ_GATES`` have let it pass."""
    reward: Named = EXACT_MATCH
    """What a student's answer earns; right is one that earns 1."""
    easy_share: NonNegativeFloat = 0.1
    """With the gate "easy": how much of what is written may be questions that every sample answers."""
    _own_gates: dict[str, OwnGate] = field(init=False, repr=False)
    _earns: Reward = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._own_gates, self._earns = load_gates(self.gates), load_reward(self.reward)
        tried = [gate for gate in ("contested", "easy") if gate in self.gates]
        if tried and not self.probes:
            raise InputError(f"the gate {tried[0]} needs students' tries: set options.probes, or leave it out")

    @property
    def roles(self) -> tuple[str, ...]:
        return ("examiner", *(["student"] if self.probes else []), *(["checker"] if "checked" in self.gates else []))

    async def play(self, task: Task, context: Context) -> Episode:
        seed = _seed_passage(task)
        system, view = context.prompts.get("examiner", EXAMINER), examiner_view(seed, task.hops)
        story = await context.child("examiner").converse("examiner", system, view)
        draft = written_task(task, story)
        asked = set(self.memory.get("questions", ()))
        gate = next((g for g in READ_GATES if g in self.gates and not passes(g, draft, story, seed, asked)), "")
        gate = gate or next((name for name, passed in self._own_gates.items() if not passed(draft, story)), "")
        seats = [Seat(story, group=("hops", task.hops))]
        if not gate and "checked" in self.gates:
            seats += await self._checks(draft, story, context)
            gate = "" if all(seat.reward for seat in seats[1:]) else "checked"
        if gate:
            return Episode(context.key, task, tuple(seats), gate=gate)
        system = context.prompts.get("student", STUDENT)
        probes = await context.gather(
            context.child("student", i).converse("student", system, student_view(draft.question))
            for i in range(self.probes)
        )
        # A probe whose tool failed says nothing about the question.
        tries = [probe for probe in probes if probe.stop is not StopReason.TOOL_FAILED]
        # The students' rollouts are kept to be looked at; they are in no one's training batch here.
        played = [
            Seat(probe, group=(*context.key, "students"), reward=self._earns(probe.answer, draft.answers))
            for probe in probes
        ]
        seats += played
        correct = _right(played)
        r_d, r_f = difficulty_reward(correct, len(tries)), format_score(draft, story, seed)
        facts = {"k": float(correct), "n": float(len(tries)), "r_d": r_d, "r_f": r_f}
        if "contested" in self.gates and contested(draft, [probe.answer for probe in tries]):
            return Episode(context.key, task, tuple(seats), gate="contested", facts=facts)
        seats[0] = replace(seats[0], reward=r_d + self.format_weight * r_f)
        return Episode(context.key, task, tuple(seats), written=draft, facts=facts)

    async def _checks(self, draft: Task, story: Trajectory, context: Context) -> list[Seat]:
        """Each step of the path, checked alone and greedily: 1 where the checker finds the note in the passage."""
        shown = [(_seed_passage(draft),), *(call.passages for call in story.calls)]
        system = context.prompts.get("checker", CHECKER)
        checks = await context.gather(
            replace(context.child("checker", i), temperature=0.0).converse(
                "checker", system, checker_view(passages, step.evidence)
            )
            for i, (passages, step) in enumerate(zip(shown, draft.path, strict=True))
        )
        return [
            Seat(check, group=(*context.key, "checks"), reward=float(exact_match(check.answer, ["yes"])))
            for check in checks
        ]

    def settle(self, episodes: Sequence[Episode]) -> list[Episode]:
        """Refuse what was asked twice within the batch, the first one kept, and what is easy beyond its share."""
        asked, known = self.memory.setdefault("questions", []), self.memory.setdefault("easy", [])
        seen = set(asked)
        settled = []
        for episode in episodes:
            if episode.written is not None:
                question = normalise(episode.written.question)
                easy = episode.facts["k"] == episode.facts["n"] > 0
                gate = "duplicate" if "duplicate" in self.gates and question in seen else ""
                if not gate and "easy" in self.gates and easy:
                    gate = "easy" if len(known) >= self.easy_share * (len(asked) + 1) else ""
                if gate:
                    unpaid = replace(episode.seats[0], reward=0.0)
                    episode = replace(episode, seats=(unpaid, *episode.seats[1:]), written=None, gate=gate)
                else:
                    seen.add(question)
                    asked.append(question)
                    known += [question] if easy else []
            settled.append(episode)
        return settled


@dataclass(slots=True)
class Study:
    """Students on a written question, beside a teacher who knows how it was made."""

    memory: Memory
    rollouts: PositiveInt = 5
    """G, the student samples a question."""
    reward: Named = EXACT_MATCH
    """What an answer earns; right is one that earns 1."""
    _earns: Reward = field(init=False, repr=False)
    roles = ("student",)

    def __post_init__(self) -> None:
        self._earns = load_reward(self.reward)

    async def play(self, task: Task, context: Context) -> Episode:
        system = context.prompts.get("student", STUDENT)
        teacher_prefix = context.chat.prompt(system, teacher_view(task.question, task.path))
        stories = await context.gather(
            context.child("student", i).converse("student", system, student_view(task.question))
            for i in range(self.rollouts)
        )
        seats = tuple(
            Seat(story, (*context.key, "students"), self._earns(story.answer, task.answers), teacher_prefix)
            for story in stories
        )
        return Episode(context.key, task, seats, facts={"k": float(_right(seats))})

    def settle(self, episodes: Sequence[Episode]) -> list[Episode]:
        return list(episodes)


@dataclass(slots=True)
class Recite:
    """The teacher plays: the question with its path in the student's place.

    One greedy rollout shows whether it can still use a path. As a phase in which the seat ``teacher`` learns, with the
    student in the place of its teacher, this is the ideal objective that the moving average stands in for:
    max E[1(o = o*)] − β KL(π^T(·|q, c) ‖ stopgrad π^S(·|q)) over the teacher's own rollouts.
    """

    memory: Memory
    rollouts: PositiveInt = 1
    reward: Named = EXACT_MATCH
    _earns: Reward = field(init=False, repr=False)
    roles = ("teacher",)

    def __post_init__(self) -> None:
        self._earns = load_reward(self.reward)

    async def play(self, task: Task, context: Context) -> Episode:
        system, view = context.prompts.get("student", STUDENT), teacher_view(task.question, task.path)
        students_prefix = context.chat.prompt(system, student_view(task.question))
        stories = await context.gather(
            context.child("teacher", i).converse("teacher", system, view) for i in range(self.rollouts)
        )
        seats = tuple(
            Seat(story, (*context.key, "teacher"), self._earns(story.answer, task.answers), students_prefix)
            for story in stories
        )
        return Episode(context.key, task, seats)

    def settle(self, episodes: Sequence[Episode]) -> list[Episode]:
        return list(episodes)


def _right(seats: Sequence[Seat]) -> int:
    """How many of the answers are right. A rollout whose tool failed has no answer."""
    return sum(seat.reward == 1 for seat in seats)


def written_task(seed: Task, story: Trajectory) -> Task:
    """The task that an examiner wrote, its path included; question and answers are empty where there is none.

    The path's first step is the seed passage under its title; each later one is a search. A step's evidence is what the
    examiner noted in the turn after it saw the passage.
    """
    match = _WRITTEN.search(story.answer)
    question, answer = (part.strip() for part in match.groups()) if match else ("", "")
    passage = _seed_passage(seed)
    found = [(passage.title, passage.id)]
    found += [(call.query, call.passages[0].id if call.passages else "") for call in story.calls]
    path = tuple(
        Step(query, passage_id, turn.think) for (query, passage_id), turn in zip(found, story.turns, strict=False)
    )
    return replace(seed, question=question, answers=(answer,) if answer else (), path=path)


def passes(gate: str, draft: Task, story: Trajectory, seed: Passage, asked: set[str]) -> bool:
    """Whether a written task passes one gate of ``READ_GATES``."""
    seen = [seed, *(passage for call in story.calls for passage in call.passages)]
    sources = [show([seed]), *(show(call.passages) for call in story.calls)]
    match gate:
        case "format":
            return story.stop is StopReason.ANSWERED and bool(draft.question and draft.answers)
        case "leak":
            return not any(contains(draft.question, answer) for answer in draft.answers)
        case "grounded":
            return any(contains(show([passage]), answer) for passage in seen for answer in draft.answers)
        case "hops":
            return len(story.calls) == draft.hops - 1
        case "progress":
            # A search that finds nothing new is no hop: it asked for a number, or for where it already was.
            ids = [seed.id, *(call.passages[0].id if call.passages else seed.id for call in story.calls)]
            return len(set(ids)) == len(ids)
        case "bridge":
            # A hop leads from a passage to one that it names: what a search for a number finds is no hop.
            found = [call.passages[0].title if call.passages else "" for call in story.calls]
            return all(contains(source, title) for source, title in zip(sources, found, strict=False))
        case "evidence":
            return all(
                set(normalise(step.evidence).split()) <= set(normalise(source).split())
                for step, source in zip(draft.path, sources, strict=False)
            )
        case "duplicate":
            return normalise(draft.question) not in asked
    raise ValueError(f"no gate is called {gate!r}; there are {', '.join(READ_GATES)}")


def contested(draft: Task, answers: Sequence[str]) -> bool:
    """Whether more samples agree on another answer than give the written one.

    What the path holds is no other answer: there a student stopped too early, and the question may still be true.
    """
    votes = Counter(normalise(answer) for answer in answers)
    on_the_way = " ".join(step.evidence for step in draft.path)
    right = sum(exact_match(answer, draft.answers) for answer in answers)
    others = [count for answer, count in votes.items() if answer and not contains(on_the_way, answer)]
    return max(others, default=0) > max(right, 1)


def difficulty_reward(correct: int, samples: int) -> float:
    """r_d = 1(0 < k < n) · (n − k)/(n − 1), formula 1: most for a question that one of n samples solves."""
    return (samples - correct) / (samples - 1) if 0 < correct < samples else 0.0


def format_score(draft: Task, story: Trajectory, seed: Passage) -> float:
    """r_f in [0, 1], formula 1: 0 for an empty or leaking task, else (1 + think + tool + answer)/4."""
    if not all(passes(gate, draft, story, seed, set()) for gate in ("format", "leak")):
        return 0.0
    think = sum(bool(turn.think) for turn in story.turns) / len(story.turns)
    tool = min((1 + len(story.calls)) / draft.hops, 1.0)
    words = len(draft.answers[0].split())
    short = 1.0 if words <= 5 else 0.5 if words <= 10 else 0.0
    answer = short if passes("grounded", draft, story, seed, set()) else 0.0
    return (1 + think + tool + answer) / 4


def _seed_passage(task: Task) -> Passage:
    if task.source is None:
        raise ValueError(f"task {task.id} has no seed passage")
    return task.source
