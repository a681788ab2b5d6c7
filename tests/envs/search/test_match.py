"""Exact match under SQuAD's normalisation, against an implementation that shares no code with it."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piplay.envs.search.match import contains, exact_match, normalise
from piplay.envs.search.words import in_latin

WORDS = ["the", "The", "a", "an", "AN", "Bor", "bor's", "U.S.", "theory", "a-b", "Ünal", "1,836", "—", "…", "_", "x"]
text = st.lists(st.sampled_from(WORDS) | st.text(max_size=6), max_size=8).map(" ".join) | st.text()


def squad(text: str) -> str:
    """SQuAD v1.1's order: lower, punctuation, articles as whole words, white space; one character at a time."""
    kept = "".join(c for c in text.lower() if c not in string.punctuation)
    words, word = [], ""
    for c in kept + " ":
        if c == "_" or c.isalnum():
            word += c
        else:
            words += [word, c]
            word = ""
    return " ".join("".join(" " if w in ("a", "an", "the") else w for w in words).split())


@pytest.mark.slow
@given(text)
def test_normalise_is_squads(text: str) -> None:
    assert normalise(text) == squad(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The U.S. of A", "us of"),
        ("  a  Bor—Tamsin ", "bor—tamsin"),
        ("theory of an ant", "theory of ant"),
        ("well-known", "wellknown"),
        ("Straße", "straße"),
        ("a, an; the!", ""),
        ("", ""),
    ],
)
def test_normalise_by_hand(text: str, expected: str) -> None:
    assert normalise(text) == expected


@pytest.mark.slow
@given(text, text)
def test_exact_match_is_equality_of_what_is_left(said: str, gold: str) -> None:
    if in_latin(said) and in_latin(gold):
        assert exact_match(said, ["no such gold", gold]) == (squad(said) == squad(gold) != "")


def test_any_gold_will_do() -> None:
    assert exact_match("the OUM.", ("Mount Oum", "Oum"))
    assert not exact_match("Oum", ("Mount Oum",))
    assert not exact_match("Oum", ())


@pytest.mark.parametrize("nothing", ["", "The", "a.", "!?"])
def test_a_gold_of_nothing_matches_nothing(nothing: str) -> None:
    for said in ("", "the", "Oum", nothing):
        assert not exact_match(said, [nothing])
        assert not contains(said, nothing)


def test_contains_wants_whole_words_in_order() -> None:
    assert contains("It rises in the Mount Oum.", "mount oum")
    assert not contains("Oumville", "Oum")
    assert not contains("Oum Mount", "Mount Oum")
    assert contains("Oum", "Oum")
