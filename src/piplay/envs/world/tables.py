"""A person's own tables as records: a row an entity, a column a relation, a value that names another row a link."""

from __future__ import annotations

import difflib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from piplay.envs.search.values import Confusion, confusion
from piplay.envs.world.cells import SEPARATORS, Column, clean, find_separator, parts_of, read_column
from piplay.envs.world.readers import Cell, Table, read_file, words
from piplay.envs.world.records import Entity, Records, fold, singular
from piplay.errors import InputError

MIN_ROWS = 20
EXAMPLES = 3
"""Rows that are named of those that were left out for one reason."""
_NAMED_SEPARATORS = ("\n", *SEPARATORS, "/")
"""Of a column that is said to hold lists: the first that stands in any of its cells."""
_CODES = 0.8
"""The share of a column's values that stand in another from which on that one is named as aliases to take."""


@dataclass
class Summary:
    """What an import took and left."""

    rows: int = 0
    """Rows read."""
    kinds: Counter[str] = field(default_factory=Counter)
    """Entities kept of each kind."""
    facts: Counter[str] = field(default_factory=Counter)
    """Values of each relation."""
    links: Counter[str] = field(default_factory=Counter)
    """Values of each relation that name another entity."""
    lists: dict[str, int] = field(default_factory=dict)
    """Rows that have several values, of each relation that holds lists."""
    aliases: int = 0
    """Other names of entities."""
    taken_aliases: int = 0
    """Other names that an earlier row has, or that are another row's name: they stay out."""
    missing: Counter[str] = field(default_factory=Counter)
    """Cells that hold a mark for nothing, by mark."""
    rewritten: Counter[str] = field(default_factory=Counter)
    """Numbers of each relation that were written as floats or in brackets."""
    skipped_cells: int = 0
    """Values too long, or without a letter, digit or symbol."""
    unnamed: int = 0
    """Rows whose name is empty or no usable value."""
    duplicates: int = 0
    """Rows whose name an earlier row of their table has."""
    renamed: int = 0
    """Rows whose name an earlier table has: their kind was put behind it."""
    bare: int = 0
    """Rows left out because they have no fact and nothing links to them."""
    confused: dict[str, Confusion] = field(default_factory=dict)
    """Which values of a relation SQuAD's rule cannot tell apart, or cannot match."""
    examples: dict[str, list[str]] = field(default_factory=dict, compare=False)
    """Some of the rows that were left out, by the field that counts them."""
    notes: list[str] = field(default_factory=list, compare=False)
    """What else was found: delimiters, columns without a name, columns that could be aliases."""

    def example(self, counted: str, row: str) -> None:
        """Note which row was left out, of the first of its kind."""
        told = self.examples.setdefault(counted, [])
        if len(told) < EXAMPLES:
            told.append(row)


@dataclass(frozen=True, slots=True)
class _Sheet:
    """A table whose rows have their names."""

    table: Table
    kind: str
    at: int
    """The column of names."""
    names: dict[int, str]
    """Rows by number that are kept, with their names."""

    def cells(self, column: int) -> list[Cell]:
        """A column's cells in the rows that are kept."""
        return [self.table.rows[row][column] for row in self.names]


@dataclass(frozen=True, slots=True)
class _Choice:
    """How tables are to be read: see ``read_tables``."""

    key: str | None
    kind: str | None
    columns: Sequence[str] | None
    lists: Sequence[str] | None
    aliases: Sequence[str]
    keep_missing: bool


def read_tables(
    paths: Sequence[Path | str],
    *,
    key: str | None = None,
    kind: str | None = None,
    columns: Sequence[str] | None = None,
    lists: Sequence[str] | None = None,
    aliases: Sequence[str] = (),
    keep_missing: bool = False,
    linked: bool = True,
) -> tuple[Records, Summary]:
    """The records of CSV, JSON Lines and SQLite tables, and what was taken and left.

    A name stands once: of one table's rows the first keeps it; a later table's row becomes "name (kind)". A value
    equal to an entity's name or alias but for case is a link to it. Values of more than 8 words or 60 characters are
    left out.

    Args:
        paths: files; ``FILE.sqlite:TABLE`` is one table of one.
        key: the column of names; by default a table's first.
        kind: what a row of the one table is; by default the file's or table's name, in the singular.
        columns: the columns to keep besides; by default all.
        lists: the columns whose cells hold several values; by default they are found (``find_separator``).
        aliases: columns that name their row too, such as codes: they are other names of it, and no facts.
        keep_missing: whether NaN, None, - and the like are values as any other.
        linked: whether tables without a link are refused.

    Raises:
        InputError: bad input, fewer than 20 usable rows, or no link.
    """
    choice = _Choice(key, kind, columns, lists, aliases, keep_missing)
    tables = [table for path in paths for table in read_file(str(path), choice.key)]
    if not tables:
        raise InputError("No table was given: name a .csv, .jsonl or .sqlite file.")
    if choice.kind is not None and (len(tables) > 1 or not clean(choice.kind)):
        raise InputError("--kind is what a row of one table is: name one table, and a word for its rows.")
    asked = [*([choice.key] if choice.key else []), *(choice.columns or ()), *(choice.lists or ()), *choice.aliases]
    _check_columns(tables, asked)
    summary = Summary(notes=[note for table in tables for note in table.notes])
    sheets: list[_Sheet] = []
    for table in tables:
        earlier = {fold(name) for sheet in sheets for name in sheet.names.values()}
        sheets.append(_sheet(table, earlier, choice, summary))
    records = _records(sheets, choice, summary)
    if len(records.entities) < MIN_ROWS:
        raise InputError(
            f"Only {len(records.entities)} rows are usable: a world needs {MIN_ROWS} rows with a name and a fact."
        )
    if linked and not summary.links:
        hint = next((f" ({note})" for note in summary.notes if "--aliases" in note), "")
        raise InputError(
            "No value of any column names another row: multi-hop questions need links; "
            f"check the key column (--key), or add the table that the values name{hint}."
        )
    return records, summary


def _check_columns(tables: Sequence[Table], wanted: Iterable[str]) -> None:
    known = {words(column): column for table in tables for column in table.columns}
    for column in wanted:
        if words(column) not in known:
            near = difflib.get_close_matches(words(column), known, n=1, cutoff=0)
            raise InputError(f'No table has a column "{column}": did you mean "{known[near[0]]}"?')


def _sheet(table: Table, earlier: set[str], choice: _Choice, summary: Summary) -> _Sheet:
    """A table's rows by their names, of which none is another's or of ``earlier`` tables."""
    kind = choice.kind or singular(words(table.name))
    relations = [words(column) for column in table.columns]
    at = relations.index(words(choice.key)) if choice.key and words(choice.key) in relations else 0
    said = read_column([row[at] for row in table.rows], keep_missing=choice.keep_missing)
    names: dict[str, tuple[int, str]] = {}
    for number, values in enumerate(said.values):
        summary.rows += 1
        if not values:
            summary.unnamed += 1
            summary.example("unnamed", f"{table.where}, row {number + 1}")
        elif fold(values[0]) in names:
            summary.duplicates += 1
            summary.example("duplicates", f"{values[0]} (row {number + 1})")
        else:
            names[fold(values[0])] = number, values[0]
    remedy = f'it is the column "{table.columns[at]}"; name the column that holds names with --key.'
    if choice.key is None and 2 * sum(not any(c.isalpha() for c in name) for name in names) > len(names):
        raise InputError(f"{table.where}: most of its rows have a number for a name: {remedy}")
    if 2 * len(names.keys() & earlier) > len(names):
        raise InputError(f"{table.where}: most of its rows have a name that an earlier table has, too: {remedy}")
    kept: dict[int, str] = {}
    for number, name in names.values():
        if fold(name) in earlier:
            name = f"{name} ({kind})"
            summary.renamed += 1
            if fold(name) in earlier or fold(name) in names:
                raise InputError(f'{table.where}: its row "{name}" has the name of another row: rename one.')
        kept[number] = name
    return _Sheet(table, kind, at, kept)


def _records(sheets: Sequence[_Sheet], choice: _Choice, summary: Summary) -> Records:
    """Columns become aliases or facts; rows that nothing can be asked of or with are left out."""
    names = {fold(name): name for sheet in sheets for name in sheet.names.values()}
    aliases = _aliases(sheets, names, choice, summary)
    known = {fold(alias): name for name, found in aliases.items() for alias in found} | names
    facts: dict[str, dict[str, tuple[str, ...]]] = {name: {} for name in names.values()}
    for sheet in sheets:
        columns = dict(_columns(sheet, known, choice))
        for relation, column in columns.items():
            summary.missing += column.missing
            summary.skipped_cells += column.skipped
            summary.rewritten[relation] += column.rewritten
            for name, values in zip(sheet.names.values(), column.values, strict=True):
                if values:
                    facts[name][relation] = tuple(dict.fromkeys(known.get(fold(value), value) for value in values))
        summary.notes += _codes(sheet, columns, known)
        summary.notes += [
            f'"{name}" holds marks for nothing alone' for name, column in columns.items() if _empty(column)
        ]
    named = {value for told in facts.values() for values in told.values() for value in values}
    kinds = {name: sheet.kind for sheet in sheets for name in sheet.names.values()}
    entities = []
    for name, found in facts.items():
        if not found and name not in named:
            summary.bare += 1
            summary.example("bare", name)
            continue
        first = {relation: values[0] for relation, values in found.items()}
        more = {relation: values[1:] for relation, values in found.items() if len(values) > 1}
        entities.append(Entity(name, kinds[name], first, aliases.get(name, ()), more=more))
    records = Records(tuple(entities))
    count(records, summary)
    return records


def count(records: Records, summary: Summary) -> None:
    """Say in a summary what the records hold."""
    summary.kinds, summary.facts, summary.links = Counter(), Counter(), Counter()
    summary.lists, summary.aliases = {}, sum(len(entity.aliases) for entity in records)
    values: defaultdict[str, list[str]] = defaultdict(list)
    for entity in records:
        summary.kinds[entity.kind] += 1
        for relation, value in entity.stated():
            values[relation].append(value)
            summary.links[relation] += value in records.by_name and value != entity.name
        for relation in entity.more:
            summary.lists[relation] = summary.lists.get(relation, 0) + 1
    summary.facts = Counter({relation: len(found) for relation, found in values.items()})
    summary.links = +summary.links
    summary.rewritten = +summary.rewritten
    found = {relation: confusion(dict.fromkeys(told)) for relation, told in values.items()}
    summary.confused = {relation: lost for relation, lost in found.items() if lost.pairs or lost.nothing}


def _aliases(
    sheets: Sequence[_Sheet], names: Mapping[str, str], choice: _Choice, summary: Summary
) -> dict[str, tuple[str, ...]]:
    """By entity the other names that no other entity has."""
    owner = dict(names)
    found: defaultdict[str, list[str]] = defaultdict(list)
    wanted = {words(column) for column in choice.aliases}
    for sheet in sheets:
        for i, relation in enumerate(map(words, sheet.table.columns)):
            if relation not in wanted or i == sheet.at:
                continue
            column = _column(sheet, i, names, choice)
            summary.missing += column.missing
            summary.skipped_cells += column.skipped
            for name, values in zip(sheet.names.values(), column.values, strict=True):
                for value in values:
                    if owner.setdefault(fold(value), name) != name:
                        summary.taken_aliases += 1
                        summary.example("taken_aliases", f"{value} of {name}")
                    elif fold(value) != fold(name) and value not in found[name]:
                        found[name].append(value)
    return {name: tuple(values) for name, values in found.items()}


def _columns(sheet: _Sheet, known: Mapping[str, str], choice: _Choice) -> Iterator[tuple[str, Column]]:
    """The columns that facts are made of, by relation."""
    kept = None if choice.columns is None else {words(column) for column in choice.columns}
    others = {words(column) for column in choice.aliases}
    for i, relation in enumerate(map(words, sheet.table.columns)):
        if i != sheet.at and relation not in others and (kept is None or relation in kept):
            yield relation, _column(sheet, i, known, choice)


def _column(sheet: _Sheet, i: int, known: Mapping[str, str], choice: _Choice) -> Column:
    """A column's values in the rows that are kept, lists taken apart where it holds lists."""
    cells = sheet.cells(i)
    found = choice.lists is None
    listed = found or words(sheet.table.columns[i]) in {words(column) for column in choice.lists or ()}
    if found:
        separator = find_separator(cells, known)
    else:
        texts = [cell for cell in cells if isinstance(cell, str)] if listed else []
        separator = next((sign for sign in _NAMED_SEPARATORS if any(sign in text.strip() for text in texts)), "")
    return read_column(cells, separator, listed, choice.keep_missing)


def _empty(column: Column) -> bool:
    return bool(column.missing) and not any(column.values)


def _codes(sheet: _Sheet, columns: Mapping[str, Column], known: Mapping[str, str]) -> list[str]:
    """Columns without links whose values stand in another one of the table, a different one in each row."""
    unique: dict[str, set[str]] = {}
    for i, relation in enumerate(map(words, sheet.table.columns)):
        told = [fold(part) for cell in sheet.cells(i) for part in parts_of(cell) if part.strip()]
        if i != sheet.at and len(set(told)) == len(told) and 2 * len(told) > len(sheet.names):
            unique[relation] = set(told)
    notes = []
    for relation, column in columns.items():
        values = [fold(value) for row in column.values for value in row]
        for other, codes in unique.items():
            found = [value for value in values if value in codes and value not in known]
            if other != relation and values and len(found) >= _CODES * len(values) and not all(map(str.isdigit, found)):
                notes.append(f'"{relation}" holds what stands in "{other}": --aliases "{other}" makes links of it')
                break
    return notes
