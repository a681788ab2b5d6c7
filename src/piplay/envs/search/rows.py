"""Rows of other people's files: JSON Lines, JSON, CSV, TSV and parquet, packed by gzip, bzip2 or xz or not."""

from __future__ import annotations

import bz2
import csv
import gzip
import lzma
import re
import sys
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import IO, Any, NamedTuple

from piplay.errors import InputError, in_a_line
from piplay.files import from_json

LINES, TABLES = (".jsonl", ".ndjson", ".jsonlines"), (".csv", ".tsv")
FORMATS = (*LINES, ".json", *TABLES, ".parquet")
PACKED = (".gz", ".bz2", ".xz")
_OPENERS: Mapping[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
_PARQUET = b"PAR1"
_DAMAGED = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)
Fields = Mapping[str, Any]


class Row(NamedTuple):
    """What one line or row of a file holds."""

    place: str
    """Where it stands, from 1: "line 3"."""
    start: int
    """Its line's first byte in a file of plain JSON Lines; −1 elsewhere."""
    fields: Fields
    """By name in lower case."""


class Skipped:
    """What was left out of a file, by reason."""

    def __init__(self, strict: bool, reasons: Mapping[str, tuple[int, str]] | None = None) -> None:
        """``strict``: whether the first is refused instead."""
        self.strict = strict
        self.reasons = dict(reasons or {})
        """By reason how many, and where the first stands."""

    def add(self, path: Path, place: str, reason: str) -> None:
        """Count one. Raises InputError where nothing may be skipped."""
        if self.strict:
            raise InputError(f"{path}, {place} {reason}: mend it or remove it.")
        count, first = self.reasons.get(reason, (0, place))
        self.reasons[reason] = count + 1, first

    def sentence(self, path: Path, kept: int, what: str) -> str:
        """What to say of it; empty where nothing was skipped."""
        if not self.reasons:
            return ""
        count = sum(number for number, _ in self.reasons.values())
        reasons = [
            f"{place} {reason}" + (f", and {number - 1} more like it" if number > 1 else "")
            for reason, (number, place) in self.reasons.items()
        ]
        return f"{path}: {count} of {count + kept} {what} {'are' if count > 1 else 'is'} skipped: {'; '.join(reasons)}"


def is_table(path: Path) -> bool:
    """Whether a file's name says that it holds rows."""
    name = path.name.lower()
    return name.removesuffix(next((end for end in PACKED if name.endswith(end)), "")).endswith(FORMATS)


def is_plain_lines(path: Path) -> bool:
    """Whether a file is JSON Lines as they are, so that a line can be read by itself."""
    return path.suffix.lower() in LINES and _opener(path) is open


def rows(path: Path, skipped: Skipped, names: Collection[str], headless: tuple[str, ...] = ()) -> Iterator[Row]:
    """The rows of a file in its order; blank lines are none.

    Args:
        skipped: counts lines that cannot be read.
        names: the columns of parquet that are wanted; a .tsv file whose first row has none of them has no header.
        headless: names of the columns of such a file.

    Raises:
        InputError: the file as a whole cannot be read.
    """
    name = path.name.lower()
    ending = Path(name.removesuffix(next((end for end in PACKED if name.endswith(end)), ""))).suffix
    with path.open("rb") as file:
        head = file.read(4)
    if head == _PARQUET:
        yield from _parquet(path, skipped, names)
        return
    if ending == ".parquet":
        raise InputError(f"{path} cannot be read as parquet: it does not start as such a file does.")
    try:
        with _opener(path)(path, "rb") as file:
            if ending in TABLES:
                yield from _table(path, file, ending, skipped, names, headless)
            elif ending == ".json":
                yield from _json(path, file, skipped)
            else:
                yield from _lines(path, file, skipped)
    except csv.Error as error:
        raise InputError(f"{path} cannot be read as a table: {error}.") from error
    except _DAMAGED as error:
        raise InputError(f"{path} is cut short or damaged ({error}): fetch or pack it once more.") from error


def _opener(path: Path) -> Callable[..., Any]:
    with path.open("rb") as file:
        head = file.read(6)
    return next((opener for magic, opener in _OPENERS.items() if head.startswith(magic)), open)


def _lines(path: Path, file: IO[bytes], skipped: Skipped) -> Iterator[Row]:
    start = 0
    for number, raw in enumerate(file, 1):
        place = f"line {number}"
        read = _object(raw if start else raw.removeprefix(b"\xef\xbb\xbf"))
        if isinstance(read, str):
            skipped.add(path, place, read)
        elif read is not None:
            yield Row(place, start, read)
        start += len(raw)


def parse_line(raw: bytes) -> Fields:
    """The row that starts ``raw``, of which it was found before that it can be read."""
    read = _object(raw.partition(b"\n")[0].removeprefix(b"\xef\xbb\xbf"))
    if not isinstance(read, dict):
        raise ValueError(f"a line {read or 'is blank'}")
    return read


def _object(raw: bytes) -> Fields | str | None:
    """A line's fields, or why it has none; None for a blank line."""
    try:
        line = raw.decode("utf-8")
    except UnicodeDecodeError:
        return "is not UTF-8"
    if not line.strip():
        return None
    try:
        record = from_json(line)
    except ValueError:
        return "is not JSON"
    return _lowered(record) if isinstance(record, dict) else "is no JSON object"


def _lowered(record: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(name).strip().lower(): value for name, value in record.items()}


def _json(path: Path, file: IO[bytes], skipped: Skipped) -> Iterator[Row]:
    """A list of objects, an object that holds such a list or one object an id, or JSON Lines under this name."""
    filled = (line for line in file if line.strip())
    first, second = next(filled, b""), next(filled, b"")
    file.seek(0)
    if second and isinstance(_object(first.removeprefix(b"\xef\xbb\xbf")), dict):
        yield from _lines(path, file, skipped)
        return
    try:
        whole = from_json(file.read().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 at byte {error.start} (counted from 0): save it as UTF-8.") from error
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}): give a list of objects, or one object a line.") from error
    for number, record in enumerate(_listed(whole), 1):
        if isinstance(record, dict):
            yield Row(f"entry {number}", -1, _lowered(record))
        else:
            skipped.add(path, f"entry {number}", "is no JSON object")


def _listed(whole: Any) -> list[Any]:
    if isinstance(whole, list):
        return whole
    if not isinstance(whole, dict):
        return [whole]
    lists = [value for value in whole.values() if isinstance(value, list) and value and isinstance(value[0], dict)]
    if lists:
        return max(lists, key=len)
    if whole and all(isinstance(value, dict) for value in whole.values()):
        return [{"id": name} | value for name, value in whole.items()]
    if whole and all(isinstance(value, str) for value in whole.values()) and len(whole) > 3:
        return [{"id": name, "text": value} for name, value in whole.items()]
    return [whole]


def _table(
    path: Path, file: IO[bytes], ending: str, skipped: Skipped, names: Collection[str], headless: tuple[str, ...]
) -> Iterator[Row]:
    csv.field_size_limit(sys.maxsize)
    text = (line.decode("utf-8", "surrogateescape") for line in file)
    head = next(text, "").removeprefix("\ufeff")
    delimiter = "\t" if ending == ".tsv" else max(",;\t|", key=head.count)
    columns = [cell.strip().lower() for cell in next(csv.reader([head], delimiter=delimiter), [])]
    known = set(columns) & set(names)
    if not known and not (headless and ending == ".tsv"):
        raise InputError(
            f"{path} has no column that is known, but {', '.join(columns) or 'none'}: name them in a first line."
        )
    if known:
        reader = csv.reader(text, delimiter=delimiter)
    else:  # written without quotes: a quotation mark there is text
        reader = csv.reader(chain([head], text), delimiter=delimiter, quoting=csv.QUOTE_NONE)
    for cells in reader:
        place = f"line {reader.line_num + bool(known)}"
        if not any(cell.strip() for cell in cells):
            continue
        if any(re.search("[\udc80-\udcff]", cell) for cell in cells):
            skipped.add(path, place, "is not UTF-8")
        else:
            yield Row(place, -1, dict(zip(columns if known else headless, cells, strict=False)))


def _parquet(path: Path, skipped: Skipped, names: Collection[str]) -> Iterator[Row]:
    import pyarrow as pa  # 30 MB and half a second, for these files alone
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        columns = [name for name in file.schema_arrow.names if name.strip().lower() in names]
        if not columns:
            raise InputError(
                f"{path} has no column that is known, but {', '.join(file.schema_arrow.names) or 'none'}: rename them."
            )
        number = 0
        for batch in file.iter_batches(4096, columns=columns):
            for record in _records(batch):
                number += 1
                if isinstance(record, str):
                    skipped.add(path, f"row {number}", record)
                else:
                    yield Row(f"row {number}", -1, _lowered(record))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(f"{path} cannot be read as parquet: {in_a_line(error)}.") from error


def _records(batch: Any) -> Iterator[dict[str, Any] | str]:
    """The rows of a piece of parquet, each as a dict, or why it cannot be read: text that is no UTF-8, a date that
    there never was.
    """
    try:
        whole: list[dict[str, Any]] = batch.to_pylist()
    except Exception:  # whatever Python's own types refuse; which row it was is found below
        whole = []
    yield from whole
    for at in range(len(whole), batch.num_rows):
        try:
            [record] = batch.slice(at, 1).to_pylist()
        except UnicodeDecodeError:
            record = "is not UTF-8"
        except Exception as error:
            record = f"has a value that cannot be read ({in_a_line(error)})"
        yield record
