"""Values compared as what they are: numbers as numbers, dates as dates, symbols as symbols.

Published benchmarks are scored by SQuAD's rule (``match.py``), which drops signs, decimal points and articles: to it
-5 is 5, 1.5 is 15, and a grade A is nothing. The truth of a world and the rewards of self-play are compared by the rule
of this file. On plain English the two agree.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from piplay.envs.search.match import normalise
from piplay.envs.search.words import fold, spaced

_FOLDED = str.maketrans(
    {chr(0xFF01 + i): chr(0x21 + i) for i in range(94)} | dict.fromkeys("−‐‑‒–", "-") | dict.fromkeys("‘’ʼ", "'")
)
"""Full-width signs, the many kinds of minus and hyphen, apostrophes."""
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f²³¹⁰-⁹₀-₉]+")
"""What other scripts write in several ways; a raised 2 is none: x² is not x2."""
_SYMBOLS = "+#*$%"
"""What makes one word another, of the signs that SQuAD drops."""
_EDGES = "\"'`()[]{}<>.,;:!?¿¡«»“”„…、。「」『』،؛؟।"
"""What may stand around a word and says nothing about it."""
_DROPPED = re.compile(r"[!\"&'(),\-./:;<=>?@\[\\\]^_`{|}~]")
"""SQuAD's punctuation without ``_SYMBOLS``."""
_BOLD = re.compile(r"(?<![\w*])(\*{1,3}|`+)(?=\S)(.+?)(?<=\S)\1(?![\w*])")
_DIGIT = re.compile(r"\d")
_DECIMALS = re.compile(r"(?![0-9])\d")
_PLAIN = re.compile(r"[a-z ]*")
_ARTICLES = ("a", "an", "the")
_CURRENCIES = "$€£¥₹"
_NUMBER = re.compile(
    rf"""(?P<sign>[+-]?)[{_CURRENCIES}]?(?P<inner>[+-]?)
    (?:(?P<grouped>[1-9]\d?\d?(?:,\d\d\d?)*,\d{{3}}|[1-9]\d?\d?(?:'\d{{3}})+)(?:\.(?P<behind>\d+))?
      |(?P<dotted>[1-9]\d?\d?(?:\.\d{{3}})+),(?P<comma>\d+)
      |(?P<whole>0|[1-9]\d*)[,](?P<decimals>\d+)
      |(?P<integer>0|[1-9]\d*)?(?:\.(?P<fraction>\d*))?(?:[eE](?P<exponent>[+-]?\d{{1,2}}))?
    )[%{_CURRENCIES}]?""",
    re.VERBOSE,
)
_UNIT = re.compile(rf"(?<=\d) (?=[%{_CURRENCIES}](?!\w))")
_SPACED = re.compile(r"(?<![\w.,'-])[1-9]\d{0,2}(?: \d{3})+(?![\w'])(?![.,]\d)")
_NAMES = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_MONTHS = {name: i for i, month in enumerate(_NAMES, 1) for name in (month, month[:3])} | {"sept": 9}
_MONTH = rf"(?P<month>{'|'.join(sorted(_MONTHS, key=len, reverse=True))})\b\.?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>\d{4})"
_CLOCK = r"(?:[T ](?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.0+)?)?(?:Z|[+-]00:?00)?)?"
_DATES = [
    re.compile(rf"(?<![\w.,/:-]){form}(?![\w/-]|[.,:]\d)", re.IGNORECASE)
    for form in (
        rf"{_YEAR}(?P<mark>[-/.])(?P<month>\d\d?)(?P=mark)(?P<day>\d\d?){_CLOCK}",
        rf"(?P<day>\d\d?)\.(?P<month>\d\d?)\.{_YEAR}",
        rf"(?P<one>\d\d?)(?P<mark>[-/])(?P<other>\d\d?)(?P=mark){_YEAR}",
        rf"{_DAY}(?: of)?[ -]{_MONTH}(?:,? |-){_YEAR}",
        rf"{_MONTH} {_DAY}(?:,| of)? {_YEAR}",
        rf"{_DAY}(?: of)? {_MONTH}",
        rf"{_MONTH} {_DAY}",
        rf"{_MONTH}(?:,| of)? {_YEAR}",
    )
]
_SHORT_MONTHS = sorted({name[:3] for name in _MONTHS})
_NUMBERED = re.compile(r"\d[-/.]\d")
_NAMED = re.compile(
    rf"\d(?:st|nd|rd|th)?(?: of)?[ -](?:{'|'.join(_SHORT_MONTHS)})|"
    rf"\b(?:{'|'.join(_SHORT_MONTHS)})[a-z]*\.?,?(?: of)? \d",
    re.IGNORECASE,
)
"""What a date has: numbers with a mark between, or a number beside a month."""
_LINKS = re.compile(r"\s*(?:[,;/|\n&]|\band\b)\s*", re.IGNORECASE)
_SHORT = 30
"""Characters of a piece of text that is likely to come again."""
_LONGEST = 6
"""Of a right answer, in pieces between commas and the like, where several are listed: "Trinidad and Tobago" has two."""


@lru_cache(4096)
def canonical(text: str) -> str:
    """The text that all spellings of a value share: values are the same where theirs is.

    Numbers lose thousands' marks, a plus and trailing zeros ("1,000.0" is "1000", "3,14" is "3.14"; what begins with a
    0, as "007", is a code, not a number). Dates become ISO 8601 ("March 2, 1994" is "1994-03-02"; "3/2/1994", which may
    be two days, stays). Other words lose case and the punctuation that SQuAD drops, but not + # * $ %, a hyphen at
    their edge, or, where they have a digit, what stands inside them ("C++", "A-", "3:30", "1.2-3"). Articles go where a
    word follows. The canonical form of a canonical form is itself.
    """
    form, before = _pass(text), text
    # What a pass leaves side by side may be one: "0 [%" is "0 %", and that is "0%".
    while form != before and not _PLAIN.fullmatch(form):
        form, before = _pass(form), form
    return form


def _pass(text: str) -> str:
    words = [word for _, word in _words(text)]
    return " ".join([*(word for word in words[:-1] if word not in _ARTICLES), *words[-1:]])


@lru_cache(4096)
def _told(text: str) -> str:
    """The canonical words of a text, but "A." and "(The)" stay: nothing that they belong to follows."""
    said = _words(text)
    last = len(said) - 1
    return " ".join(word for i, (raw, word) in enumerate(said) if i == last or raw.lower() not in _ARTICLES)


def _words(text: str) -> list[tuple[str, str]]:
    """The words of a text as they stand there and in their canonical form."""
    text = _BOLD.sub(r"\2", _folded(text if text.isascii() else _BEYOND_ASCII.sub(_fold_run, text)))
    if _DIGIT.search(text):
        text = _UNIT.sub("", " ".join(text.split()))
        if _may_date(text):
            for form in _DATES:
                text = form.sub(_iso, text)
        text = _SPACED.sub(lambda number: number[0].replace(" ", ""), text)
    return [(raw, word) for raw in text.split() if (word := _word(raw))]


_fold_again = lru_cache(2**14)(fold)


def _fold_run(run: re.Match[str]) -> str:
    return _fold_again(run[0]) if len(run[0]) <= _SHORT else fold(run[0])


def _may_date(text: str) -> bool:
    """Whether there may be a date at all: found faster than a date."""
    if _NUMBERED.search(text):
        return True
    lower = text.lower()
    return any(name in lower for name in _SHORT_MONTHS) and bool(_NAMED.search(text))


def same_value(answer: str, golds: Sequence[str]) -> bool:
    """Whether an answer is a right one, or lists several right ones and nothing else ("Dutch and Papiamento").

    A gold without a letter, digit or sign matches nothing.
    """
    right = {canonical(gold) for gold in golds} - {""}
    return canonical(answer) in right or (len(right) > 1 and bool(_listed(answer, right)))


def every_value(answer: str, values: Sequence[Sequence[str]]) -> bool:
    """Whether an answer lists every value, by any of its names, in any order, and nothing else."""
    names = [{canonical(name) for name in value} - {""} for value in values]
    right = set().union(*names)
    said = {canonical(answer)} if canonical(answer) in right else _listed(answer, right)
    return bool(said) and all(said & value for value in names)


def mentions(text: str, phrase: str) -> bool:
    """Whether a value stands in a text as whole words; a year or month also does in a date, a year in "1990-1994"."""
    wanted, told = (" ".join(spaced(said).split()) for said in (canonical(phrase), _told(text)))
    if re.fullmatch(r"\d{4}(?:-\d\d)?", wanted):
        return bool(
            re.search(rf"(?:^| )(?:\d{{4}}-)?{wanted}(?:-\d{{4}}|(?:-\d\d){{1,2}}(?:T\S*)?)?(?: |$)", told, re.I)
        )
    return bool(wanted) and f" {wanted} " in f" {told} "


def is_number(text: str) -> bool:
    """Whether all of a text is one number, without a unit."""
    number = _number(_SPACED.sub(lambda found: found[0].replace(" ", ""), _folded(text).strip()))
    return bool(number) and number[-1].isdigit()


def is_date(text: str) -> bool:
    """Whether all of a text is one date."""
    folded = " ".join(_folded(text).split())
    return any((match := form.fullmatch(folded)) and _iso(match) != folded for form in _DATES) or bool(
        re.fullmatch(r"\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d)?)?", folded)
    )


def _folded(text: str) -> str:
    """The text with plain signs and digits, whatever its script."""
    if text.isascii():
        return text
    folded = unicodedata.normalize("NFC", text).translate(_FOLDED)
    return _DECIMALS.sub(lambda digit: str(unicodedata.decimal(digit[0])), folded)


@lru_cache(2**16)
def _word(raw: str) -> str:
    """One word's canonical form; empty where it is punctuation alone."""
    bare = raw.strip(_EDGES)
    if bare.isalpha():
        return bare.casefold()
    whole = raw.strip("\"'`()[]{}<>“”«»").rstrip(_EDGES)
    if number := _number(whole):
        return number
    word = bare.casefold()
    if not any(c.isalnum() for c in word):
        return "".join(c for c in word if c in _SYMBOLS or (not c.isascii() and unicodedata.category(c)[0] == "S"))
    if _DIGIT.search(word):
        return word
    inner = word.strip("-")
    before, _, after = word.partition(inner)
    return f"{before}{_DROPPED.sub('', inner)}{after}"


def _number(word: str) -> str:
    """A number without marks and trailing zeros, with its sign and unit; empty where the word is none."""
    match = _NUMBER.fullmatch(word) if _DIGIT.search(word) else None
    if not match:
        return ""
    part = match.groupdict(default="")
    whole = re.sub(r"\D", "", part["grouped"] + part["dotted"]) + part["whole"] + part["integer"]
    fraction = part["behind"] + part["comma"] + part["decimals"] + part["fraction"]
    digits = whole + fraction
    point = len(whole) + int(part["exponent"] or 0)
    # Zeros on both sides, so that the point lies inside.
    digits, point = "0" * max(0, 1 - point) + digits.ljust(point, "0"), max(point, 1)
    number = digits[:point].lstrip("0") or "0"
    if rest := digits[point:].rstrip("0"):
        number = f"{number}.{rest}"
    negative = "-" in part["sign"] + part["inner"] and number != "0"
    unit = "".join(c for c in word if c in f"%{_CURRENCIES}")
    return f"{'-' if negative else ''}{number}{unit}"


def _iso(match: re.Match[str]) -> str:
    """A date as ISO 8601 has it, without its day or its year where it has none; unchanged where it is no date."""
    part = {"year": None, "month": None, "day": None, "hour": None} | match.groupdict()
    if "one" in part:
        one, other = int(part["one"] or 0), int(part["other"] or 0)
        if one <= 12 and other <= 12 and one != other:
            return match[0]
        part["day"], part["month"] = str(max(one, other)), str(min(one, other))
    name = str(part["month"])
    month, day, year = _MONTHS.get(name.lower()) or int(name), part["day"], part["year"]
    try:
        date(int(year or 2000), month, int(day or 1))
    except ValueError:
        return match[0]
    said = f"{int(year):04}-{month:02}" if year else f"--{month:02}"
    said += f"-{int(day):02}" if day else ""
    clock = [part[name] for name in ("hour", "minute", "second") if part.get(name)]
    return f"{said}T{':'.join(map(str, clock))}" if any(int(number or 0) for number in clock) else said


def _listed(answer: str, right: set[str]) -> set[str]:
    """The right values that an answer lists; empty where it holds anything else."""
    pieces, ends = [0], []
    for link in _LINKS.finditer(answer):
        ends.append(link.start())
        pieces.append(link.end())
    ends.append(len(answer))
    # By place, what has been listed up to there; None where something wrong stands before it.
    found: list[set[str] | None] = [set(), *[None] * len(pieces)]
    for i, start in enumerate(pieces):
        before = found[i]
        if before is None:
            continue
        if not answer[start : ends[i]].strip():
            found[i + 1] = found[i + 1] or before
        for j in range(i, min(i + _LONGEST, len(pieces))):
            value = canonical(answer[start : ends[j]])
            if value in right:
                found[j + 1] = max(found[j + 1] or set(), before | {value}, key=len)
    return found[-1] or set()


@dataclass(frozen=True, slots=True)
class Confusion:
    """What SQuAD's rule makes of different values."""

    nothing: tuple[str, ...] = ()
    """Values of which it leaves nothing: no answer matches them."""
    pairs: tuple[tuple[str, str], ...] = ()
    """Different values that it takes for the same."""


def confusion(values: Iterable[str]) -> Confusion:
    """Which of some values SQuAD's rule cannot match, and which it takes for another."""
    nothing: list[str] = []
    seen: dict[str, dict[str, str]] = {}
    pairs: list[tuple[str, str]] = []
    for value in values:
        left = normalise(value)
        if not left:
            nothing.append(value)
            continue
        alike = seen.setdefault(left, {})
        if alike and canonical(value) not in alike:
            pairs.append((next(iter(alike.values())), value))
        alike.setdefault(canonical(value), value)
    return Confusion(tuple(nothing), tuple(pairs))
