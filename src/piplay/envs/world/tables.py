"""A person's own tables as records: a row an entity, a column a relation, a value that names another row a link."""

from __future__ import annotations

import difflib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from piplay.envs.world.readers import Table, read_file, words
from piplay.envs.world.records import Entity, Records, fold
from piplay.errors import InputError

MAX_WORDS, MAX_CHARACTERS = 8, 60
"""What is longer is no value to ask for."""
MIN_ROWS = 20


@dataclass
class Summary:
    """What an import took and left."""

    rows: int = 0
    """Rows read."""
    kinds: Counter[str] = field(default_factory=Counter)
    """Entities kept of each kind."""
    facts: Counter[str] = field(default_factory=Counter)
    """Facts of each relation."""
    links: Counter[str] = field(default_factory=Counter)
    """Facts of each relation that name another entity."""
    skipped_cells: int = 0
    """Cells too long for a value, or without a letter or digit."""
    unnamed: int = 0
    """Rows whose name is empty or no usable value."""
    duplicates: int = 0
    """Rows whose name an earlier row of their table has."""
    renamed: int = 0
    """Rows whose name an earlier table has: their kind was put behind it."""
    bare: int = 0
    """Rows left out because they have no fact and nothing links to them."""


@dataclass(frozen=True, slots=True)
class _Draft:
    """A row that has its name, before its values are known to be links."""

    name: str
    kind: str
    cells: tuple[tuple[str, str], ...]


def read_tables(
    paths: Sequence[Path | str],
    *,
    key: str | None = None,
    kind: str | None = None,
    columns: Sequence[str] | None = None,
) -> tuple[Records, Summary]:
    """The records of CSV, JSON Lines and SQLite tables, and what was taken and left.

    ``key`` is the column of names (default: a table's first), ``columns`` the others to keep (default: all), ``kind``
    what a row is (default: the file's or table's name, in the singular). A name stands once: of one table's rows the
    first keeps it; a later table's row becomes "name (kind)". A value equal to an entity's name but for case is a link
    to it. Values of more than 8 words or 60 characters are left out. Raises InputError for bad input, fewer than 20
    usable rows, and tables without a link.
    """
    tables = [table for path in paths for table in read_file(str(path), key)]
    if not tables:
        raise InputError("No table was given: name a .csv, .jsonl or .sqlite file.")
    if kind is not None and (len(tables) > 1 or not _clean(kind)):
        raise InputError("--kind is what a row of one table is: name one table, and a word for its rows.")
    _check_columns(tables, [*([key] if key else []), *(columns or ())])
    summary = Summary()
    kept = None if columns is None else {words(column) for column in columns}
    drafts: dict[str, _Draft] = {}
    for table in tables:
        drafts |= _draft(table, drafts, kind or singular(table.name), key, kept, summary)
    records = _link(drafts, summary)
    if len(records.entities) < MIN_ROWS:
        raise InputError(
            f"Only {len(records.entities)} rows are usable: a world needs {MIN_ROWS} rows with a name and a fact."
        )
    if not summary.links:
        raise InputError(
            "No value of any column names another row: multi-hop questions need links; "
            "check the key column (--key), or add the table that the values name."
        )
    return records, summary


def singular(name: str) -> str:
    """A table's name as the word for one of its rows: "time_zones" as "time zone"."""
    word = words(name)
    if word.endswith("ies"):
        return f"{word[:-3]}y"
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def _check_columns(tables: Sequence[Table], wanted: Iterable[str]) -> None:
    known = {words(column): column for table in tables for column in table.columns}
    for column in wanted:
        if words(column) not in known:
            near = difflib.get_close_matches(words(column), known, n=1, cutoff=0)
            raise InputError(f'No table has a column "{column}": did you mean "{known[near[0]]}"?')


def _draft(
    table: Table, before: dict[str, _Draft], kind: str, key: str | None, kept: set[str] | None, summary: Summary
) -> dict[str, _Draft]:
    """One table's rows by folded name."""
    relations = [words(column) for column in table.columns]
    at = relations.index(words(key)) if key and words(key) in relations else 0
    wanted = [i for i, r in enumerate(relations) if i != at and (kept is None or r in kept)]
    rows: dict[str, tuple[str, tuple[tuple[str, str], ...]]] = {}
    for row in table.rows:
        summary.rows += 1
        name = _value(row[at])
        if not name:
            summary.unnamed += 1
            continue
        if fold(name) in rows:
            summary.duplicates += 1
            continue
        cells = []
        for i in wanted:
            value = _value(row[i])
            if value:
                cells.append((relations[i], value))
            summary.skipped_cells += value is None
        rows[fold(name)] = name, tuple(cells)
    remedy = f'it is the column "{table.columns[at]}"; name the column that holds names with --key.'
    if key is None and 2 * sum(not any(c.isalpha() for c in name) for name in rows) > len(rows):
        raise InputError(f"{table.where}: most of its rows have a number for a name: {remedy}")
    if 2 * len(rows.keys() & before.keys()) > len(rows):
        raise InputError(f"{table.where}: most of its rows have a name that an earlier table has, too: {remedy}")
    drafts: dict[str, _Draft] = {}
    for name, values in rows.values():
        if fold(name) in before:
            name = f"{name} ({kind})"
            summary.renamed += 1
            if fold(name) in before or fold(name) in rows:
                raise InputError(f'{table.where}: its row "{name}" has the name of another row: rename one.')
        drafts[fold(name)] = _Draft(name, kind, values)
    return drafts


def _link(drafts: dict[str, _Draft], summary: Summary) -> Records:
    """Values that name an entity become its name; rows that nothing can be asked of or with are left out."""
    named = {fold(value) for draft in drafts.values() for _, value in draft.cells}
    entities = []
    for folded, draft in drafts.items():
        if not draft.cells and folded not in named:
            summary.bare += 1
            continue
        facts = {r: drafts[fold(value)].name if fold(value) in drafts else value for r, value in draft.cells}
        summary.kinds[draft.kind] += 1
        summary.facts.update(facts.keys())
        summary.links.update(r for r, value in facts.items() if fold(value) in drafts and value != draft.name)
        entities.append(Entity(draft.name, draft.kind, facts))
    return Records(tuple(entities))


def _value(cell: str | None) -> str | None:
    """A cell as a value: "" where it is empty, None where it cannot be asked for."""
    if cell is None:
        return None
    text = _clean(cell)
    usable = len(text) <= MAX_CHARACTERS and len(text.split()) <= MAX_WORDS and any(c.isalnum() for c in text)
    return text if usable or not text else None


def _clean(cell: str) -> str:
    """Single spaces, composed accents, no control characters and no halves of surrogate pairs."""
    text = "".join(c for c in " ".join(cell.split()) if unicodedata.category(c) not in ("Cc", "Cs"))
    return " ".join(unicodedata.normalize("NFC", text).split())
