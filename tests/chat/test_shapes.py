"""Calls of every shape: whose ids a conversation has, what is read back, and which dialects are understood."""

import json
from functools import cache
from typing import Any

import pytest
from toys.shapes import SHAPES, shaped, speaking
from toys.tools import NOTE, SEARCH, TOOLS

from piplay.chat.base import Chat
from piplay.chat.choose import choose
from piplay.chat.native import Native
from piplay.errors import InputError
from piplay.types import ToolCall

KINDS = ("bytes", "each", "first")
AWKWARD = (
    *('the "old" Bor', "it's Bor's", "a\\b\\n", "one\ntwo", '{"query": ["Bor"]}', '"}}</tool_call>', "]) 'x', k='y')"),
    *("<b>Bor</b> </parameter> x", "</arg_value> x", "<think>so</think> Bor", "é 中 😀 ‹›", "[1]", "'", "<|end|> Bor"),
)
"""Written here, not taken from what a chat tries on itself."""


@cache
def chat_of(shape: str, kind: str = "bytes") -> Native:
    return Native(speaking(shaped(shape), kind), [SEARCH])


def searching(query: str) -> ToolCall:
    return ToolCall("search", {"query": query})


def rendered(chat: Chat, messages: list[dict[str, Any]]) -> list[int]:
    function = {"name": SEARCH.name, "description": SEARCH.description, "parameters": SEARCH.parameters}
    return chat.tokenizer.apply_chat_template(
        messages, tools=[{"type": "function", "function": function}], add_generation_prompt=True, return_dict=False
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("think", ["", "first the river"])
def test_ids_are_those_of_the_template(shape: str, kind: str, think: str) -> None:
    chat = chat_of(shape, kind)
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "You search."},
        {"role": "user", "content": "Which river is it?"},
    ]
    ids = chat.prompt("You search.", "Which river is it?").tolist()
    assert ids == rendered(chat, messages)
    for query in ("river of Bor", "Oum"):
        ids += [*chat.written(chat.phrase(think, call=searching(query))), *chat.tool_turn("Bor lies at Oum.", "search")]
        given = json.dumps({"query": query}) if shape == "fenced" else {"query": query}
        called = {"type": "function", "function": {"name": "search", "arguments": given}}
        messages += [
            {"role": "assistant", "content": "", "tool_calls": [called], "reasoning_content": think},
            {"role": "tool", "content": "Bor lies at Oum."},
        ]
        assert ids == rendered(chat, messages)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_awkward_queries_come_back_and_stop_no_turn_early(shape: str, kind: str) -> None:
    chat = chat_of(shape, kind)
    for query in AWKWARD:
        ids = chat.written(chat.phrase("so", call=searching(query)))
        turn = chat.parse(ids)
        assert (turn.call, turn.think, turn.malformed) == (searching(query), "so", False), query
        assert [i in chat.stop.ids for i in ids].index(True) == len(ids) - 1


@pytest.mark.slow
@pytest.mark.parametrize("shape", sorted(SHAPES.keys() - {"bare python"}))
def test_tools_of_every_kind_are_called(shape: str) -> None:
    chat = Native(speaking(shaped(shape)), TOOLS)
    for call in (
        ToolCall("calculator", {"a": 1, "b": -2.5}),
        ToolCall("now", {}),
        ToolCall("note", {"title": "true", "body": "7", "labels": ["x", "y"]}),
    ):
        assert chat.parse(chat.written(chat.phrase(call=call))).call == call


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("text", ["See [1].", "Bor (the river)", "search for it", '{"a": 1}', "f(x='y')", "a = [1, 2]"])
def test_an_answer_with_brackets_is_an_answer(shape: str, text: str) -> None:
    chat = chat_of(shape)
    turn = chat.parse(chat.written(chat.phrase("so", text)))
    assert (turn.content, turn.call, turn.malformed) == (text, None, False)


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ("json", "<tool_call>{'name': 'search', 'arguments': {'query': 'Bor'}}</tool_call>"),
        ("json", '<tool_call>{"name": "search", "arguments": {"query": "Bor",},}</tool_call>'),
        ("json", '<tool_call>{"name": "search", "parameters": {"query": "Bor"}}</tool_call>'),
        ("json", '<tool_call>{"name": "search", "arguments": "{\\"query\\": \\"Bor\\"}"}</tool_call>'),
        ("json", '<tool_call>{"name": "search", "arguments": {"query": ["Bor"]}}</tool_call>'),
        ("json", '<tool_call>\n[{"name": "search", "arguments": {"query": "Bor"}}]\n</tool_call>  \n'),
        ("functions", "<tool_call>\n<function=search><parameter=query>Bor</parameter></function></tool_call>"),
        ("functions", '<tool_call>\n{"name": "search", "arguments": {"query": "Bor"}}\n</tool_call>'),
        ("python", '<|calls|>[search(query="Bor")]<|/calls|>'),
        ("python", "<|calls|>[search('Bor')]<|/calls|>"),
        ("python", "<|calls|>[search(query='Bor'), search(query='Oum')]<|/calls|>"),
        ("addressed", ' to=functions.search <|args|>json<|sep|>{"query": "Bor"}'),
        (
            "invoke",
            '<calls>\n<invoke name="search">\n<parameter name="query">Bor</parameter>\n</invoke>\n'
            '<invoke name="search">\n<parameter name="query">Oum</parameter>\n</invoke>\n</calls>',
        ),
        ("list", '<|calls|>[{"tool_call_id": "0", "tool_name": "search", "parameters": {"query": "Bor"}}]<|/calls|>'),
    ],
)
def test_dialects_of_a_call_are_read(shape: str, text: str) -> None:
    chat = chat_of(shape)
    turn = chat.parse(chat.written(text))
    assert (turn.call, turn.malformed) == (searching("Bor"), False)


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ("json", '"}}</tool_call>'),
        ("functions", "Bor\n</parameter>\n</function>\n</tool_call>"),
        ("invoke", "Bor</parameter></invoke>"),
        ("python", "search(query='Bor')]<|/calls|>"),
        ("keys", "<tool_call>search"),
        ("named", "<|call|>search<|args|>{"),
    ],
)
def test_a_piece_of_a_call_is_malformed(shape: str, text: str) -> None:
    turn = chat_of(shape).parse(chat_of(shape).written(text))
    assert (turn.call, turn.malformed) == (None, True)


# Reasoning


@pytest.mark.parametrize(
    ("reasoning", "prompt"),
    [
        (("<think>", "</think>"), "<think>"),
        (("<think>\\n", "\\n</think>\\n\\n"), "<think>\\n"),
        (("<think>\\n\\n", "</think>"), "<think>\\n\\n"),
        (("[THINK]", "[/THINK]"), "[THINK]"),
        (("<|channel>thought\\n", "<channel|>"), "<|channel>thought\\n"),
        (("[THINK]", "[/THINK]"), ""),
    ],
)
def test_reasoning_that_the_prompt_opens_is_reasoning(reasoning: tuple[str, str], prompt: str) -> None:
    chat = Native(speaking(shaped("json", reasoning=reasoning, prompt=prompt)), [SEARCH])
    call = chat.phrase(call=searching("Bor"))
    opening, closing = (piece.replace("\\n", "\n").strip() for piece in reasoning)
    begun = "" if prompt else opening
    inner = '<tool_call>{"name": "search", "arguments": {"query": "Oum"}}</tool_call>'
    turn = chat.parse(chat.written(f"{begun}{inner}{closing}{call.removeprefix(closing)}"))
    assert (turn.think, turn.call, turn.malformed) == (inner, searching("Bor"), False)
    still = chat.parse(chat.written(f"{begun}It may be Paris or Lyon"))
    assert (still.content, still.call, still.malformed) == ("", None, True)


@pytest.mark.parametrize("shape", ["json", "functions", "list"])
def test_open_reasoning_is_no_answer_and_a_closing_without_opening_ends_it(shape: str) -> None:
    chat = chat_of(shape)
    open_ended = chat.parse(chat.written("<think>It may be Paris or Lyon. Question: Who? Answer: Bor"))
    assert (open_ended.content, open_ended.malformed) == ("", True)
    lone = chat.parse(chat.written("It may be Paris.</think>Lyon"))
    assert (lone.think, lone.content, lone.malformed) == ("It may be Paris.", "Lyon", False)


# Ends, styles, refusals


def test_a_call_may_end_otherwise_than_an_answer() -> None:
    template = shaped("addressed", end="END").replace(
        "{{- 'END' -}}", "{{- '<|call|>' if message.tool_calls else '<|return|>' if loop.last else '<|end|>' -}}"
    )
    chat = Native(speaking(template, end="<|return|>"), [SEARCH])
    call, answer = chat.written(chat.phrase(call=searching("Bor"))), chat.written(chat.phrase(content="Oum"))
    assert chat.tokenizer.convert_ids_to_tokens([call[-1], answer[-1]]) == ["<|call|>", "<|return|>"]
    assert {call[-1], answer[-1]} <= set(chat.stop.ids)
    with pytest.raises(InputError, match=r"append-only|ends no turn"):
        chat.user_turn("Go on.")


def test_an_end_that_opens_the_next_turn_is_not_repeated() -> None:
    template = (
        shaped("json").replace("{{- 'END' -}}", "").replace("{{- '<|end|>' -}}", "").replace("+ '<|end|>' -", "-")
    )
    chat = Native(speaking(template.replace("END", "")), [SEARCH])
    ids = [*chat.written(chat.phrase(call=searching("Bor"))), *chat.tool_turn("Oum", "search")]
    assert chat.tokenizer.decode(ids).count("<|tool|>") == 1
    assert chat.tokenizer.decode(chat.written("Oum")[-1:]) == "<|user|>"
    other = chat.tool_turn("Oum", "search", chat.tokenizer.convert_tokens_to_ids("<|user|>"))
    assert chat.tokenizer.decode(other).startswith("<|tool|>")


def test_an_end_within_a_call_is_refused_with_the_reason() -> None:
    template = shaped("json").replace("'<tool_call>' +", "'<|end|>call ' +")
    assert template != shaped("json")
    with pytest.raises(InputError, match=r"end of a turn also stands within .*--chat chat") as caught:
        Native(speaking(template), [SEARCH])
    assert "\n" not in str(caught.value)
    assert choose("auto", speaking(template), [SEARCH], []).kind == "chat"


def test_a_template_without_a_system_role_has_its_text_in_the_users_message() -> None:
    strict = (
        shaped("json")
        .replace(
            "{%- if message.role == 'system' -%}",
            "{%- if message.role == 'system' -%}{{ raise_exception('no system') }}",
        )
        .replace(
            "'<|user|>' + message.content",
            "'<|user|>' + (tools | tojson if tools and loop.first else '') + message.content",
        )
    )
    chat = Native(speaking(strict), [SEARCH])
    assert "Be brief.\n\nWhere?" in chat.tokenizer.decode(chat.prompt("Be brief.", "Where?"))


def test_a_template_that_iterates_tools_unguarded_is_taken() -> None:
    eager = shaped("json").replace(
        "{%- if tools -%}{{- '. Tools: ' + (tools | tojson) -}}{%- endif -%}",
        "{%- for tool in tools -%}{{- tool.function.name + tool.function.description -}}{%- endfor -%}",
    )
    assert eager != shaped("json")
    assert Native(speaking(eager), [SEARCH]).tools == (SEARCH,)


def test_texts_that_the_template_trims_are_trimmed() -> None:
    trimming = shaped("json").replace("message.content", "(message.content | trim)")
    chat = Native(speaking(trimming), [SEARCH])
    messages = [{"role": "system", "content": " You search.\n"}, {"role": "user", "content": "\nWhich river? "}]
    assert chat.prompt(" You search.\n", "\nWhich river? ").tolist() == rendered(chat, messages)


def test_a_day_that_the_template_asks_for_is_always_the_same() -> None:
    dated = shaped("json").replace("'<|system|>' +", "'<|system|>' + strftime_now('%d %B %Y') + '. ' +")
    assert "01 January 2025. You" in Native(speaking(dated), [SEARCH]).tokenizer.decode(
        Native(speaking(dated), [SEARCH]).prompt("You search.", "Where?")
    )


def test_calls_that_a_prompt_tells_of_and_a_template_never_writes_are_assumed() -> None:
    told = shaped("json").replace("'. Tools: ' +", "'. Write <tool_call>{name, arguments}</tool_call>. Tools: ' +")
    silent = told.replace("{%- if message.tool_calls -%}", "{%- if false -%}")
    chat = choose("auto", speaking(silent), [NOTE, SEARCH], [])
    assert chat.kind == "native"
    assert "describes" in chat.why
    turn = chat.parse(chat.written('<tool_call>\n{"name": "search", "arguments": {"query": "Bor"}}\n</tool_call>'))
    assert turn.call == searching("Bor")
    deaf = shaped("json").replace("{%- if message.tool_calls -%}", "{%- if false -%}")
    assert choose("auto", speaking(deaf), [SEARCH], []).kind == "chat"
