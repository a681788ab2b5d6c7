"""A turn cut into reasoning, call and what it says beside."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.shapes import SHAPES, shaped, speaking
from toys.tools import SEARCH

from piplay.chat.native import Native
from piplay.chat.reasoning import USUAL, cut
from piplay.chat.tagged import _thought


class Watched(str):
    """A text that counts how often each piece is looked for in it, and the characters that are copied out of it."""

    asked: Counter[str]
    copied = 0

    def __getitem__(self, places: Any) -> str:
        found = super().__getitem__(places)
        self.copied += len(found)
        return found

    def find(self, piece: str, *where: Any) -> int:
        self.asked[piece] += 1
        return super().find(piece, *where)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_call_that_never_comes_is_looked_for_once(shape: str) -> None:
    """However often a turn thinks: looked for from every thought on, a long turn would take its length squared."""
    syntax = Native(speaking(shaped(shape)), [SEARCH])._way.syntax
    assert syntax is not None
    turn = Watched("<think>so</think> well " * 300)
    turn.asked = Counter()
    said = cut(turn, USUAL, syntax)
    assert (said.call, said.malformed) == (None, False)
    assert said.think.count("so") == 300
    if syntax.anchor:
        assert turn.asked[syntax.anchor] == 1


@pytest.mark.parametrize("shape", SHAPES)
def test_of_a_long_turn_of_broken_calls_a_few_are_read(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each may go on to the turn's end before it is known to be broken."""
    syntax = Native(speaking(shaped(shape)), [SEARCH])._way.syntax
    assert syntax is not None
    read, tried = syntax.core.read, Counter[str]()

    def counted(self: Any, text: str, at: int, closes: Any) -> Any:
        tried["reads"] += 1
        return read(text, at, closes)

    monkeypatch.setattr(type(syntax.core), "read", counted)
    begun = syntax.opening + syntax.core.write("search", {"query": "Bor"}, ())[:-3]
    said = cut(f"{begun}{{</think>" * 500, USUAL, syntax)
    assert said.call is None
    assert tried["reads"] <= 16
    assert said.malformed or not syntax.anchor


def test_a_long_turn_that_closes_what_nothing_opened_is_copied_once() -> None:
    turn = Watched("so</think>" * 10_000)
    turn.asked = Counter()
    assert cut(turn, USUAL, None).think.count("so") == 10_000
    assert turn.copied < 2 * len(turn)


@given(st.lists(st.sampled_from(["<think>", "</think>", "so", " ", "<", "\n"]), max_size=12).map("".join))
def test_reasoning_in_tags_is_what_the_pattern_finds(text: str) -> None:
    """The pattern takes a turn's length squared where it is opened again and again and never closed."""
    closed = re.search("<think>(.*?)</think>", text, re.DOTALL)
    before, found, _ = text.partition("</think>")
    assert _thought(text) == (closed[1].strip() if closed else before.strip() if found else "")
