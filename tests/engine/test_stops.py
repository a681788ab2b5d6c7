"""Stop texts against a search of the whole text after every token."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.models import toy_tokenizer

from piplay.engine.local.stops import StopTexts
from piplay.errors import InputError

TOKENIZER = toy_tokenizer("base")
TEXTS = ("</search>", "</answer>", "é\n", "stop ", "…")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A byte-level tokenizer, where a character may be several tokens."""
    place = tmp_path_factory.mktemp("tokenizer")
    TOKENIZER.save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def stops(folder: Path) -> StopTexts:
    return StopTexts(folder)


@pytest.mark.slow
@given(data=st.data())
def test_a_turn_ends_with_the_token_that_completes_a_text(stops: StopTexts, data: st.DataObject) -> None:
    pieces = st.sampled_from([*TEXTS, "</", "search", ">", "é", "\n", "stop", " ", "a", "</search", "<answer>"])
    said = "".join(data.draw(st.lists(pieces, max_size=8)))
    texts = data.draw(st.lists(st.sampled_from(TEXTS), min_size=1, max_size=3))
    ids = TOKENIZER.encode(said)
    complete = [stops.complete(texts, ids[:end]) for end in range(1, len(ids) + 1)]
    # A character of a token's name is a byte of the text.
    lengths = np.cumsum([len(name) for name in TOKENIZER.convert_ids_to_tokens(ids)])
    expected = [any(text.encode() in said.encode()[:length] for text in texts) for length in lengths]
    # Of those behind the first nobody asks: the turn is over.
    first = expected.index(True) if True in expected else len(expected)
    assert complete[: first + 1] == expected[: first + 1]


def test_half_a_character_before_a_text_hides_it_not(stops: StopTexts) -> None:
    half = TOKENIZER.encode("é")[:1]
    ids = [*half, *TOKENIZER.encode("</search>")]
    assert [stops.complete(TEXTS, ids[:end]) for end in range(1, len(ids) + 1)] == [False] * (len(ids) - 1) + [True]


def test_other_texts_end_nothing(stops: StopTexts) -> None:
    for text in ("</think>", "<search>", "< /search>", "</Search>", "&lt;/search>", "e\n", "stop"):
        assert not stops.complete(TEXTS, TOKENIZER.encode(text))


def test_a_turn_is_decoded_only_where_its_last_token_may_complete_a_text(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stops = StopTexts(folder)
    ids = TOKENIZER.encode("The museum stands in the town.</search>")
    decode: Callable[..., str] = stops._tokenizer.decode
    lengths: list[int] = []
    monkeypatch.setattr(stops._tokenizer, "decode", lambda ids, **how: lengths.append(len(ids)) or decode(ids, **how))
    ended = [end for end in range(1, len(ids) + 1) if stops.complete(("</search>",), ids[:end])]
    assert ended == [len(ids)]
    assert [length for length in lengths if length > 1] == [len(ids)]


def test_a_folder_without_a_tokenizer_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"tokenizer of .* cannot be loaded"):
        StopTexts(tmp_path).complete(TEXTS, [1])
