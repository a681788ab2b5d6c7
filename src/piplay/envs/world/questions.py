"""Questions as chains of relations: how they are asked, how they are read back, and what their truth is."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from piplay.envs.search.values import every_value, same_value
from piplay.envs.world.records import Records, fold, singular
from piplay.streams import pick

EXAMINER_FORM = "What is the {chain}?"
"""How the tiny base has learnt to ask; the benchmark asks otherwise."""
BENCHMARK_FORMS = (
    "Name the {chain}.",
    "Tell me the {chain}.",
    "Find out the {chain}.",
    "Which is the {chain}?",
)


def chain_phrase(start: str, relations: Sequence[str], possessive: bool = False) -> str:
    """``("Bor", ("capital", "river"))`` as "river of the capital of Bor" or "river of Bor's capital"."""
    inner = f"{start}'s {relations[0]}" if possessive else f"{relations[0]} of {start}"
    phrase = inner
    for i, relation in enumerate(relations[1:]):
        phrase = f"{relation} of {'' if possessive and i == 0 else 'the '}{phrase}"
    return phrase


def ask(rng: np.random.Generator, start: str, relations: Sequence[str], forms: Sequence[str]) -> str:
    """A question for a chain, in one of the given forms; half of the longer ones open their chain with a possessive."""
    possessive = len(relations) > 1 and forms != (EXAMINER_FORM,) and rng.random() < 0.5
    return pick(rng, forms).format(chain=chain_phrase(start, relations, possessive))


class Verdict(StrEnum):
    """What the solver says of a question and its answer."""

    TRUE = "true"
    FALSE = "false"
    """The chain exists and ends elsewhere."""
    ILL_TYPED = "ill_typed"
    """A relation is asked of something that has no such relation, or of nothing that exists."""
    UNKNOWN = "unknown"
    """The question cannot be read."""


@dataclass(frozen=True, slots=True)
class Solution:
    """A question read as a chain, and where the chain ends."""

    verdict: Verdict
    answers: tuple[str, ...] = ()
    """Every true answer and its aliases, where the chain exists."""
    relations: tuple[str, ...] = ()
    """The relations as read, innermost first."""
    start: str = ""
    """The entity that the chain starts from; empty where none is known by that name."""
    ends: tuple[str, ...] = ()
    """The values at the chain's end: several where a relation on the way has several values."""
    asks_all: bool = False
    """Whether the question asks for all of them ("What are the …"); otherwise any one answers it."""
    stranger: str = ""
    """The name that it starts from, folded, where nothing is known by it."""


_LEAD = re.compile(
    r"^(?:what|who or what|which|who|name|tell me|find out|give|list|where|when)\b"
    r"(?: (?:is|was|(are|were)))? (.+?) ?[.?]?$"
)
_JOINT = re.compile("[_.-]")
"""What a column's name has in place of spaces: see ``readers.words``."""
_ALL = re.compile(r"(?:all|every|each)(?: of)? ")
_READINGS = 8
"""Readings kept of one stretch of a question: more would mean relation words nested in each other on purpose."""
Reading = tuple[str, tuple[str, ...]]
"""A start and the relations from it, innermost first."""


class Solver:
    """Computes the truth of questions of the form "<lead> the r_h of ... of the r_1 of X" or "... of X's r_1".

    A question is read against the names and relation words of the records, so both may hold an " of ", a "the" or an
    apostrophe. Of several readings the one that exists wins, then the one with the longest words.
    """

    def __init__(self, records: Records) -> None:
        self.records = records
        self._names: dict[str, str] = {}
        for name in records.by_name:  # names first: an alias never hides one
            self._names.setdefault(fold(name), name)
        self._relations: dict[str, str] = {}
        for name, entity in zip(records.by_name, records.entities, strict=True):
            for alias in entity.aliases:
                self._names.setdefault(fold(alias), name)
            self._relations |= {fold(relation): relation for relation in entity.facts}
        # "the language of X" where the column is "languages".
        for word, relation in list(self._relations.items()):
            self._relations.setdefault(singular(word), relation)
        self._name_length = max(map(len, self._names), default=0)
        self._relation_length = max(map(len, self._relations), default=0)

    def solve(self, question: str) -> Solution:
        """Read and follow a question. Never raises: what cannot be read is UNKNOWN."""
        match = _LEAD.match(fold(question))
        if not match:
            return Solution(Verdict.UNKNOWN)
        plural, phrase = match.groups()
        readings = [reading for reading in self._read(phrase) if reading[1]]
        if not readings and (every := _ALL.match(phrase)):
            plural, phrase = every[0], phrase[every.end() :]
            readings = [reading for reading in self._read(phrase) if reading[1]]
        for start, relations in readings:
            ends = self.records.follow(start, relations)
            if ends:
                return Solution(
                    Verdict.TRUE, self.records.answers(*ends), relations, start, ends, asks_all=bool(plural)
                )
        if readings:
            start, relations = readings[0]
            return Solution(Verdict.ILL_TYPED, relations=relations, start=start)
        return self._foreign(phrase)

    def judge(self, question: str, answer: str) -> Verdict:
        """Whether an answer is a true one: the same value, or several of the true ones and nothing else.

        Where the question asks for all, the answer has to list all of them.
        """
        solution = self.solve(question)
        if solution.verdict is not Verdict.TRUE:
            return solution.verdict
        if solution.asks_all:
            right = every_value(answer, [self.records.names(end) for end in solution.ends])
        else:
            right = same_value(answer, solution.answers)
        return Verdict.TRUE if right else Verdict.FALSE

    def _read(self, phrase: str) -> list[Reading]:
        """Every way to read a folded phrase in known words, the longest words first; at most a few.

        From right to left over the places where a noun may begin, so that no nesting is read twice; no stretch longer
        than the longest known word is looked at, so that a very long question costs no more than its length.
        """
        splits = [m.start() for m in re.finditer(r"(?= of )", phrase)]
        begins = [0, *(split + len(" of ") for split in splits)]
        readings: dict[int, list[Reading]] = {}
        for begin in sorted(begins, reverse=True):
            found: list[Reading] = []
            for at in (begin, begin + len("the ")) if phrase.startswith("the ", begin) else (begin,):
                if len(phrase) - at <= self._name_length + len("'s ") + self._relation_length:
                    found += self._start(phrase[at:])
                first, last = bisect_right(splits, at), bisect_right(splits, at + self._relation_length)
                for split in reversed(splits[first:last]):
                    relation = self._relation(phrase[at:split])
                    if relation is not None:
                        found += [(name, (*rest, relation)) for name, rest in readings[split + len(" of ")]]
            readings[begin] = found[:_READINGS]
        return readings[0]

    def _relation(self, word: str) -> str | None:
        """The relation that a word means; "alpha-2" is "alpha 2", as a column of that name is called."""
        return self._relations.get(word) or self._relations.get(" ".join(_JOINT.sub(" ", word).split()))

    def _start(self, text: str) -> list[Reading]:
        """A text as a bare name, or as a name's own innermost relation: "Bor" or "Bor's capital"."""
        found: list[Reading] = [(self._names[text], ())] if text in self._names else []
        for match in reversed(list(re.finditer(r"'s ", text))):
            name = self._names.get(text[: match.start()])
            relation = self._relation(text[match.end() :])
            if name is not None and relation is not None:
                found.append((name, (relation,)))
        return found

    def _foreign(self, phrase: str) -> Solution:
        """A phrase that asks for a relation or of a name that the records do not have."""
        *head, tail = re.split(r" of (?:the )?", phrase.removeprefix("the "))
        start, _, owned = tail.partition("'s ")
        if owned:
            head, tail = [*head, owned], start
        if not head:
            return Solution(Verdict.UNKNOWN)
        relations = tuple(self._relation(word) or word for word in reversed(head))
        start = self._names.get(tail, "")
        return Solution(Verdict.ILL_TYPED, relations=relations, start=start, stranger="" if start else tail)
