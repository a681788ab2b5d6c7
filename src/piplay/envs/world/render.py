"""Records put into words: passages of natural English, several phrasings a fact, with distracting sentences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from piplay.envs.search.question import Passage
from piplay.envs.world.records import Entity, Records
from piplay.streams import pick, stream

FACTS = (
    "The {relation} of {name} is {value}.",
    "{Its} {relation} is {value}.",
    "As {its} {relation}, {name} has {value}.",
    "{Its} {relation}, many agree, is {value}.",
)
"""The relation before its value: where the value comes first, a model of a million parameters reads by the kind of
value alone (docs/results.md)."""
PLAIN_FACTS = FACTS[:2]
LISTS = tuple(form.replace(" is {value}", " are {value}") for form in FACTS)
"""The same for several values."""

INTROS = (
    "{name} is {a} {kind}.",
    "{name} is a {adjective} {kind}.",
    "{name}, a {adjective} {kind}, is described here.",
)
ADJECTIVES = (
    "small", "well-known", "quiet", "modest", "famous", "remarkable", "lesser-known", "curious", "typical", "notable",
)  # fmt: skip
MENTIONS = (
    "{other} is often mentioned in the same breath.",
    "Not to be confused with {other}.",
    "Many think of {other} as well.",
    "Much the same is said of {other}.",
)
FILLERS = (
    "Little else was ever written down.",
    "Old chronicles go on at some length.",
    "Most of this is told in the older sources.",
    "The early years are still a matter of debate.",
    "More can be found in the archives.",
)
ALIAS = "{name} is also known as {alias}."
MIN_WORDS = 40


def passage(records: Records, entity: Entity, seed: int, plain: bool = False) -> Passage:
    """The passage about one entity: all its facts, an alias where it has one, and distracting sentences.

    At least 40 words; a default-world entity (three to five facts) stays within 60. A ``plain`` passage, of the first
    lessons of pre-training, has two phrasings and nothing that distracts.
    """
    rng = stream(seed, ("passage", entity.name))
    middle = [_fact(rng, entity, relation, PLAIN_FACTS if plain else FACTS) for relation in entity.facts]
    if not plain:
        other = _other(rng, records, entity)
        if rng.random() < 0.35 and other.facts:
            relation = pick(rng, [r for r in other.facts if r in entity.facts] or list(other.facts))
            middle.append(foreign_fact(relation, other.name, *other.values(relation)))
        else:
            middle.append(pick(rng, MENTIONS).format(other=other.name))
        middle += [ALIAS.format(name=entity.name, alias=alias) for alias in entity.aliases]
    order = rng.permutation(len(middle))
    article = "an" if entity.kind[0].lower() in "aeiou" else "a"
    intro = pick(rng, INTROS).format(name=entity.name, a=article, kind=entity.kind, adjective=pick(rng, ADJECTIVES))
    sentences = [intro, *(middle[i] for i in order)]
    fillers = list(rng.permutation(FILLERS))
    while not plain and sum(len(s.split()) for s in sentences) < MIN_WORDS and fillers:
        sentences.append(str(fillers.pop()))
    return Passage(id=entity.name, title=entity.name, text=" ".join(sentences))


def foreign_fact(relation: str, name: str, *values: str) -> str:
    """The distracting sentence with a fact of another entity."""
    return (LISTS if len(values) > 1 else FACTS)[0].format(relation=relation, name=name, value=listed(values))


def passages(records: Records, seed: int) -> list[Passage]:
    """One passage an entity, in the order of the records."""
    return [passage(records, entity, seed) for entity in records.entities]


def _fact(rng: np.random.Generator, entity: Entity, relation: str, forms: tuple[str, ...]) -> str:
    its, values = entity.pronoun, entity.values(relation)
    return pick(rng, LISTS if len(values) > 1 else forms).format(
        relation=relation, name=entity.name, value=listed(values), its=its, Its=its.capitalize()
    )


def listed(values: Sequence[str]) -> str:
    """Values as a sentence lists them: "Dutch, French and German"."""
    *others, last = values
    comma = "; " if any("," in value for value in values) else ", "
    return f"{comma.join(others)} and {last}" if others else last


def _other(rng: np.random.Generator, records: Records, entity: Entity) -> Entity:
    while True:
        other = records.entities[int(rng.integers(len(records.entities)))]
        if other.name != entity.name or len(records.entities) == 1:
            return other
