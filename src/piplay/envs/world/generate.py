"""Seeded worlds: the default fictional encyclopedia, and the varied ones that the tiny base is pre-trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from piplay.envs.world.names import (
    KINDS,
    LITERALS,
    NOUNS,
    QUALIFIERS,
    Namer,
    coded_literal,
    encyclopedia_namer,
    free_literal,
    free_namer,
    soup_namer,
)
from piplay.envs.world.records import Entity, Records
from piplay.streams import pick, stream

YEAR, COUNT = "year", "count"
ENCYCLOPEDIA: dict[str, dict[str, str]] = {
    "person": {"birthplace": "city", "mentor": "person", "employer": "company", "birth year": YEAR},
    "city": {"country": "country", "river": "river", "mayor": "person", "population": COUNT},
    "country": {"capital": "city", "ruler": "person", "highest mountain": "mountain", "area": COUNT},
    "company": {"founder": "person", "headquarters": "city", "parent company": "company", "opening year": YEAR},
    "river": {"spring": "mountain", "mouth": "city", "explorer": "person", "length": COUNT},
    "mountain": {"nearest town": "city", "first climber": "person", "height": COUNT},
    "book": {"author": "person", "setting": "city", "publisher": "company", "sequel": "book", "print year": YEAR},
    "school": {"principal": "person", "sponsor": "company", "home city": "city", "pupil count": COUNT},
    "festival": {"host city": "city", "patron": "person", "first guest": "person", "first year": YEAR},
    "ship": {"captain": "person", "shipyard": "company", "home port": "city", "launch year": YEAR},
}
"""Entity types of the default world: relation to the type of its values."""
SHARES = {"person": 5, "city": 4, "company": 3, "book": 3, "country": 1, "river": 2, "mountain": 2}


ONE_WORD = 10_000
"""Entities up to which a name is one word: the stock has hardly twice as many. In larger encyclopedias it is two."""


def encyclopedia(seed: int, size: int = 700) -> Records:
    """The fictional encyclopedia: ``size`` entities of ten types, 40 relations, made-up names.

    Some entities have an alias. Every link points to an entity other than its owner.
    """
    return Records(tuple(articles(seed, size)))


def articles(seed: int, size: int) -> Iterator[Entity]:
    """The entities of ``encyclopedia`` one after another: of the whole world only the names are held."""
    rng = stream(seed, ("world", "encyclopedia", size))
    names = _distinct(encyclopedia_namer(rng, 1 if size <= ONE_WORD else 2), rng)
    total = sum(SHARES.get(kind, 1) for kind in ENCYCLOPEDIA)
    members = {
        kind: [names() for _ in range(max(2, round(size * SHARES.get(kind, 1) / total)))] for kind in ENCYCLOPEDIA
    }
    for kind, relations in ENCYCLOPEDIA.items():
        for name in members[kind]:
            facts = {relation: _value(rng, members, target, name) for relation, target in relations.items()}
            pronoun = pick(rng, ("his", "her")) if kind == "person" else "its"
            aliases = (names(),) if rng.random() < 0.25 else ()
            yield Entity(name, kind, facts, aliases, pronoun)


def varied(seed: int, size: int = 24, simple: bool = False, pieces: Sequence[str] = ()) -> Records:
    """A small world whose relations, types, names and values are all drawn again.

    ``simple`` keeps to one-word relations and the encyclopedia's names: the first lessons of pre-training. With
    ``pieces`` of words most names, values and relations are made of these, like nothing that a word list holds. Where
    it is not simple, a fact may be missing, and some links mostly lead to the same few entities.
    """
    rng = stream(seed, ("world", "varied", size, simple))

    def namer() -> Namer:
        return soup_namer(rng, pieces) if pieces else free_namer(rng)

    names = _distinct(encyclopedia_namer(rng) if simple else namer(), rng)
    invent = _distinct(lambda: namer()().lower(), rng)
    words = rng.permutation(NOUNS)
    literal_words = rng.permutation(LITERALS)

    def relation(word: str) -> str:
        if simple or rng.random() < (0.3 if pieces else 0.65):
            return word
        return invent() if rng.random() < (0.8 if pieces else 0.4) else f"{rng.choice(QUALIFIERS)} {word}"

    def literal() -> Namer:
        if pieces and rng.random() < 0.6:
            return namer() if rng.random() < 0.5 else coded_literal(rng, namer())
        return free_literal(rng)

    kinds = [str(kind) for kind in rng.choice(KINDS, int(rng.integers(2 if simple else 1, 5)), replace=False)]
    links, used = {}, 0
    literals: dict[str, dict[str, Namer]] = {}
    for i, kind in enumerate(kinds):
        width = int(rng.integers(2 if simple else 1, 5))
        links[kind] = {relation(str(w)): str(rng.choice(kinds)) for w in words[used : used + width]}
        used += width
        width = int(rng.integers(1, 4 if simple else 6))
        numbers = {relation(str(w)): literal() for w in literal_words[5 * i : 5 * i + width]}
        literals[kind] = {word: maker for word, maker in numbers.items() if word not in links[kind]}
    members = {kind: [names() for _ in range(max(2, size // len(kinds)))] for kind in kinds}
    crowding = {r: 1.0 if simple else float(rng.choice([1.0, 3.0])) for kind in kinds for r in links[kind]}
    entities = []
    for kind in kinds:
        for name in members[kind]:
            facts = {r: _value(rng, members, target, name, crowding[r]) for r, target in links[kind].items()}
            facts |= {r: maker() for r, maker in literals[kind].items()}
            order = rng.permutation(len(facts))
            if not simple and len(facts) > 2 and rng.random() < 0.2:
                order = order[1:]
            pairs = list(facts.items())
            aliases = (names(),) if rng.random() < 0.2 else ()
            pronoun = str(rng.choice(["his", "her", "its", "its"]))
            entities.append(Entity(name, kind, dict(pairs[i] for i in order), aliases, pronoun))
    return Records(tuple(entities))


def _distinct(make: Namer, rng: np.random.Generator) -> Namer:
    """The same namer without repetitions; a style that runs dry is lengthened by a digit."""
    seen: set[str] = set()

    def name() -> str:
        for _ in range(20):
            text = make()
            if text.lower() not in seen:
                break
        while text.lower() in seen:
            text = f"{make()}{rng.integers(100, 100_000)}"
        seen.add(text.lower())
        return text

    return name


def _value(
    rng: np.random.Generator, members: dict[str, list[str]], target: str, owner: str, crowding: float = 1.0
) -> str:
    """A value of the target type; the higher ``crowding``, the more often one of the first members."""
    if target == YEAR:
        return str(rng.integers(1200, 2000))
    if target == COUNT:
        return str(rng.integers(100, 100_000))
    while True:
        place = rng.random() ** crowding if crowding > 1 else None
        name = pick(rng, members[target]) if place is None else members[target][int(len(members[target]) * place)]
        if name != owner:
            return name
