"""Which tools can be, and which calls of them are well-formed."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys.tools import CALCULATOR, NOTE, NOW, SEARCH, TOOLS

from piplay.chat.calls import Toolset, json_text, leading_json
from piplay.errors import InputError
from piplay.types import ToolCall, ToolSpec

KNOWN = Toolset(TOOLS)


@pytest.mark.parametrize(
    ("name", "arguments", "call"),
    [
        ("search", {"query": " the river\n"}, {"query": "the river"}),
        ("search", {"query": "Bor", "k": 5}, {"query": "Bor", "k": 5}),
        ("calculator", {"a": 1, "b": -2.5}, {"a": 1, "b": -2.5}),
        ("now", {}, {}),
        ("note", {"title": "t", "body": "  "}, {"title": "t", "body": ""}),
        ("note", {"title": "t", "labels": [" x "]}, {"title": "t", "labels": [" x "]}),
    ],
)
def test_a_call_has_its_texts_stripped(name: str, arguments: dict[str, object], call: dict[str, object]) -> None:
    assert KNOWN.call(name, arguments) == ToolCall(name, call)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("find", {"query": "Bor"}),
        (None, {"query": "Bor"}),
        (["search"], {"query": "Bor"}),
        ("search", "Bor"),
        ("search", None),
        ("search", {}),
        ("search", {"query": None}),
        ("search", {"query": " \u3000\n"}),
        ("search", {"query": "Bor \ud83d"}),
        ("search", {"query": "Bor", "k": "\ud83d"}),
        ("search", {"query": "Bor", "k": float("nan")}),
        ("calculator", {"a": 1}),
        ("calculator", {"a": 1, "b": "2"}),
        ("calculator", {"a": 1, "b": True}),
        ("calculator", {"a": 1, "b": 2, "c": 3}),
        ("calculator", {"a": 1, "b": float("inf")}),
        ("now", []),
        ("note", {"title": "t", "labels": ["x", 7]}),
        ("note", {"title": "t", "labels": ["x" * 100]}),
    ],
)
def test_a_call_that_does_not_fit_is_none(name: object, arguments: object) -> None:
    assert KNOWN.call(name, arguments) is None


@pytest.mark.slow
def test_numbers_and_depths_beyond_all_measure_are_no_call() -> None:
    step = ToolSpec("step", "", {"type": "object", "properties": {"n": {"type": "number", "multipleOf": 0.5}}})
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    tools = Toolset([step])
    assert tools.call("step", {"n": 1.5}) == ToolCall("step", {"n": 1.5})
    assert tools.call("step", {"n": 10**400}) is None
    assert tools.call("step", {"deep": deep}) is None


@pytest.mark.parametrize("name", ["", "web search", "web-search", "a>", "é", "search\n"])
def test_a_name_that_is_no_word_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="letters, digits and underscores"):
        Toolset([SEARCH, ToolSpec(name, "", NOW.parameters)])


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(InputError, match="two tools are named 'now'"):
        Toolset([NOW, SEARCH, NOW])


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({}, '"type": "object"'),
        ({"type": "array"}, '"type": "object"'),
        ({"type": "object", "properties": []}, "properties: [] is not of type 'object'"),
        ({"type": "object", "properties": {"a": {"type": "text"}}}, "properties.a.type"),
        ({"type": "object", "properties": {"a": {"pattern": "("}}}, "regex"),
        ({"type": "object", "required": "a"}, "required"),
        ({"type": "object", "properties": {"a": {"$ref": "#/$defs/b"}}}, "refers to '#/$defs/b'"),
        ({"type": "object", "allOf": [{"$ref": "http://example.com/a"}]}, "refers to 'http://example.com/a'"),
        ({"type": "object", "const": {1, 2}}, "not JSON serializable"),
    ],
)
def test_parameters_that_are_no_schema_are_refused_in_a_sentence(parameters: dict[str, object], told: str) -> None:
    with pytest.raises(InputError) as caught:
        Toolset([ToolSpec("find", "Finds.", parameters)])
    sentence = str(caught.value)
    assert sentence.startswith("the tool 'find' has parameters that are no JSON schema of an object")
    assert told in sentence
    assert "\n" not in sentence


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.slow
@settings(max_examples=60)
@given(value=json_values, words=st.lists(st.text(max_size=2), max_size=3), compact=st.booleans())
def test_json_text_reads_back_and_its_texts_spell_no_unspoken_word(
    value: object, words: list[str], compact: bool
) -> None:
    assert json.loads(json_text(value, words, compact)) == value
    assert json_text(value, (), compact) == json.dumps(
        value, ensure_ascii=False, separators=(",", ":") if compact else (", ", ": ")
    )


def test_an_unspoken_word_is_escaped_and_only_the_text_that_holds_it() -> None:
    said = json_text({"a": '"<b>"', "c": "<d>"}, ["<b>"])
    assert "<b>" not in said
    assert '"c": "<d>"' in said
    assert json.loads(said) == {"a": '"<b>"', "c": "<d>"}


@pytest.mark.parametrize("text", ["", "Bor", "{", "[" * 100_000, "1" * 10_000])
def test_what_begins_with_no_json_is_none(text: str) -> None:
    assert leading_json(text) == (None, 0)


def test_leading_json_tells_how_long_it_is() -> None:
    assert leading_json('{"a": [1]} and more') == ({"a": [1]}, 10)


def test_the_tools_stay_in_order() -> None:
    assert KNOWN.specs == (SEARCH, CALCULATOR, NOW, NOTE)
