"""Records: what a world knows before it is put into words, wherever it comes from.

An entity is a name with facts; a fact is a relation word and a value. A value that is another entity's name is a link.
One table row is one entity, one column one relation, so the same code renders, solves and examines generated
encyclopedias and a person's own tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field


def fold(text: str) -> str:
    """How names and relation words are compared: lower case, single spaces, straight apostrophes."""
    return " ".join(text.lower().replace("’", "'").split())


@dataclass(frozen=True, slots=True)
class Entity:
    """One thing of the world."""

    name: str
    kind: str
    """What it is, in a word or two: "city", "package"."""
    facts: Mapping[str, str]
    """Relation word to value, in the order in which they were given."""
    aliases: tuple[str, ...] = ()
    pronoun: str = "its"
    """The possessive that stands for it in a sentence."""


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

    def follow(self, start: str, relations: Iterable[str]) -> str | None:
        """The value at the end of a chain of relations, or None where the chain does not exist."""
        value = start
        for relation in relations:
            entity = self.by_name.get(value)
            if entity is None or relation not in entity.facts:
                return None
            value = entity.facts[relation]
        return value

    def chains(self, start: str, hops: int) -> Iterator[tuple[str, ...]]:
        """Every chain of ``hops`` relations from ``start`` that visits no value twice."""

        def extend(value: str, left: int, seen: frozenset[str]) -> Iterator[tuple[str, ...]]:
            if left == 0:
                yield ()
                return
            entity = self.by_name.get(value)
            for relation, target in entity.facts.items() if entity else ():
                if target not in seen:
                    for rest in extend(target, left - 1, seen | {target}):
                        yield (relation, *rest)

        yield from extend(start, hops, frozenset({start}))

    def answers(self, value: str) -> tuple[str, ...]:
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
