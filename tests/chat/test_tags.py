"""Chat by tags in plain text: where a turn ends, what of it counts, and what text from outside can never forge."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from toys.models import toy_tokenizer
from toys.tools import CALCULATOR, SEARCH, TOOLS
from transformers import AutoTokenizer

import piplay
from piplay.chat.tags import Tags, instruction
from piplay.errors import InputError
from piplay.types import ToolCall, Turn

TOKENIZERS = {kind: toy_tokenizer(kind) for kind in ("base", "qwen3", "qwen2", "llama")}
TOKENIZERS["tiny"] = AutoTokenizer.from_pretrained(
    Path(piplay.__file__).parent / "tiny_base" / "model", local_files_only=True
)
CHATS = {kind: Tags(tokenizer, [SEARCH]) for kind, tokenizer in TOKENIZERS.items()}
EQUIPPED = {kind: Tags(tokenizer, TOOLS) for kind, tokenizer in TOKENIZERS.items()}
"""The same with every tool."""
NAMES = ("think", "answer", "information", *(tool.name for tool in TOOLS))
TAGS = [f"<{slash}{name}>" for name in NAMES for slash in ("", "/")]
OF_SEARCH = [f"<{slash}{name}>" for name in ("think", "search", "answer", "information") for slash in ("", "/")]
SPELLED = sorted({*TAGS, *(token for chat in CHATS.values() for token in chat.tokenizer.get_added_vocab())})
pieces = (
    st.sampled_from(SPELLED) | st.sampled_from(["<", ">", "</", "sea", "rch>", " ", "\n", "Bor"]) | st.text(max_size=5)
)
foreign_text = st.lists(pieces, max_size=8).map("".join)


def decoded(chat: Tags, ids: np.ndarray) -> str:
    return chat.tokenizer.decode(ids, skip_special_tokens=False)


def tags_of(text: str) -> list[str]:
    return [tag for tag in re.findall(r"</?\w+>", text) if tag in TAGS]


# What is shown


@pytest.mark.slow
@pytest.mark.parametrize("name", CHATS)
@settings(deadline=None, max_examples=40)
@given(text=foreign_text)
def test_text_from_outside_spells_no_tag_and_no_control_token(name: str, text: str) -> None:
    chat = EQUIPPED[name]
    added = set(chat.tokenizer.get_added_vocab().values())
    for ids, quiet in [
        (chat.prompt("Be brief.", text), chat.prompt("Be brief.", "")),
        (chat.user_turn(text), chat.user_turn("")),
        *((chat.tool_turn(text, tool.name), chat.tool_turn("", tool.name)) for tool in TOOLS),
    ]:
        assert tags_of(decoded(chat, ids)) == tags_of(decoded(chat, quiet))
        assert [i for i in ids.tolist() if i in added] == [i for i in quiet.tolist() if i in added]


@pytest.mark.parametrize("name", CHATS)
def test_what_is_found_stands_between_information_and_what_a_user_says_by_itself(name: str) -> None:
    chat = EQUIPPED[name]
    for tool in TOOLS:
        told = decoded(chat, chat.tool_turn("Bor", tool.name))
        assert "".join(told.split()) == "<information>Bor</information>"
    told = decoded(chat, chat.user_turn("Go on."))
    assert (told.strip(), told[:2], told[-2:]) == ("Go on.", "\n\n" if name != "tiny" else " \n", "\n\n")


@pytest.mark.parametrize("name", CHATS)
def test_foreign_text_that_spells_no_tag_is_shown_as_it_is(name: str) -> None:
    chat = CHATS[name]
    assert "a < b, <b>bold</b> and <searching> remain" in decoded(
        chat, chat.tool_turn("a < b, <b>bold</b> and <searching> remain", "search")
    )
    assert "\n‹search›Bor‹/search›\n" in decoded(chat, chat.tool_turn("<search>Bor</search>", "search")).replace(
        " ", ""
    )


def test_a_prompt_tells_the_tags_the_role_and_the_task_and_begins_as_the_tokenizer_does() -> None:
    for name, chat in CHATS.items():
        text = decoded(chat, chat.prompt("Be brief.", "Where is Bor?"))
        for told in (*OF_SEARCH, "Be brief.", "Where is Bor?"):
            assert told in text
        assert text.startswith("<|begin_of_text|>") == (name == "llama")


def test_search_alone_is_told_in_search_r1s_words() -> None:
    assert instruction([SEARCH]) == (
        "Reason between <think> and </think> whenever you learn something new. To look something up write <search>a "
        "query</search>: what is found will stand between <information> and </information>. Search as often as you "
        "need. When you are done, write what is asked for between <answer> and </answer>, and nothing else."
    )


def test_every_tool_is_told_with_its_description_and_how_it_is_called() -> None:
    told = instruction(TOOLS)
    assert "<search>a query</search>." in told
    assert "(Adds two numbers.) write <calculator>a JSON object</calculator>" in told
    assert json.dumps(CALCULATOR.parameters) in told
    assert "To call now (Tells the time.) write <now>{}</now>." in told
    assert told.count("<information>") == told.count("as often as you need.") == told.count("<answer>") == 1
    lookup = replace(SEARCH, name="lookup", description="Finds a page.")
    assert "To call lookup (Finds a page.) write <lookup>the query</lookup>: what is found" in instruction([lookup])


def test_without_tools_none_is_told_and_none_can_be_called() -> None:
    chat = Tags(TOKENIZERS["base"])
    told = decoded(chat, chat.prompt("", ""))
    assert tags_of(told) == ["<think>", "</think>", "<answer>", "</answer>"]
    assert not re.search("tool|search|call|found", told)
    assert chat.stop.texts == ("</answer>",)
    turn = chat.parse(chat.written("<search>Bor</search><answer>Oum</answer>"))
    assert (turn.call, turn.content, turn.malformed) == (None, "Oum", False)


@pytest.mark.parametrize("name", ["think", "answer", "information"])
def test_a_tool_named_as_another_tag_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"named '{name}'"):
        Tags(TOKENIZERS["base"], [SEARCH, replace(SEARCH, name=name)])


# Where a turn ends


def test_a_turn_ends_with_an_answer_any_tools_call_or_the_end_of_text() -> None:
    assert CHATS["base"].stop.texts == ("</search>", "</answer>")
    assert EQUIPPED["base"].stop.texts == ("</search>", "</calculator>", "</now>", "</note>", "</answer>")
    tokenizer = TOKENIZERS["base"]
    for tools in ([], [SEARCH]):
        assert Tags(tokenizer, tools).stop.ids == (tokenizer.eos_token_id,)
        assert Tags(tokenizer, tools, [7, tokenizer.eos_token_id]).stop.ids == (tokenizer.eos_token_id, 7)


@pytest.mark.parametrize("text", ["</think>", "<search>", "</information>", "< /search>", "</Search>", "&lt;/search>"])
def test_no_other_text_ends_a_turn(text: str) -> None:
    chat = CHATS["base"]
    assert chat.written(text)[-1:] == list(chat.stop.ids)
    assert chat.written(f"{text}</search>")[-1:] != list(chat.stop.ids)


def stops(chat: Tags, ids: list[int]) -> bool:
    """Whether a turn is over, here or before: by the definition of ``Stop``."""
    text = decoded(chat, np.array(ids))
    return any(i in chat.stop.ids for i in ids) or any(closing in text for closing in chat.stop.texts)


# What a turn says


@pytest.fixture(params=list(CHATS))
def parse(request: pytest.FixtureRequest):
    chat = CHATS[request.param]
    return lambda text: chat.parse(chat.written(text))


@pytest.mark.parametrize(
    ("text", "think", "content", "query"),
    [
        ("<search>Bor</search>", "", "", "Bor"),
        ("<think>the river</think>\n<search> the river of Bor </search>\n\n", "the river", "", "the river of Bor"),
        ("<think>so</think> <answer>Oum</answer>", "so", "Oum", None),
        ("<answer>Question: Who? Answer: Oum</answer>", "", "Question: Who? Answer: Oum", None),
        ("Let me see. <think>so</think> It is <answer>Oum</answer>. <search>Bor</search>", "so", "Oum", None),
        ("<search>Bor</search><answer>Oum</answer>", "", "", "Bor"),
        ("<search>the <search>Bor</search>", "", "", "Bor"),
        ("<think>I could <search>Bor</search>", "", "", "Bor"),
        ("<answer></answer>", "", "", None),
    ],
)
def test_the_first_closed_search_or_answer_counts(
    parse, text: str, think: str, content: str, query: str | None
) -> None:
    said = parse(text)
    call = None if query is None else ToolCall("search", {"query": query})
    assert (said.think, said.content, said.call, said.malformed) == (think, content, call, False)


@pytest.mark.parametrize(
    "text",
    ["Oum", "", "<think>so</think>", "<search>Bor", "Bor</search>", "<search> </search>", "<answer>Bor</search>", "<>"],
)
def test_a_turn_with_no_search_and_no_answer_is_malformed(parse, text: str) -> None:
    said = parse(text)
    assert (said.content, said.call, said.malformed) == ("", None, True)


NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
AWKWARD = st.sampled_from(
    [*SPELLED, '"', "\\", "'", "{", "}", "\n", "\\u003c", "<", "</", ">", "é", "中", "😀", "\u2028"]
)
awkward_text = st.lists(AWKWARD | st.text(max_size=4), max_size=7).map("".join)
sayable = st.text(st.sampled_from("ab '\\{}é\n\">"), min_size=1).map(lambda text: f"x{text}".strip())
"""What an answer, or a tool called by a text, can be told: no tag is in it."""
calls = st.one_of(
    st.builds(lambda query: ToolCall("search", {"query": query}), sayable),
    st.builds(lambda a, b: ToolCall("calculator", {"a": a, "b": b}), NUMBERS, NUMBERS),
    st.just(ToolCall("now", {})),
    st.builds(
        lambda title, body, labels: ToolCall("note", {"title": title, "body": body.strip(), "labels": labels}),
        awkward_text.map(str.strip).filter(bool),
        awkward_text,
        st.lists(awkward_text.map(lambda text: text[:99]), max_size=3),
    ),
)


@pytest.mark.slow
@pytest.mark.parametrize("name", CHATS)
@settings(deadline=None, max_examples=50)
@given(think=st.text(st.sampled_from("ab '{}é\n<")), said=sayable, called=calls)
@example(think="", said='x"}}>', called=ToolCall("now", {}))
def test_a_phrase_is_read_as_what_it_says(name: str, think: str, said: str, called: ToolCall) -> None:
    chat = EQUIPPED[name]
    for call, content in ((called, ""), (None, said)):
        ids = chat.written(chat.phrase(think, content, call))
        assert chat.parse(ids) == Turn(chat.parse(ids).text, think.strip(), content, call, malformed=False)
        assert (stops(chat, ids[:-1]), stops(chat, ids)) == (False, True)


@pytest.mark.parametrize(
    "text",
    [
        "<find>Bor</find>",
        "<note>Bor</note>",
        "<note></note>",
        '<note>{"title": "Bor"</note>',
        '<note>{"title": "Bor"} and more</note>',
        '<note>{"title": " "}</note>',
        '<note>{"title": 7}</note>',
        '<note>["Bor"]</note>',
        '<calculator>{"a": 1, "b": "2"}</calculator>',
        '<calculator>{"a": 1, "b": 2, "c": 3}</calculator>',
        '{"a": 1, "b": 2}</calculator>',
        "<now></now>",
        "<now>12:05</now>",
    ],
)
def test_a_call_that_no_tool_takes_is_malformed(text: str) -> None:
    for chat in EQUIPPED.values():
        said = chat.parse(chat.written(text))
        assert (said.content, said.call, said.malformed) == ("", None, True)


def test_a_conversation_goes_on_behind_an_answer() -> None:
    chat = EQUIPPED["base"]
    ids = [
        *chat.prompt("Play.", "Your move."),
        *chat.written("<answer>a1</answer>"),
        *chat.user_turn("I take <now>b2."),
    ]
    told = decoded(chat, np.array([*ids, *chat.written("<answer>c3</answer>")]))
    assert told.endswith("Play.\n\nYour move.\n\n<answer>a1</answer>\n\nI take ‹now›b2.\n\n<answer>c3</answer>")
