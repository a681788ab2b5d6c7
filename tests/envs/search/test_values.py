"""Values against numbers and dates of Python's own, and against SQuAD's rule where the two have to agree."""

import string
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piplay.envs.search.match import contains, exact_match, normalise
from piplay.envs.search.values import (
    canonical,
    confusion,
    every_value,
    is_date,
    is_number,
    mentions,
    same_value,
)

WORDS = ["the", "The", "a", "an", "Bor", "bor's", "U.S.", "theory", "a-b", "is", "1836", "Tam,", '"Oum"', "(Ulm)", "x."]
plain = st.lists(st.sampled_from(WORDS), max_size=8).map(lambda words: " ".join([*words, "end"]))
numbers = st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9), max_value=10**9)


@given(plain)
def test_plain_english_is_compared_as_squad_compares_it(text: str) -> None:
    assert canonical(text) == normalise(text)


@given(st.text(string.printable, max_size=20))
def test_a_canonical_form_is_its_own(text: str) -> None:
    assert canonical(canonical(text)) == canonical(text)


@given(numbers, numbers)
def test_numbers_are_the_same_where_decimals_are(one: Decimal, other: Decimal) -> None:
    assert same_value(f"{one:f}", [f"{other:f}"]) == (one == other)
    assert same_value(f"{one:,f}", [f"{one:f}"])
    assert same_value(f"{one:,.5f}", [f"{one:f}"])
    assert mentions(f"It is {one:,f}, they say.", f"{one:f}")
    assert is_number(f"{one:,f}")


@given(st.dates(min_value=date(1000, 1, 1)), st.dates(min_value=date(1000, 1, 1)))
def test_dates_are_the_same_in_every_spelling(day: date, other: date) -> None:
    month = day.strftime("%B")
    spelt = [
        day.isoformat(),
        f"{day.isoformat()} 00:00:00",
        f"{day.year}/{day.month}/{day.day}",
        f"{day.day:02}.{day.month:02}.{day.year}",
        f"{day.day} {month} {day.year}",
        f"{day.day}th of {month}, {day.year}",
        f"{month} {day.day}, {day.year}",
        f"{month[:3].upper()}. {day.day} {day.year}",
        f"{day.day}-{month[:3]}-{day.year}",
    ]
    for spelling in spelt:
        assert same_value(spelling, [day.isoformat()])
        assert same_value(spelling, [other.isoformat()]) == (day == other)
        assert mentions(f"On {spelling}, it began.", day.isoformat())
        assert mentions(f"On {spelling}, it began.", str(day.year))
        assert is_date(spelling)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("-5", "−5"), ("1,000", "1000"), ("1994.0", "1994"), ("+5", "5"), ("5.00", "5"), (".5", "0.50"), ("-0", "0"),
        ("3,14", "3.14"), ("1.234.567,5", "1234567.5"), ("12,34,567", "1234567"), ("1 000 000", "1000000"),
        ("1e9", "1000000000"), ("1.5e-3", "0.0015"), ("１２", "12"), ("٣", "3"), ("5 %", "5%"), ("$1,000.00", "$1000"),
        ("5 $", "$5"), ("the A", "A"), ("**A+**", "A+"), ("“Bor”", "Bor"), ("O’Brien", "O'Brien"),
        ("March 1994", "Mar 1994"),
        ("5 May", "May 5"), ("1836 m", "1,836 m"), ("3–5", "3-5"),
    ],
)  # fmt: skip
def test_spellings_of_one_value(one: str, other: str) -> None:
    assert same_value(one, [other])
    assert same_value(other, [one])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("-5", "5"), ("1.5", "15"), ("3.14", "314"), ("A", "An"), ("A", "The"), ("A", "A+"), ("A+", "A-"), ("A", "A*"),
        ("C", "C++"), ("C#", "C++"), ("B", "B-"), ("5", "5%"), ("$5", "€5"), ("007", "7"), ("UTC -3:30", "UTC +3:30"),
        ("libfoo-1.2", "libfoo-12"), ("1:4.13", "14.13"), ("Vitamin A", "Vitamin"), ("3/2/1994", "2/3/1994"),
        ("1/2", "12"),
        ("0,500", "500"), ("2024-02-30", "20240230"), ("10:30", "1030"), ("1994", "1994-03-02"), ("♂", "♀"), ("", ""),
        ("x²", "x2"),
    ],
)  # fmt: skip
def test_different_values(one: str, other: str) -> None:
    assert not same_value(one, [other])
    assert not same_value(other, [one])


def test_a_list_of_right_answers_is_right_and_nothing_else() -> None:
    golds = ("Trinidad and Tobago", "Aruba", "1,000")
    for right in ("Aruba", "aruba, 1000", "Aruba and Trinidad and Tobago", "1,000; Trinidad and Tobago / Aruba"):
        assert same_value(right, golds), right
    for wrong in ("", "Aruba, Cuba", "Trinidad", "Aruba or 1000", "and", "Aruba Trinidad and Tobago"):
        assert not same_value(wrong, golds), wrong
    values = (("Trinidad and Tobago", "TTO"), ("Aruba",))
    assert every_value("Aruba, TTO", values)
    assert every_value("Trinidad and Tobago and Aruba", values)
    for short in ("Aruba", "Aruba, Aruba", "TTO, Trinidad and Tobago", "Aruba, TTO, Cuba", ""):
        assert not every_value(short, values), short


def test_what_stands_in_a_text() -> None:
    text = "Its grade is A. Its balance is −5, its gpa 1.5 (not 15); born 1900–1990. He writes C++ in 北京市。"
    for there in ("A", "-5", "1.5", "15", "1900", "1990", "C++", "北京"):
        assert mentions(text, there), there
    for absent in ("5", "An", "The", "C", "190", "1905", "", "!"):
        assert not mentions(text, absent), absent
    assert not mentions("Ava is a pupil.", "A")


def test_what_squads_rule_confuses_is_found() -> None:
    found = confusion(["-5", "5", "A", "The", "Bor", "the Bor", "1,000", "1000", "C", "C++"])
    assert found.nothing == ("A", "The")
    assert found.pairs == (("-5", "5"), ("C", "C++"))
    assert all(exact_match(one, [other]) for one, other in found.pairs)
    assert not any(exact_match(value, [value]) or contains(value, value) for value in found.nothing)
