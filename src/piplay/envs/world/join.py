"""Records whose passages are text of one's own, joined by title: only facts that a row's passage states are kept."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from piplay.envs.search.question import Passage, show
from piplay.envs.search.values import mentions
from piplay.envs.world.records import Entity, Records, fold
from piplay.errors import InputError

MIN_ROWS = 20
_REMARK = re.compile(r"\s*\([^()]*\)$")
"""What stands behind a title to tell it from others: "Georgia (country)"."""
_SHORT = 3
"""Characters up to which another name counts as stated only in its own case: IN is India, "in" is not."""


@dataclass
class Join:
    """What a join found."""

    passages: int = 0
    """Passages of the corpus."""
    rows: int = 0
    """Rows that have a passage."""
    without: int = 0
    """Rows that have none, and are left out."""
    several: int = 0
    """Rows whose name is the title of several passages."""
    stated: int = 0
    """Values that the passage of their row states."""
    unstated: int = 0
    relations: dict[str, tuple[int, int]] = field(default_factory=dict)
    """The same two numbers by relation."""


def join(records: Records, corpus: Sequence[Passage], where: str) -> tuple[Records, list[int], Join]:
    """The rows that a corpus has a passage for, with what it states; the places of their passages; and the counts.

    A passage is a row's whose title is its name but for case, else its name and a remark in brackets, else one of its
    aliases. Of several the one that states most of the row's facts is taken, of equal ones the first. A value is stated
    where it stands in the passage as whole words, a link by any of its names; numbers and dates by their value.

    Raises:
        InputError: fewer than 20 rows have a passage that states a fact.
    """
    told = Join(passages=len(corpus))
    candidates = _by_title(records, corpus)
    kept: dict[int, Entity] = {}
    for entity in records:
        places = [place for place in candidates.get(entity.name, ()) if place not in kept]
        if not places:
            told.without += 1
            continue
        told.rows += 1
        told.several += len(places) > 1
        place, stated = max(
            ((place, _stated(records, entity, corpus[place])) for place in places), key=lambda found: len(found[1])
        )
        kept[place] = _only(entity, stated)
        for relation, value in entity.stated():
            counted = told.relations.get(relation, (0, 0))
            is_stated = (relation, value) in stated
            told.relations[relation] = counted[0] + is_stated, counted[1] + (not is_stated)
    told.stated = sum(stated for stated, _ in told.relations.values())
    told.unstated = sum(unstated for _, unstated in told.relations.values())
    usable = sum(bool(entity.facts) for entity in kept.values())
    if usable < MIN_ROWS:
        raise InputError(
            f"{where}: {told.rows} of {told.rows + told.without} rows have a passage with their name as its title"
            f"{_example(records, corpus)}, and {usable} of these state a fact of their row: a world needs {MIN_ROWS}; "
            "check the key column (--key), or name a column of titles with --aliases."
        )
    return Records(tuple(kept.values())), list(kept), told


def arranged(records: Records, corpus: Sequence[Passage], places: Sequence[int]) -> Iterator[Passage]:
    """The corpus as a world has it: first each entity's passage, under its name as its id, then all others."""
    for name, place in zip(records.by_name, places, strict=True):
        yield replace(corpus[place], id=name)
    taken = set(places)
    for place, passage in enumerate(corpus):
        if place not in taken:
            yield replace(passage, id=f"text/{passage.id}") if passage.id in records.by_name else passage


def _by_title(records: Records, corpus: Sequence[Passage]) -> dict[str, list[int]]:
    """By entity the places of the passages that may be about it: of the closest kind of title that there is."""
    names = {fold(name): name for name in records.by_name}
    aliases: dict[str, str] = {}
    for entity in records:
        for alias in entity.aliases:
            aliases.setdefault(fold(alias), entity.name)
    ranks: tuple[defaultdict[str, list[int]], ...] = (defaultdict(list), defaultdict(list), defaultdict(list))
    for place, passage in enumerate(corpus):
        title = fold(passage.title.replace("_", " "))
        ways = names.get(title), names.get(_REMARK.sub("", title)), aliases.get(title)
        rank = next((rank for rank, name in enumerate(ways) if name), None)
        if rank is not None:
            ranks[rank][str(ways[rank])].append(place)
    return {name: next(found[name] for found in ranks if name in found) for name in {n for r in ranks for n in r}}


def _stated(records: Records, entity: Entity, passage: Passage) -> set[tuple[str, str]]:
    """The facts of an entity that a passage states."""
    text = show([passage])
    return {
        (relation, value)
        for relation, value in entity.stated()
        if any(_stands(text, name, name == value) for name in records.names(value))
    }


def _stands(text: str, name: str, is_value: bool) -> bool:
    if not is_value and len(name) <= _SHORT and not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text):
        return False
    return mentions(text, name)


def _only(entity: Entity, stated: set[tuple[str, str]]) -> Entity:
    """The entity with its stated facts; of a relation that is stated in part the rest stays right."""
    facts: dict[str, str] = {}
    more: dict[str, tuple[str, ...]] = {}
    unstated: dict[str, tuple[str, ...]] = {}
    for relation in entity.facts:
        values = [value for value in entity.values(relation) if (relation, value) in stated]
        if values:
            facts[relation] = values[0]
            if values[1:]:
                more[relation] = tuple(values[1:])
            if rest := tuple(value for value in entity.values(relation) if value not in values):
                unstated[relation] = rest
    return replace(entity, facts=facts, more=more, unstated=unstated)


def _example(records: Records, corpus: Sequence[Passage]) -> str:
    row = next(iter(records.by_name), "")
    return f' (a row is "{row}", a title "{corpus[0].title}")'
