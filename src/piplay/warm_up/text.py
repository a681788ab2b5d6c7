"""Lessons on text of one's own: small worlds of the facts that its passages state of their titles."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from piplay.envs.search.corpus import read_corpus
from piplay.envs.search.facts import Chain as Linked
from piplay.envs.search.facts import Fact, balanced, chains, facts_of
from piplay.envs.search.question import Passage
from piplay.envs.world.records import Entity, Records
from piplay.errors import InputError
from piplay.files import from_json
from piplay.warm_up.classroom import Chain, Classroom

FACTS_A_ROOM, CHAINS_A_ROOM = 12, 12


@dataclass(frozen=True, slots=True)
class TextClassroom(Classroom):
    """Passages of a corpus, asked about in the words of their facts: "When was Ada Lovelace born?"."""

    facts: Mapping[tuple[str, str], Fact]
    """By what a passage is searched for by, and the relation."""

    def chain(self, hops: int, in_order: bool = False) -> Chain | None:
        """See ``Classroom.chain``; what is named on the way has words that name it."""
        found = Classroom.chain(self, hops, in_order)
        if found is None:
            return None
        between = zip(self.values(found), found[1][:-1], strict=False)
        return found if all(self.facts[value, relation].phrase for value, relation in between) else None

    def asked(self, chain: Chain, forms: Sequence[str]) -> str:
        """See ``Classroom.asked``; each relation has one form of question, so ``forms`` are not asked for."""
        values, relations = self.values(chain), chain[1]
        words = self._named(self.facts[values[0], relations[0]].name, values, relations[:-1])
        return self.facts[values[-2], relations[-1]].form.format(words)

    def left(self, values: Sequence[str], relations: Sequence[str]) -> str:
        """See ``Classroom.left``."""
        words, last = self._named(values[0], values, relations[:-1]), self.facts[values[-2], relations[-1]]
        return last.phrase.format(words) or f"{last.relation} of {words}"

    def _named(self, words: str, values: Sequence[str], relations: Sequence[str]) -> str:
        """What stands at the end of the relations, in words: "the birthplace of the author of Emma"."""
        for value, relation in zip(values, relations, strict=False):
            words = self.facts[value, relation].phrase.format(words)
        return words


class Text:
    """The facts of a corpus, for ever new classrooms."""

    def __init__(self, corpus: Path, without: Path | None) -> None:
        """Read the passages, but for those whose titles a benchmark names as evidence.

        Raises ``InputError`` where one of the files cannot be read, or no passage has a title.
        """
        left_out = evidence_titles(without) if without is not None else frozenset[str]()
        self._passages = [one for one in read_corpus(corpus) if one.title and one.title not in left_out]
        if not self._passages:
            raise InputError(f"no passage of {corpus} has a title: lessons are made of what is said of titles")

    @cached_property
    def _by_title(self) -> dict[str, list[Fact]]:
        """A corpus is searched for facts when the first lesson is drawn: it takes a second for 400 passages."""
        found = facts_of(self._passages)
        return {passage.title: facts for passage, facts in zip(self._passages, found, strict=True) if facts}

    @cached_property
    def _linked(self) -> dict[str, list[Linked]]:
        """Facts whose value has a passage of its own, by relation."""
        linked: dict[str, list[Linked]] = defaultdict(list)
        for chain in chains(self._by_title.values()):
            linked[chain.first.relation].append(chain)
        return dict(linked)

    @cached_property
    def _found(self) -> dict[str, Passage]:
        return {passage.title: passage for passage in self._passages}

    def classroom(self, rng: np.random.Generator, goes_on: float) -> TextClassroom:
        """Some facts and some links, relations in balance.

        Raises ``InputError`` where the corpus states hardly a fact.
        """
        facts = [fact for found in self._by_title.values() for fact in found]
        if len(facts) < FACTS_A_ROOM:
            raise InputError(
                f"{len(facts)} facts were found in {len(self._passages)} passages, and lessons need {FACTS_A_ROOM}: "
                "facts are what English sentences say of their passage's title; leave sources.lessons.corpus out"
            )
        some = [facts[i] for i in rng.choice(len(facts), min(len(facts), 20 * FACTS_A_ROOM), replace=False)]
        names = {fact.title: fact.title for fact in balanced(some, rng, 0.05)[:FACTS_A_ROOM]}
        relations = list(self._linked)
        for _ in range(CHAINS_A_ROOM if relations else 0):
            choices = self._linked[relations[int(rng.integers(len(relations)))]]
            link = choices[int(rng.integers(len(choices)))]
            # A value is searched for in the words of the text that names it.
            names |= {link.first.title: link.first.title, link.first.value: link.second.title}
        entities = [_entity(name, self._by_title[title]) for name, title in names.items()]
        passages = {name: self._found[title] for name, title in names.items()}
        known = {(name, fact.relation): fact for name, title in names.items() for fact in self._by_title[title]}
        return TextClassroom(Records(tuple(entities)), passages, rng, goes_on, known)


def _entity(name: str, facts: Collection[Fact]) -> Entity:
    return Entity(name, "", {fact.relation: fact.value for fact in facts})


def evidence_titles(benchmark: Path) -> frozenset[str]:
    """The titles that the questions of a FlashRAG file name as their evidence, in ``metadata.titles``.

    Raises ``InputError`` where none does.
    """
    try:
        rows = [from_json(line) for line in benchmark.read_text(encoding="utf-8").splitlines() if line.strip()]
        titles = frozenset(str(title) for row in rows for title in row.get("metadata", {}).get("titles", ()))
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(f"{benchmark} cannot be read as JSON Lines with metadata.titles: {error!r}") from error
    if not titles:
        raise InputError(f"no question of {benchmark} names its evidence in metadata.titles: leave it out")
    return titles
