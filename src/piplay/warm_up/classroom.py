"""Lessons about a small world: written traces of every role, true to its passages.

Nothing here knows the default world. A student's lessons follow one rule: it goes on to what it has just found where
its hint names that as the next thing to search for, and else only with the chance ``goes_on``. So a true path is
followed to its end, half a path as far as it goes, and what the passages do not confirm, another question's path or a
false one, is as if it were not there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from piplay.envs.search.question import Passage, Step, show
from piplay.envs.search.tool import search
from piplay.envs.world.questions import BENCHMARK_FORMS, EXAMINER_FORM, ask, chain_phrase
from piplay.envs.world.records import Records
from piplay.envs.world.render import foreign_fact
from piplay.methods.pi_play.views import (
    CHECKER,
    EXAMINER,
    READER,
    STUDENT,
    checker_view,
    examiner_view,
    path_text,
    privileged_view,
    reader_view,
    student_view,
)
from piplay.warm_up.lesson import Lesson, Said

LISTER = "List the facts of the passage."
WRITER = "Write the question of the path."
STUDENT_FORMS = (*BENCHMARK_FORMS, EXAMINER_FORM, EXAMINER_FORM, "Give the {chain}.", "Who or what is the {chain}?")
HINTS = ("alone", "true", "half", "foreign", "false", "none")
"""What stands behind a student's question: nothing; its path; some steps of it; another question's path; its path with
wrong values; the path's wrapper with nothing in it."""
Chain = tuple[str, tuple[str, ...]]
"""A start and the relations from it, innermost first."""


@dataclass(frozen=True, slots=True)
class Classroom:
    """A small world with its passages."""

    records: Records
    passages: Mapping[str, Passage]
    rng: np.random.Generator
    goes_on: float
    """How often a student goes on to the next hop that nothing tells to."""

    def lesson(self, kind: str) -> Lesson | None:
        """A lesson of a kind: ``read``, ``check``, or ``examine``, ``answer``, ``write`` and the ``HINTS`` with hops.

        None where this world has no such chain.
        """
        if kind in ("read", "check"):
            return self.read() if kind == "read" else self.check()
        name, hops = kind[:-1], int(kind[-1])
        chain = self.chain(hops, in_order=name == "examine")
        if chain is None:
            return None
        match name:
            case "write":
                return self.write(chain)
            case "examine":
                return self.examine(chain)
            case "answer":
                return self.answer(chain)
            case _:
                return self.study(chain, name)

    def chain(self, hops: int, in_order: bool = False) -> Chain | None:
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

    def values(self, chain: Chain) -> list[str]:
        """The values along a chain, the start first."""
        start, relations = chain
        values = [start]
        for relation in relations:
            values.append(self.records.by_name[values[-1]].facts[relation])
        return values

    def path(self, chain: Chain) -> list[Step]:
        """The steps of a chain, as an examiner would have made them."""
        values = self.values(chain)
        notes = _notes(chain[1], values)
        return [Step(value, value, note) for value, note in zip(values, notes, strict=False)]

    def asked(self, chain: Chain, forms: Sequence[str]) -> str:
        """The question of a chain, in one of the forms."""
        return ask(self.rng, *chain, forms)

    def left(self, values: Sequence[str], relations: Sequence[str]) -> str:
        """What is still asked of the first of the values, in words: "river of the capital of Bor"."""
        return chain_phrase(values[0], relations)

    def read(self) -> Lesson:
        """One passage, all facts of its entity in any order."""
        entity = self.records.entities[int(self.rng.integers(len(self.records.entities)))]
        facts = list(entity.facts.items())
        said = " ".join(f"{r}: {v}." for r, v in (facts[i] for i in self.rng.permutation(len(facts))))
        return Lesson("", "read", "lister", LISTER, show([self.passages[entity.name]]), (Said(content=said),))

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
            values += [e.facts[relation] for e in others if relation in e.facts][: max(1, len(values))]
            notes = [(relation, v) for v in values]
            foreign = [(r, v) for e in others for r, v in e.facts.items() if foreign_fact(r, e.name, v) in told.text]
            notes = foreign if foreign and self.rng.random() < 0.4 else notes
            if notes:
                relation, value = notes[int(self.rng.integers(len(notes)))]
        truth = entity.facts.get(relation, "none")
        verdict = Said(f"{relation}: {truth}.", "yes" if value == truth else "no")
        return Lesson("", "check", "checker", CHECKER, checker_view([told], f"{relation}: {value}."), (verdict,))

    def write(self, chain: Chain) -> Lesson:
        """A path, its question and its answer."""
        path = path_text(self.path(chain))
        return Lesson("", f"write{len(chain[1])}", "writer", WRITER, path, (Said(content=self._question(chain)),))

    def examine(self, chain: Chain) -> Lesson:
        """An examiner's whole episode: one search fewer than hops, then the question."""
        (start, relations), values = chain, self.values(chain)
        notes = _notes(relations, values)
        between = values[1:-1]
        said = [Said(note, call=search(value)) for note, value in zip(notes, between, strict=False)]
        view = examiner_view(self.passages[start], len(relations))
        last = Said(notes[-1], self._question(chain))
        return Lesson(
            "", f"examine{len(relations)}", "examiner", EXAMINER, view, (*said, last), tuple(map(self._shown, between))
        )

    def answer(self, chain: Chain) -> Lesson:
        """A question from the passages along its chain: a note of each, then the answer."""
        values = self.values(chain)
        view = reader_view([self.passages[value] for value in values[:-1]], self.asked(chain, STUDENT_FORMS))
        said = Said(" ".join(_notes(chain[1], values)), values[-1])
        return Lesson("", f"answer{len(chain[1])}", "reader", READER, view, (said,))

    def study(self, chain: Chain, hint: str) -> Lesson:
        """A student's whole episode behind one of the ``HINTS``.

        Before each search it says what is still asked, in the same words however the question was put: "river of the
        capital of Bor", then "river of Fendor". Where it does not go on, it answers with what it has found.
        """
        relations = chain[1]
        question = self.asked(chain, STUDENT_FORMS)
        values, notes = self.values(chain), _notes(relations, self.values(chain))
        steps = self._hint(chain, hint)
        named = {step.query for step in steps}
        view = privileged_view(question, path_text(steps)) if steps or hint == "none" else student_view(question)
        last = 1
        while last < len(relations) and (values[last] in named or self.rng.random() < self.goes_on):
            last += 1
        said = []
        for hop in range(last):
            before = f"{notes[hop - 1]} " if hop else ""
            left = self.left(values[hop:], relations[hop:])
            said.append(Said(before + left, call=search(values[hop])))
        said.append(Said(notes[last - 1], values[last]))
        teaches = f"{hint}{len(relations)}"
        return Lesson(
            "", teaches, "student", STUDENT, view, tuple(said), tuple(self._shown(value) for value in values[:last])
        )

    def _hint(self, chain: Chain, hint: str) -> list[Step]:
        """The steps that stand behind the question."""
        if hint in ("alone", "none"):
            return []
        path = self.path(chain)
        match hint:
            case "half":
                kept = np.sort(self.rng.permutation(len(path))[: -(-len(path) // 2)])
                return [path[i] for i in kept]
            case "false":
                return self._false(chain)
            case "foreign":
                return self._foreign(chain)
        return path

    def _foreign(self, chain: Chain) -> list[Step]:
        """The path of another question of as many hops, with nothing of this one's; none where there is hardly one."""
        own = set(self.values(chain))
        for _ in range(8):
            other = self.chain(len(chain[1]))
            if other is not None and not own & set(self.values(other)):
                return self.path(other)
        return []

    def _false(self, chain: Chain) -> list[Step]:
        """The question's own start and relations with values of others: as if an examiner had misread."""
        names = [name for name in self.records.by_name if name not in self.values(chain)]
        picked = [str(name) for name in self.rng.permutation(names)[: len(chain[1])]]
        values = [chain[0], *picked]
        return [Step(x, x, note) for x, note in zip(values, _notes(chain[1], values), strict=False)]

    def _question(self, chain: Chain) -> str:
        return f"Question: {self.asked(chain, (EXAMINER_FORM,))} Answer: {self.values(chain)[-1]}"

    def _shown(self, name: str) -> str:
        return show([self.passages[name]])


def _notes(relations: Sequence[str], values: Sequence[str]) -> list[str]:
    """What is taken from each passage; ``values`` with the start before them."""
    return [f"{relation}: {value}." for relation, value in zip(relations, values[1:], strict=False)]
