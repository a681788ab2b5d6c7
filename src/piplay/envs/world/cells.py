"""Cells of a person's own table as values: marks for nothing, lists, numbers as programs write them."""

from __future__ import annotations

import ast
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from piplay.envs.search.values import canonical, is_date, is_number
from piplay.envs.world.readers import Cell
from piplay.envs.world.records import fold

MAX_WORDS, MAX_CHARACTERS = 8, 60
"""What is longer is no value to ask for."""
_MARKS = (
    "nan|-nan|nat|na|<na>|n/a|#n/a|#n/a n/a|n.a.|n.a|none|(none)|null|(null)|[null]|nil|undefined|unknown|(unknown)|"
    "missing|unavailable|not available|not applicable|not known|no data|-|--|---|–|—|−|?|??|.|..|\\n|#null!|#value!|"
    "#ref!|#div/0!|#name?|#num!"
)
MISSING = frozenset(_MARKS.split("|"))
"""What other programs and people write for "nothing", in lower case."""
SEPARATORS = ("|", ";", ",")
"""Of a list in one cell; a sign stands before those that may stand inside its values."""
_CODE = re.compile(r"[A-Z]{2}")
_WHOLE = re.compile(r"([+-]?\d+)\.0+")
_BRACKETED = re.compile(r"\(([\d.,' ]*\d[\d.,' ]*)\)")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d)")
_OFTEN, _BOTH = 0.5, 0.3


@dataclass(frozen=True, slots=True)
class Column:
    """One column's values, row by row."""

    values: list[tuple[str, ...]]
    """None where there is no usable value, several where the cell is a list."""
    missing: Counter[str] = field(default_factory=Counter)
    """How often each mark for nothing stands there."""
    skipped: int = 0
    """Values that are too long, or without a letter, digit or symbol."""
    rewritten: int = 0
    """Whole numbers that were written as floats, and negative ones that were written in brackets."""


def read_column(
    cells: Sequence[Cell], separator: str = "", brackets: bool = False, keep_missing: bool = False
) -> Column:
    """The values of a column's cells.

    Args:
        cells: as the table has them.
        separator: what cells are split at; empty: a text is one value.
        brackets: whether a text that is a list in JSON's or Python's syntax is one.
        keep_missing: whether marks for nothing are values like others.
    """
    rows = [[clean(part) for part in parts_of(cell, separator, brackets)] for cell in cells]
    marks = Counter[str]() if keep_missing else _marks(rows)
    skipped = sum(cell is None for cell in cells)
    values: list[tuple[str, ...]] = []
    for row in rows:
        said = [part for part in row if part and part not in marks]
        usable = {fold(part): part for part in reversed(said) if _is_usable(part)}
        skipped += sum(not _is_usable(part) for part in said)
        values.append(tuple(reversed(usable.values())))
    plain, rewritten = _as_numbers(values)
    return Column(plain, marks, skipped, rewritten)


def parts_of(cell: Cell, separator: str = "", brackets: bool = False) -> Sequence[str]:
    """What stands in one cell, in its order."""
    if cell is None or isinstance(cell, tuple):
        return cell or ()
    text = cell.strip()
    if brackets and text[:1] + text[-1:] in ("[]", "{}"):
        found = _listed(text)
        if found is not None:
            return found
    return text.split(separator) if separator else (cell,)


def find_separator(cells: Sequence[Cell], names: Collection[str]) -> str:
    """The sign that a column's cells are lists by; empty where they are none.

    Cells are lists by a sign where two of them or more have it, what it cuts them into are values rather than prose or
    numbers, and these name rows (``names``, folded), or the sign is one that plain text has not: ``|``, ``;``, a comma
    without a space behind it. A comma with a space makes a list where the values recur, in the first place and in later
    ones: "Drama, Comedy" and "Comedy, Crime", but not "Portland, Maine".
    """
    texts = [clean(cell) for cell in cells if isinstance(cell, str)]
    for sign in SEPARATORS:
        lists = [text for text in texts if _has(text, sign) and fold(text) not in names and not is_date(text)]
        parts = [[part.strip() for part in text.split(sign) if part.strip()] for text in lists]
        every = [part for row in parts for part in row]
        if len(lists) < 2 or 2 * sum(len(row) > 1 for row in parts) < len(parts):
            continue
        if 2 * sum(is_number(part) for part in every) > len(every) or not all(map(_is_usable, every)):
            continue
        tight = sign != "," or not any(", " in text for text in lists)
        linked = sum(fold(part) in names for part in every) >= 0.8 * len(every)
        if tight or linked or _recur(parts, [text for text in texts if sign not in text]):
            return sign
    return ""


def clean(cell: str) -> str:
    """Single spaces, composed accents, no control characters and no halves of surrogate pairs."""
    text = "".join(c for c in " ".join(cell.split()) if unicodedata.category(c) not in ("Cc", "Cs"))
    return " ".join(unicodedata.normalize("NFC", text).split())


def _is_usable(text: str) -> bool:
    return len(text) <= MAX_CHARACTERS and len(text.split()) <= MAX_WORDS and bool(canonical(text))


def _has(text: str, sign: str) -> bool:
    """Whether a text has a sign that may part values; the comma of "1,000 km" parts none."""
    return sign in (_THOUSANDS.sub("", text) if sign == "," else text)


def _marks(rows: Sequence[Sequence[str]]) -> Counter[str]:
    """The marks for nothing among a column's values. NA is none where the others are codes of two capitals: Namibia."""
    found = Counter(part for row in rows for part in row if part.lower() in MISSING)
    others = [part for row in rows for part in row if part and part.lower() not in MISSING]
    if "NA" in found and len(set(others)) > 2 and sum(bool(_CODE.fullmatch(p)) for p in others) > 0.8 * len(others):
        del found["NA"]
    return found


def _as_numbers(rows: list[tuple[str, ...]]) -> tuple[list[tuple[str, ...]], int]:
    """A column of numbers with "1994.0" as "1994" where all are whole, and "(5)" as "-5"; and how many were changed."""
    plain = {value: _BRACKETED.sub(r"-\1", value) for row in rows for value in row}
    if not all(map(is_number, plain.values())):
        return rows, 0
    if all("." not in canonical(value) for value in plain.values()):
        plain = {
            value: _WHOLE.sub(r"\1", number) if _WHOLE.fullmatch(number) else number for value, number in plain.items()
        }
    changed = sum(plain[value] != value for row in rows for value in row)
    return [tuple(plain[value] for value in row) for row in rows], changed


def _listed(text: str) -> list[str] | None:
    """A list of texts and numbers in JSON's, Python's or PostgreSQL's syntax; None where the text is none."""
    if text[0] == "{":
        return None if ":" in text else [part.strip().strip("\"'") for part in text[1:-1].split(",")]
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(found, list) and not any(isinstance(part, (dict, list, tuple)) for part in found):
            return ["" if part is None else str(part) for part in found]
    return None


def _recur(parts: Sequence[Sequence[str]], single: Sequence[str]) -> bool:
    first = Counter([*(fold(row[0]) for row in parts if row), *map(fold, single)])
    later = Counter(fold(part) for row in parts for part in row[1:])
    total = first + later
    recurring = {part for part in _flat(parts) if total[part] > 1}
    often = sum(part in recurring for part in _flat(parts)) / max(1, sum(map(len, parts)))
    both = sum(part in first and part in later for part in recurring) / max(1, len(recurring))
    return often >= _OFTEN and both >= _BOTH


def _flat(parts: Sequence[Sequence[str]]) -> Iterator[str]:
    return (fold(part) for row in parts for part in row)
