"""Records: what a world knows before it is put into words, wherever it comes from.

An entity is a name with facts; a fact is a relation word and a value, or several values, each of them right where the
relation is asked for. A value that is another entity's name is a link.
One table row is one entity, one column one relation, so the same code renders, solves and examines generated
encyclopedias and a person's own tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field


def fold(text: str) -> str:
    """How names and relation words are compared: lower case, single spaces, straight apostrophes."""
    return " ".join(text.lower().replace("’", "'").split())


def singular(word: str) -> str:
    """A plural without its ending, for words that keep to the rule: "time zones" as "time zone"."""
    if word.endswith("ies"):
        return f"{word[:-3]}y"
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


@dataclass(frozen=True, slots=True)
class Entity:
    """One thing of the world."""

    name: str
    kind: str
    """What it is, in a word or two: "city", "package"."""
    facts: Mapping[str, str]
    """Relation word to value, the first where there are several, in the order in which they were given."""
    aliases: tuple[str, ...] = ()
    pronoun: str = "its"
    """The possessive that stands for it in a sentence."""
    more: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Further values of a relation that has several."""
    unstated: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Values of these relations that its passage does not state: right where they are answered, never asked for."""

    def values(self, relation: str) -> tuple[str, ...]:
        """Every value of a relation that its passage states; none where it has no such relation."""
        return (self.facts[relation], *self.more.get(relation, ())) if relation in self.facts else ()

    def stated(self) -> Iterator[tuple[str, str]]:
        """Each relation with each value that its passage states."""
        return ((relation, value) for relation in self.facts for value in self.values(relation))

    def right(self, relation: str) -> tuple[str, ...]:
        """Every right value, stated or not."""
        return (*self.values(relation), *self.unstated.get(relation, ()))


@dataclass(frozen=True)
class Records:
    """All entities of a world by name; with entities on disk only the names are held."""

    entities: Sequence[Entity]
    by_name: Mapping[str, Entity] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", _ByName(self.entities))
        if len(self.by_name) != len(self.entities):
            raise ValueError("entity names must be unique")

    def __iter__(self) -> Iterator[Entity]:
        return iter(self.entities)

    def follow(self, start: str, relations: Iterable[str]) -> tuple[str, ...]:
        """Every value at the end of a chain of relations, none twice; none where the chain does not exist."""
        values: tuple[str, ...] = (start,)
        for relation in relations:
            owners = (self.by_name.get(value) for value in values)
            found = (value for owner in owners if owner for value in owner.right(relation))
            values = tuple(dict.fromkeys(found))
        return values

    def chains(self, start: str, hops: int) -> Iterator[tuple[str, ...]]:
        """Every chain of ``hops`` relations from ``start`` that visits no value twice."""

        def extend(value: str, left: int, seen: frozenset[str]) -> Iterator[tuple[str, ...]]:
            if left == 0:
                yield ()
                return
            entity = self.by_name.get(value)
            for relation, target in entity.stated() if entity else ():
                if target not in seen:
                    for rest in extend(target, left - 1, seen | {target}):
                        yield (relation, *rest)

        yield from dict.fromkeys(extend(start, hops, frozenset({start})))

    def answers(self, *values: str) -> tuple[str, ...]:
        """Some values, each with its aliases where it is an entity."""
        return tuple(dict.fromkeys(name for value in values for name in self.names(value)))

    def names(self, value: str) -> tuple[str, ...]:
        """A value and, when it is an entity, its aliases."""
        entity = self.by_name.get(value)
        return (value, *(entity.aliases if entity else ()))


class _ByName(Mapping[str, Entity]):
    def __init__(self, entities: Sequence[Entity]) -> None:
        self._entities = entities
        self._places = {entity.name: place for place, entity in enumerate(entities)}

    def __getitem__(self, name: str) -> Entity:
        return self._entities[self._places[name]]

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)
