"""Gates: what a written question has to pass before it is paid, tried and kept."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

from piplay.envs.search.match import exact_match
from piplay.envs.search.question import Passage, Question, Step, show
from piplay.envs.search.tool import passages_of, query_of, searches
from piplay.envs.search.values import canonical, mentions, same_value
from piplay.types import StopReason, Trajectory

Gate = Literal[
    "format", "leak", "grounded", "hops", "progress", "bridge", "evidence", "chain", "duplicate",
    "checked", "answerable", "contested", "easy",
]  # fmt: skip
GATES: tuple[Gate, ...] = get_args(Gate)
"""In the order in which they are tried. What a gate refuses earns nothing. The last two need students' tries; of what
an earlier gate refuses no student sees any, but for a duplicate within one batch: only the batch can tell."""
READ_GATES = GATES[: GATES.index("checked")]
"""Those that read what the examiner wrote and saw, and need no one else."""
USUAL_GATES: tuple[Gate, ...] = ("format", "leak", "grounded", "hops", "progress", "duplicate")
"""Those that ask nothing of the corpus, of the examiner's notes, or of another player."""
_WRITTEN = re.compile(r"Question:(.*?)Answer:(.*)", re.DOTALL)


def written_question(seed: Question, trajectory: Trajectory) -> Question:
    """The question that an examiner wrote, its path included; question and answers are empty where there is none.

    The path's first step is the seed passage under its title; each later one is a search. A step's evidence is what the
    examiner noted in the turn after it saw the passage.
    """
    match = _WRITTEN.search(trajectory.answer)
    question, answer = (part.strip() for part in match.groups()) if match else ("", "")
    passage = seed_passage(seed)
    found = [(passage.name, passage.id)]
    for use in searches(trajectory):
        passages = passages_of(use)
        found.append((query_of(use.call), passages[0].id if passages else ""))
    path = tuple(
        Step(query, passage_id, turn.think) for (query, passage_id), turn in zip(found, trajectory.turns, strict=False)
    )
    return replace(seed, question=question, answers=(answer,) if answer else (), path=path)


def passes(gate: str, draft: Question, trajectory: Trajectory, seed: Passage, asked: set[str]) -> bool:
    """Whether a written question passes one gate of ``READ_GATES``; ``asked`` are the earlier ones, canonical."""
    found = [passages_of(use) for use in searches(trajectory)]
    sources = [show([seed]), *map(show, found)]
    match gate:
        case "format":
            return trajectory.stop is StopReason.ANSWERED and bool(draft.question and draft.answers)
        case "leak":
            return not any(mentions(draft.question, answer) for answer in draft.answers)
        case "grounded":
            seen = [seed, *(passage for passages in found for passage in passages)]
            return any(mentions(show([passage]), answer) for passage in seen for answer in draft.answers)
        case "hops":
            return len(found) == draft.hops - 1
        case "progress":
            # A search that finds nothing new is no hop: it asked for a number, or for where it already was.
            ids = [seed.id, *(passages[0].id if passages else seed.id for passages in found)]
            return len(set(ids)) == len(ids)
        case "bridge":
            # A hop leads from a passage to one that it names: what a search for a number finds is no hop.
            titles = [passages[0].title if passages else "" for passages in found]
            return all(mentions(source, title) for source, title in zip(sources, titles, strict=False))
        case "evidence":
            return all(
                set(canonical(step.evidence).split()) <= set(canonical(source).split())
                for step, source in zip(draft.path, sources, strict=False)
            )
        case "chain":
            return _asks_for_its_notes(draft, seed)
        case "duplicate":
            return canonical(draft.question) not in asked
    raise ValueError(f"no gate is called {gate!r}; there are {', '.join(READ_GATES)}")


def _asks_for_its_notes(draft: Question, seed: Passage) -> bool:
    """Whether an English question asks for the chain that was followed, and for no other.

    It names the start and the relation of each note (``river: Oltan.``), as often as noted, and has no more "of" than
    there are notes: who noted ``height: 310.`` and asks for the height of the opening year of Bor asks for another.
    """
    wanted = [canonical(said) for said in (seed.name, *(step.evidence.partition(":")[0] for step in draft.path))]
    left = f" {canonical(draft.question)} "
    for words in sorted(wanted, key=len, reverse=True):  # "installed size" before the "size" in it
        if f" {words} " not in left:
            return False
        left = left.replace(f" {words} ", " ", 1)
    return left.split().count("of") <= len(draft.path) and not any(f" {words} " in left for words in wanted)


def confirms(check: Trajectory, note: str) -> bool:
    """Whether a checker finds a note right.

    Where it looked the same relation up again in its reasoning, as in ``river: Oltan.``, the values decide: a small
    model finds what the passage says far better than it compares two values (docs/results.md). Else its yes or no does.
    """
    relation, noted, value = note.partition(":")
    for turn in check.turns:
        again, stated, found = turn.think.partition(":")
        if noted and stated and canonical(again) == canonical(relation):
            return same_value(found, [value])
    return exact_match(check.answer, ["yes"])


def contested(draft: Question, answers: Sequence[str]) -> bool:
    """Whether more samples agree on another answer than give the written one.

    What the path holds is no other answer: there a student stopped too early, and the question may still be true.
    """
    votes = Counter(canonical(answer) for answer in answers)
    on_the_way = " ".join(step.evidence for step in draft.path)
    right = sum(same_value(answer, draft.answers) for answer in answers)
    others = [count for answer, count in votes.items() if answer and not mentions(on_the_way, answer)]
    return max(others, default=0) > max(right, 1)


def seed_passage(task: Question) -> Passage:
    """What the examiner starts from."""
    if task.source is None:
        raise ValueError(f"task {task.id} has no seed passage")
    return task.source
