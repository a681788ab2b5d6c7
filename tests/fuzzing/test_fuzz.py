"""A sample of `make fuzz`: damaged input is refused in a sentence, and hostile text forges no control token."""

from collections.abc import Iterator

import pytest
from fuzzing.fuzz import fuzz, inputs, problem
from fuzzing.hostile import forged
from fuzzing.targets import clear, targets

from piplay.errors import InputError


@pytest.fixture(scope="module", autouse=True)
def clean() -> Iterator[None]:
    yield
    clear()


@pytest.mark.slow
@pytest.mark.parametrize("name", targets())
def test_damaged_input_is_read_or_refused_in_a_sentence(name: str) -> None:
    tried, failed = fuzz(name, 20, seed=7)
    assert failed == {}
    assert tried == 20


@pytest.mark.slow
def test_hostile_text_forges_no_control_token_with_any_chat_and_tokenizer() -> None:
    tried, found = forged(4000, seed=7)
    assert tried >= 4000
    assert found.total() == 0


@pytest.mark.slow
def test_what_goes_wrong_is_found() -> None:
    def refuses(data: bytes) -> None:
        raise InputError("no")

    def fails(data: bytes) -> None:
        raise UnicodeError("lost")

    def hangs(data: bytes) -> None:
        while True:
            pass

    assert problem(refuses, b"") == ""
    assert "UnicodeError: lost" in problem(fails, b"")
    assert "more than 1 s" in problem(hangs, b"", seconds=1)
    assert list(inputs((b"abc",), "0", 9)) == list(inputs((b"abc",), "0", 9))
