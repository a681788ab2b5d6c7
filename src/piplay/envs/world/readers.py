"""A person's own tables as they stand in files: CSV, JSON Lines, SQLite."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sqlite3
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

from piplay.errors import InputError, check_text, in_a_line
from piplay.files import from_json

Cell = str | tuple[str, ...] | None
"""A text or number as it is written, several of them where the source has a list; "" where there is nothing, None where
there is something that is no text or number."""
Row = tuple[Cell, ...]
_DELIMITERS = ("\t", "|", ";", ",")
_TRIED = 50
"""Rows by which the delimiter is found."""
_CSV = (".csv", ".tsv", ".tab", ".psv", ".txt")
_INDEX = re.compile(r"|#|index|level[ _]0|unnamed: ?\d+(?:[ _]level[ _]\d+)?", re.IGNORECASE)
"""What stands over a column of row numbers that another program added."""
_SQLITE = (".sqlite", ".sqlite3", ".db")
_MAGIC = b"SQLite format 3\x00"
_SIZE, _STEPS, _STRIDE = 5_000_000, 200_000_000, 100_000
"""What a view may hold, in characters and cells, beyond ten times its file, and for how many steps of SQLite's machine
it may be computed, beyond a thousand a byte of its file, before it is taken to have no end; how often the steps are
counted."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table before it is cleaned."""

    where: str
    """File, and table where the file has several: for messages."""
    name: str
    """File stem or table name."""
    columns: tuple[str, ...]
    """As the source writes them."""
    rows: tuple[Row, ...]
    """One cell a column."""
    notes: tuple[str, ...] = ()
    """What was found or left out in reading it."""


def words(column: str) -> str:
    """A column's name as a relation is said: "Installed-Size" as "installed size", "name.common" as "name common"."""
    return " ".join(re.sub(r"[_.-]", " ", column.lower()).split())


def read_file(path: str, key: str | None = None) -> list[Table]:
    """The tables of one file, told apart by its suffix; ``FILE.sqlite:TABLE`` is one table of it.

    ``key`` is the column that names a row: a SQLite foreign key is replaced by the name of the row it points to. Raises
    InputError for whatever cannot be read.
    """
    file, table = Path(path), ""
    if not os.path.exists(path) and ":" in path:  # which no name is too long for
        before, _, after = path.rpartition(":")
        if Path(before).suffix.lower() in _SQLITE:
            file, table = Path(before), after
    if not os.path.isfile(file):
        raise InputError(f"{file} is no file: give a .csv, .tsv, .jsonl or .sqlite file.")
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}): make it readable.") from error
    if not raw.strip():
        raise InputError(f"{file} is empty: give a table with a row an entity.")
    suffix = file.suffix.lower()
    if suffix in _SQLITE:
        if not raw.startswith(_MAGIC):
            raise InputError(f"{file} is not a SQLite file: its first bytes are not those of one.")
        return _read_sqlite(file, table, key)
    if suffix in _CSV:
        return [_read_csv(file, _decode(file, raw))]
    if suffix in (".jsonl", ".ndjson"):
        return [_read_jsonl(file, _decode(file, raw))]
    raise InputError(f"{file} is none of .csv, .tsv, .jsonl and .sqlite: save the table as one of these.")


def _decode(file: Path, raw: bytes) -> str:
    try:
        return raw.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8 at byte {error.start} (counted from 0): save it as UTF-8.") from error


def _read_csv(file: Path, text: str) -> Table:
    """The delimiter is found; a first line ``sep=;``, which Excel writes, is none of the table."""
    told = re.match(r"\s*\"?sep=(.)\"?[ ,;\t]*\r?\n", text)
    csv.field_size_limit(sys.maxsize)  # a cell may be longer than Python's limit of 128 KiB
    delimiter = told[1] if told else max(_DELIMITERS, key=lambda d: _fit(text, d))
    text = "\n" + text[told.end() :] if told else text  # lines are counted from the file's first
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    columns: list[str] = []
    rows: list[Row] = []
    line = 1
    try:
        for cells in reader:
            if not columns and cells:
                columns = cells
            elif cells and len(cells) != len(columns):
                raise InputError(
                    f"{file}, line {line} has {len(cells)} cells where the header has {len(columns)}: "
                    "fill or quote its cells."
                )
            elif cells:
                rows.append(tuple(cells))
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{file}, line {line} is not CSV ({error}): check its quotes.") from error
    shown = {"\t": "tabs", "|": "|"}.get(delimiter, f'"{delimiter}"')
    return _table(str(file), file.stem, columns, rows, (f"{file.name}: cells are separated by {shown}",))


def _fit(text: str, delimiter: str) -> tuple[float, int]:
    """How well a delimiter cuts a table: the share of rows with as many cells as the header, and how many these are."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        widths = [len(cells) for cells in islice(reader, _TRIED) if cells]
    except csv.Error:
        return 0.0, 0
    width = widths[0] if widths else 0
    return (widths.count(width) / len(widths), width) if width > 1 else (0.0, width)


def _table(where: str, name: str, columns: Sequence[str], rows: Sequence[Row], notes: tuple[str, ...] = ()) -> Table:
    """A table without columns of row numbers; a nameless first column of names gets a name."""
    kept: list[int] = []
    named = list(columns)
    for i, column in enumerate(columns):
        filled = [row[i] for row in rows if row[i] != ""]
        numbers = all(isinstance(cell, str) and cell.strip().isdigit() for cell in filled)
        if _INDEX.fullmatch(column.strip()) and numbers and (column.strip() != "index" or i == 0):
            what = f'the column "{column}"' if column.strip() else f"column {i + 1}, which has no name"
            holds = "numbers its rows" if filled else "is empty"
            notes += (f"{Path(where).name}: {what}, is left out: it {holds}",)
            continue
        if i == 0 and not column.strip():
            named[0] = "name"
            notes += (f'{Path(where).name}: its first column has no name and is taken as "name"',)
        kept.append(i)
    header = _header(where, [named[i] for i in kept])
    return Table(where, name, header, tuple(tuple(row[i] for i in kept) for row in rows), notes)


def _header(where: str, cells: Sequence[str]) -> tuple[str, ...]:
    if not cells:
        raise InputError(f"{where} has no column: give a table with a row an entity.")
    said = [words(cell) for cell in cells]
    for number, word in enumerate(said, 1):
        if not any(c.isalpha() for c in word):
            raise InputError(
                f'{where} has no header: column {number} of its first row is "{word}", not the name of a column.'
            )
        if said.index(word) < number - 1:
            raise InputError(f'{where} has two columns "{word}": rename one.')
    return tuple(cells)


def _read_jsonl(file: Path, text: str) -> Table:
    """Columns in the order of their first appearance; an object that lacks one has an empty cell there."""
    columns: dict[str, None] = {}
    objects: list[dict[str, Cell]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        where = f"{file}, line {number}"
        try:
            # Numbers as they are written: 1.50 stays 1.50.
            record = from_json(line, parse_float=str, parse_int=str)
        except ValueError as error:
            reason = f"{error.msg}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
            raise InputError(f"{where} is not JSON ({reason}): write one object a line.") from error
        if not isinstance(record, dict):
            raise InputError(f"{where} is not a JSON object: write one object a line.")
        for column in record:
            check_text(column, f"{where}: the name of a column")
        objects.append({column: _cell_of(where, column, value) for column, value in record.items()})
        columns |= dict.fromkeys(record)
    rows = [tuple(record.get(column, "") for column in columns) for record in objects]
    return _table(str(file), file.stem, list(columns), rows)


def _cell_of(where: str, column: str, value: Any) -> Cell:
    """A JSON value as a cell."""
    if isinstance(value, list):
        return tuple(_scalar(where, column, one) for one in value)
    return _scalar(where, column, value)


def _scalar(where: str, column: str, value: Any) -> str:
    if isinstance(value, (dict, list)):
        raise InputError(f'{where}: "{column}" is nested: give a text, a number, or a list of these.')
    if value is None:
        return ""
    if isinstance(value, str):
        check_text(value, f'{where}: "{column}"')
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


def _read_sqlite(file: Path, only: str, key: str | None) -> list[Table]:
    try:
        base = sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True)
        try:
            base.text_factory = bytes.decode
            base.set_progress_handler(_steps(file.stat().st_size), _STRIDE)
            base.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, max(file.stat().st_size, 100_000))  # no cell is larger
            query = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite%'"
            names = [str(name) for (name,) in base.execute(f"{query} ORDER BY type, rowid")]
            if not names:
                raise InputError(f"{file} has no table: give a table with a row an entity.")
            wanted = [_same_name(only, names)] if only else [n for n in names if _is_table(base, n)]
            picked = [name for name in wanted if name is not None]
            if not picked:
                lacks = f'has no table "{only}": it has' if only else "has no table but views: name one of"
                raise InputError(f"{file} {lacks} {', '.join(names)}.")
            return [_read_sqlite_table(base, file, name, key) for name in picked]
        finally:
            base.close()
    except sqlite3.OperationalError as error:
        if str(error) == "interrupted":
            raise InputError(f"{file}: reading it comes to no end: give a table of it in place of a view.") from error
        raise InputError(f"{file} cannot be read as SQLite ({in_a_line(error)}).") from error
    except (sqlite3.Error, sqlite3.Warning) as error:
        raise InputError(f"{file} cannot be read as SQLite ({in_a_line(error)}).") from error
    except UnicodeDecodeError as error:
        shown = repr(bytes(error.object)[:20])
        raise InputError(f"{file}: the text {shown} is not UTF-8 at its byte {error.start}: mend that cell.") from error


def _is_table(base: sqlite3.Connection, name: str) -> bool:
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    return base.execute(query, (name,)).fetchone() is not None


def _read_sqlite_table(base: sqlite3.Connection, file: Path, name: str, key: str | None) -> Table:
    where = f"{file}:{name}"
    columns, rows = _select(base, name)
    for _, _, parent, column, target, *_ in base.execute(f"PRAGMA foreign_key_list({_quoted(name)})").fetchall():
        if not base.execute(f"PRAGMA table_info({_quoted(parent)})").fetchall():
            continue  # SQLite takes a key to a table that is not there
        parent_columns, parent_rows = _select(base, parent)
        folded = [words(c) for c in parent_columns]
        named = folded.index(words(key)) if key and words(key) in folded else 0
        keys = [i for i, *_, rank in base.execute(f"PRAGMA table_info({_quoted(parent)})") if rank]
        aim = _same_name(target, parent_columns) if target else parent_columns[(keys or [0])[0]]
        source = _same_name(column, columns)
        if aim is None or source is None:
            continue
        at, own = parent_columns.index(aim), columns.index(source)
        names = {row[at]: row[named] for row in parent_rows if row[at]}
        rows = [(*row[:own], names.get(row[own], row[own]), *row[own + 1 :]) for row in rows]
        short = words(column).removesuffix(" id")
        if named != at and short not in map(words, columns):
            columns[own] = short
    return _table(where, name, columns, rows)


def _select(base: sqlite3.Connection, name: str) -> tuple[list[str], list[Row]]:
    cursor = base.execute(f"SELECT * FROM {_quoted(name)}")
    columns = [str(column[0]) for column in cursor.description]
    rows: list[Row] = []
    room = _SIZE + 10 * base.getlimit(sqlite3.SQLITE_LIMIT_LENGTH)
    for values in cursor:
        room -= sum(10 + (len(value) if isinstance(value, str | bytes) else 0) for value in values)
        if room < 0:
            raise InputError(f'the view "{name}" holds far more than its file, or has no end: make a table of it.')
        rows.append(tuple(map(_cell, values)))
    return columns, rows


def _same_name(name: str, names: Sequence[str]) -> str | None:
    """The one of some names that SQLite takes for this one, whose case it does not tell."""
    return next((other for other in names if other == name), None) or next(
        (other for other in names if other.lower() == name.lower()), None
    )


def _steps(size: int) -> Callable[[], bool]:
    """Asked every so many steps of SQLite's machine whether they are too many for a file of that many bytes."""
    left = count((_STEPS + 1000 * size) // _STRIDE, -1)
    return lambda: next(left) < 0


def _cell(value: object) -> Cell:
    if value is None:
        return ""
    return None if isinstance(value, bytes) else str(value)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
