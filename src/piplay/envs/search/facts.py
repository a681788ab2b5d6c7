"""Single facts out of prose under titles: what is said of a title, by relation, with the value word for word.

Lessons and questions about a corpus of one's own are made of them. They are found by patterns over the forms of English
sentences, so what they say is likely, not certain.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import regex

from piplay.envs.search.match import contains, folded
from piplay.envs.search.prose import bare, is_person, is_plural, name_of, statements
from piplay.envs.search.question import Passage
from piplay.envs.search.relations import RELATIONS, Relation
from piplay.errors import InputError

LONGEST = 5
"""Words of a value."""
_LIFE = regex.compile(r"\((?:born |c\. |b\. |fl\. |died )*\d{1,4}\b(?! \p{L}+\))")
"""In a description: years of somebody's life."""
_WITHIN = regex.compile(r"(?<=[\p{L},] )\p{L}+")
_OFTEN = 10
_SEVERAL = (
    (" is {}", " are {}"), (" was {}", " were {}"), (" does {}", " do {}"),
    ("{} is ", "{} are "), ("{} was ", "{} were "), ("{} belongs ", "{} belong "), ("{} comes ", "{} come "),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that a passage says of its title."""

    title: str
    name: str
    """What the title is called within a sentence."""
    relation: str
    """As in "the RELATION of NAME"."""
    form: str
    """The question, with ``{}`` for the name."""
    phrase: str
    """What names the value, with ``{}`` for the name, as in "the capital of {}"; empty where nothing does."""
    value: str
    """At most ``LONGEST`` words, which stand so in ``sentence``; neither is part of the title nor the title of it."""
    sentence: str

    @property
    def question(self) -> str:
        return self.form.format(self.name)


@dataclass(frozen=True, slots=True)
class Chain:
    """Two facts, of which the second is about the first one's value."""

    first: Fact
    second: Fact

    @property
    def question(self) -> str:
        """It names the first one's title and asks for the second one's value."""
        return self.second.form.format(self.first.phrase.format(self.first.name))


def facts(title: str, description: str, text: str, common: Container[str] = ()) -> list[Fact]:
    """The facts of one passage, one a relation, in the order of the text; none without a title.

    Args:
        description: what the title is in a few words, or nothing; it only helps to tell people from things.
        common: see ``name_of``.
    """
    if not title:
        return []
    name = name_of(title, text, common)
    said = list(statements(title, text))
    plural = is_plural(title, said)
    person = bool(_LIFE.search(description)) or is_person(text)
    found: dict[str, Fact] = {}
    values: set[str] = set()
    for statement in said:
        head = statement.head
        for relation in RELATIONS:
            if relation.name in found or relation.person not in (None, person):
                continue
            for match in relation.values(statement.said, head):
                value = match["value"]
                if _fits(value, title, statement.sentence) and folded(value) not in values:
                    values.add(folded(value))
                    forms = _forms(relation, match, plural)
                    found[relation.name] = Fact(title, name, relation.name, *forms, value, statement.sentence)
                    break
    return list(found.values())


def facts_of(passages: Sequence[Passage], descriptions: Mapping[str, str] | None = None) -> list[list[Fact]]:
    """The facts of each passage of a corpus; ``descriptions`` are by passage id.

    A title with brackets, "Queen (band)", is asked for without them where no other title has that name.

    Raises:
        InputError: no passage has a title.
    """
    if not any(passage.title for passage in passages):
        raise InputError(
            f"none of the {len(passages)} passages has a title, and facts are what is said of a title: give a corpus "
            "whose rows have one"
        )
    names = Counter(folded(bare(title)) for title in {passage.title for passage in passages})
    known = descriptions or {}
    common = _common(passages)
    return [
        [
            replace(fact, name=passage.title) if names[folded(bare(passage.title))] > 1 else fact
            for fact in facts(passage.title, known.get(passage.id, ""), passage.text, common)
        ]
        for passage in passages
    ]


def chains(found: Iterable[Sequence[Fact]]) -> Iterator[Chain]:
    """Pairs of facts of which the first one's value names the second one's title.

    A value names a title that is the same but for case, "the" and brackets, where there is only one. Names and kinds
    make no chains: nobody asks for the capital of another name of something.
    """
    about: dict[str, list[Fact]] = defaultdict(list)
    for fact in (fact for part in found for fact in part):
        about[fact.title].append(fact)
    named: dict[str, list[str]] = defaultdict(list)
    for title in about:
        named[folded(bare(title))].append(title)
    for first in (fact for part in about.values() for fact in part):
        titles = named.get(folded(first.value), []) if first.phrase else []
        for second in about[titles[0]] if len(titles) == 1 else ():
            if second.title != first.title and not contains(first.title, second.value):
                yield Chain(first, second)


def balanced(found: Sequence[Fact], rng: np.random.Generator, share: float = 0.15) -> list[Fact]:
    """As many of the facts, in random order, as can be had with no relation above ``share`` of them.

    Of fewer than 1 / ``share`` relations each has the same part.
    """
    groups: dict[str, list[Fact]] = defaultdict(list)
    for fact in found:
        groups[fact.relation].append(fact)
    sizes = [len(group) for group in groups.values()]
    most = max(share, 1 / max(len(groups), 1))
    cap = next((c for c in range(max(sizes, default=0), 0, -1) if c <= most * sum(min(n, c) for n in sizes)), 0)
    chosen = [group[i] for group in groups.values() for i in rng.permutation(len(group))[:cap]]
    return [chosen[i] for i in rng.permutation(len(chosen))]


def _forms(relation: Relation, match: regex.Match[str], plural: bool) -> tuple[str, str]:
    """The question and the phrase, each with ``{}`` for the name."""
    groups = {name: text for name, text in match.groupdict().items() if name != "value"}
    phrase = f"the {relation.name} of {{}}" if relation.phrase == "" else relation.phrase or ""
    question, phrase = (form.format("{}", **groups) for form in (relation.question, phrase))
    for one, several in _SEVERAL if plural else ():
        question, phrase = question.replace(one, several), phrase.replace(one, several)
    return question, phrase


def _common(passages: Sequence[Passage]) -> set[str]:
    """The words that are hardly ever written with a capital letter inside sentences; a rare word may be a name."""
    words = Counter(word for passage in passages for word in _WITHIN.findall(passage.text))
    often = ((word, count) for word, count in words.items() if word[0].islower() and count >= _OFTEN)
    return {word for word, count in often if count >= _OFTEN * words[word.capitalize()]}


def _fits(value: str, title: str, sentence: str) -> bool:
    """Whether a value is short, stands in its sentence, and neither is in the title nor has it within."""
    return (
        0 < len(value.split()) <= LONGEST
        and regex.search(rf"(?<!\w){regex.escape(value)}(?!\w)", sentence) is not None
        and bool(folded(value))
        and not contains(title, value)
        and not contains(value, bare(title))
    )
