"""What the tiny base is taught: written traces of every role on worlds that it will never meet again.

A lesson is a conversation in the chat's own tokens with a mask over what the model has to write. Nothing here knows the
default world: names, values and most relations are drawn again for every few lessons.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from piplay.chat.base import Chat
from piplay.envs.search.question import Passage, Step, show
from piplay.envs.search.tool import SEARCH, search
from piplay.envs.world.questions import BENCHMARK_FORMS, EXAMINER_FORM, ask, chain_phrase
from piplay.envs.world.records import Records
from piplay.envs.world.render import foreign_fact
from piplay.methods.pi_play.views import (
    CHECKER,
    EXAMINER,
    STUDENT,
    checker_view,
    examiner_view,
    student_view,
    teacher_view,
)
from piplay.types import Ints

READER = "List the facts of the passage."
WRITER = "Write the question of the path."
STUDENT_FORMS = (*BENCHMARK_FORMS, EXAMINER_FORM, EXAMINER_FORM, "Give the {chain}.", "Who or what is the {chain}?")
GOES_ON = {2: 0.08, 3: 0.15, 4: 0.2}
"""How often an unaided student goes on to the next hop, by the question's hops, instead of giving what it has found:
rare, but not never."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """One conversation: ids and, of the same length, whether the model has to write each."""

    ids_T: Ints
    model_T: np.ndarray


@dataclass(frozen=True, slots=True)
class Classroom:
    """A small world with its passages, and the chat that lessons are written in."""

    chat: Chat
    records: Records
    passages: dict[str, Passage]
    rng: np.random.Generator

    def chain(self, hops: int, in_order: bool = False) -> tuple[str, tuple[str, ...]] | None:
        """A random start and chain of that many relations, or None where the walk finds no way on.

        ``in_order`` prefers what a passage says first: each way on half as often as the one before it. A choice among
        many words alike is beyond a small model when it has never met them: it writes a mixture of them all.
        """
        start = str(self.rng.choice(list(self.records.by_name)))
        value, relations, seen = start, [], {start}
        for hop in range(hops):
            facts = self.records.by_name[value].facts
            ways = [r for r, v in facts.items() if v not in seen and (hop == hops - 1 or v in self.records.by_name)]
            if not ways:
                return None
            if in_order:
                ways.sort(key=self.passages[value].text.find)
            odds = np.array([0.5**place if in_order else 1.0 for place in range(len(ways))])
            relations.append(str(self.rng.choice(ways, p=odds / odds.sum())))
            value = facts[relations[-1]]
            seen.add(value)
        return start, tuple(relations)

    def values(self, start: str, relations: tuple[str, ...]) -> list[str]:
        """The values along a chain, the start first."""
        values = [start]
        for relation in relations:
            values.append(self.records.by_name[values[-1]].facts[relation])
        return values

    def read(self) -> Lesson:
        """One passage, all facts of its entity in any order."""
        entity = self.records.entities[int(self.rng.integers(len(self.records.entities)))]
        facts = list(entity.facts.items())
        said = " ".join(f"{r}: {v}." for r, v in (facts[i] for i in self.rng.permutation(len(facts))))
        return self._lesson(READER, show([self.passages[entity.name]]), [self.chat.phrase(content=said)])

    def check(self) -> Lesson:
        """One passage and a note of it, true half of the time: look the fact up again, then yes or no.

        A false note has another fact's value, another entity's, or is a fact that the passage tells of another entity.
        """
        entity = self.records.entities[int(self.rng.integers(len(self.records.entities)))]
        told = self.passages[entity.name]
        relation = str(self.rng.choice(list(entity.facts)))
        value = entity.facts[relation]
        if self.rng.random() < 0.5:
            values = [v for r, v in entity.facts.items() if r != relation]
            others = [e for e in self.records.entities if e is not entity]
            values += [e.facts[relation] for e in others if relation in e.facts][: len(values)]
            notes = [(relation, v) for v in values]
            foreign = [(r, v) for e in others for r, v in e.facts.items() if foreign_fact(r, e.name, v) in told.text]
            notes = foreign if foreign and self.rng.random() < 0.4 else notes
            if notes:
                relation, value = notes[int(self.rng.integers(len(notes)))]
        truth = entity.facts.get(relation, "none")
        verdict = "yes" if value == truth else "no"
        view = checker_view([told], f"{relation}: {value}.")
        return self._lesson(CHECKER, view, [self.chat.phrase(f"{relation}: {truth}.", verdict)])

    def write(self, start: str, relations: tuple[str, ...]) -> Lesson:
        """A path, its question and its answer."""
        values = self.values(start, relations)
        path = " ".join(f"{x} > {r}: {v}." for x, r, v in zip(values, relations, values[1:], strict=False))
        return self._lesson(WRITER, path, [self.chat.phrase(content=self._question(start, relations, values[-1]))])

    def examine(self, start: str, relations: tuple[str, ...]) -> Lesson:
        """An examiner's whole episode: one search fewer than hops, then the question."""
        values = self.values(start, relations)
        notes = [f"{r}: {v}." for r, v in zip(relations, values[1:], strict=True)]
        written: list[str] = []
        for note, value in zip(notes[:-1], values[1:], strict=False):
            written += [self.chat.phrase(note, call=search(value)), show([self.passages[value]])]
        written.append(self.chat.phrase(notes[-1], self._question(start, relations, values[-1])))
        return self._lesson(EXAMINER, examiner_view(self.passages[start], len(relations)), written)

    def study(self, start: str, relations: tuple[str, ...], path: bool) -> Lesson:
        """A student's whole episode; unaided (no path) it mostly stops before the last hop.

        Before each search it says what is still asked, in the same words however the question was put: "river of the
        capital of Bor", then "river of Fendor". Where nothing is left, it answers.
        """
        question = ask(self.rng, start, relations, STUDENT_FORMS)
        values = self.values(start, relations)
        evidence = [f"{r}: {v}." for r, v in zip(relations, values[1:], strict=True)]
        view = student_view(question)
        last = len(relations)
        if path:
            steps = [Step(x, x, e) for x, e in zip(values, evidence, strict=False)]
            view = teacher_view(question, steps)
        else:
            last = 1
            while last < len(relations) and self.rng.random() < GOES_ON[len(relations)]:
                last += 1
        written: list[str] = []
        for hop in range(last):
            found = f"{evidence[hop - 1]} " if hop else ""
            left = chain_phrase(values[hop], relations[hop:])
            written += [
                self.chat.phrase(found + left, call=search(values[hop])),
                show([self.passages[values[hop]]]),
            ]
        written.append(self.chat.phrase(evidence[last - 1], values[last]))
        return self._lesson(STUDENT, view, written)

    def _question(self, start: str, relations: tuple[str, ...], answer: str) -> str:
        return f"Question: {ask(self.rng, start, relations, (EXAMINER_FORM,))} Answer: {answer}"

    def _lesson(self, system: str, user: str, written: list[str]) -> Lesson:
        """Model turns stand at even places of ``written``, tool results at odd ones."""
        prompt = self.chat.prompt(system, user)
        parts, model = [prompt], [np.zeros(len(prompt), dtype=bool)]
        for i, text in enumerate(written):
            ids = np.array(self.chat.written(text)) if i % 2 == 0 else self.chat.tool_turn(text, SEARCH.name)
            parts.append(ids)
            model.append(np.full(len(ids), i % 2 == 0))
        return Lesson(np.concatenate(parts), np.concatenate(model))


Mixture = dict[str, float]
"""Relative frequency of each kind of lesson; a digit is the number of hops."""

FIRST: Mixture = {"read": 6, "study1": 2, "write1": 0.5, "write2": 1, "write3": 1, "path2": 0.5}
"""Copying: names, then whole turns."""
LOOKUP: Mixture = {
    "read": 18.0, "check": 5.0,
    "study1": 3.0, "study2": 2.5, "study3": 2.0, "study4": 1.5,
    "path1": 0.5, "path2": 1.0, "path3": 1.0, "path4": 1.0,
    "examine1": 2.0, "examine2": 2.0, "examine3": 2.0, "examine4": 2.0,
    "write2": 0.3, "write3": 0.4, "write4": 0.6,
}  # fmt: skip
"""Finding a fact by its relation word, which comes only where it is asked densely: four times a passage."""
ROLES: Mixture = LOOKUP | {"read": 6.0}
"""What each role does, turn by turn."""


def draw(classroom: Classroom, mixture: Mixture) -> Lesson:
    """One lesson by the mixture's odds."""
    names = list(mixture)
    odds = np.array(list(mixture.values()))
    while True:
        name = names[int(classroom.rng.choice(len(names), p=odds / odds.sum()))]
        if name in ("read", "check"):
            return classroom.read() if name == "read" else classroom.check()
        kind, hops = name[:-1], int(name[-1])
        found = classroom.chain(hops, in_order=kind == "examine")
        if found is None:
            continue
        match kind:
            case "write":
                return classroom.write(*found)
            case "examine":
                return classroom.examine(*found)
            case _:
                return classroom.study(*found, path=kind == "path")
