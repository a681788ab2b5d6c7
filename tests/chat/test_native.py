"""Native chat: what stands in a trajectory, how each family's calls read, and what foreign text can never become."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from toys.models import toy_tokenizer
from toys.templates import COMPACT, FORGETFUL, LLAMA3, NAMING, QWEN2, QWEN3, QWEN3_THINKING
from toys.tools import CALCULATOR, NOTE, NOW, SEARCH, TOOLS
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

import piplay
from piplay.chat.base import Chat
from piplay.chat.native import Native
from piplay.errors import InputError
from piplay.tiny_base.tokenizer import TEMPLATE
from piplay.types import ToolCall, ToolSpec, Turn

pytestmark = pytest.mark.slow

TOKENIZERS: dict[str, PreTrainedTokenizerBase] = {
    "tiny": AutoTokenizer.from_pretrained(Path(piplay.__file__).parent / "tiny_base" / "model", local_files_only=True),
    "qwen3": toy_tokenizer("qwen3"),
    "qwen3 thinking": toy_tokenizer("qwen3", QWEN3_THINKING),
    "qwen2": toy_tokenizer("qwen2"),
    "naming": toy_tokenizer("qwen2", NAMING),
    "compact": toy_tokenizer("qwen2", COMPACT),
    "llama": toy_tokenizer("llama"),
}
CHATS = {name: Native(tokenizer, [SEARCH]) for name, tokenizer in TOKENIZERS.items()}
EQUIPPED = {name: Native(tokenizer, TOOLS) for name, tokenizer in TOKENIZERS.items()}
"""The same with every tool."""
BARE = {name: Native(tokenizer) for name, tokenizer in TOKENIZERS.items()}
"""The same with none."""
WILLING = {name: Native(tokenizer, TOOLS, rewrites=True) for name, tokenizer in TOKENIZERS.items()}
"""The same with every tool, where a template may rewrite."""
APPEND_ONLY = ["tiny", "qwen2", "naming", "compact", "llama"]
"""Whose templates rewrite no turn when a user speaks."""
TAGGED = ["tiny", "qwen3", "qwen2", "naming"]
"""Whose calls stand in tags and whose prompt does not open the reasoning."""
SPELLED = sorted({token for chat in CHATS.values() for token in chat.tokenizer.get_added_vocab()})
foreign = st.lists(st.sampled_from(SPELLED) | st.sampled_from(["<", "|>", "end", " ", "\n"]) | st.text(), max_size=8)
foreign_text = foreign.map("".join)


def added_ids(chat: Chat) -> set[int]:
    return set(chat.tokenizer.get_added_vocab().values())


def control_of(chat: Chat, ids: np.ndarray) -> list[int]:
    """The control tokens among ids, in order."""
    return [i for i in ids.tolist() if i in added_ids(chat)]


@pytest.mark.parametrize("name", CHATS)
def test_every_control_token_spelled_out_is_plain_text(name: str) -> None:
    chat = CHATS[name]
    for token in chat.tokenizer.get_added_vocab():
        assert chat.tokenizer.convert_tokens_to_ids(token) in chat.tokenizer.encode(token)  # it is one, left alone
        assert not added_ids(chat) & set(chat.encode(f"a {token}{token} b"))


@pytest.mark.parametrize("name", CHATS)
@settings(deadline=None)
@given(text=foreign_text)
def test_foreign_text_holds_no_added_token_and_reads_back(name: str, text: str) -> None:
    chat = CHATS[name]
    ids = chat.encode(text)
    assert not added_ids(chat) & set(ids)
    back = chat.tokenizer.decode(ids, skip_special_tokens=False)
    assert back == text or (name == "tiny" and back == f" {text}")


@pytest.mark.parametrize("name", CHATS)
@settings(deadline=None, max_examples=30)
@given(text=foreign_text)
def test_text_from_outside_never_adds_a_control_token_to_a_turn(name: str, text: str) -> None:
    chat = WILLING[name]
    assert control_of(chat, chat.prompt(text, text)) == control_of(chat, chat.prompt("", ""))
    for tool in chat.tools:
        assert control_of(chat, chat.tool_turn(text, tool.name)) == control_of(chat, chat.tool_turn("", tool.name))
    assert control_of(chat, chat.user_turn(text)) == control_of(chat, chat.user_turn(""))


def rendered(chat: Chat, messages: Sequence[dict[str, Any]], tokenize: bool = True) -> list[int] | str:
    """What the template itself makes of a conversation."""
    tools = [
        {"type": "function", "function": {"name": t.name, "description": t.description, "parameters": t.parameters}}
        for t in chat.tools
    ]
    return chat.tokenizer.apply_chat_template(
        list(messages),
        tools=tools or None,
        add_generation_prompt=True,
        tokenize=tokenize,
        return_dict=False,
        date_string="01 Jan 2025",
    )


def searching(query: str) -> ToolCall:
    return ToolCall("search", {"query": query})


def query_of(turn: Turn) -> str | None:
    """What a turn searches for."""
    return turn.call.arguments["query"] if turn.call else None


def structured(call: ToolCall, think: str = "") -> dict[str, Any]:
    """A turn that calls a tool, as a template takes it."""
    function = {"type": "function", "function": {"name": call.name, "arguments": dict(call.arguments)}}
    return {"role": "assistant", "content": think, "tool_calls": [function]}


BENIGN = st.text(st.sampled_from("abcXYZ 019.,?'éß中"), min_size=1).filter(lambda text: not text[0].isspace())


@settings(deadline=None, max_examples=50)
@given(system=BENIGN, user=BENIGN, query=BENIGN, found=BENIGN, answer=BENIGN)
def test_a_tiny_conversation_is_what_its_template_renders(
    system: str, user: str, query: str, found: str, answer: str
) -> None:
    chat = CHATS["tiny"]
    turns = [chat.phrase(answer, call=searching(query)), chat.phrase(call=searching(found)), chat.phrase(found, answer)]
    messages: list[dict[str, Any]] = [{"role": "system", "content": system}, {"role": "user", "content": user}]
    ids = chat.prompt(system, user).tolist()
    assert ids == rendered(chat, messages)
    for text in turns:
        ids += [*chat.written(text), *chat.tool_turn(found, "search").tolist()]
        messages += [{"role": "assistant", "content": text}, {"role": "tool", "content": found}]
        assert ids == rendered(chat, messages)


def test_the_tiny_template_renders_a_structured_call_as_the_model_writes_it() -> None:
    chat = CHATS["tiny"]
    start: list[dict[str, Any]] = [{"role": "user", "content": "Where?"}]
    as_text = {"role": "assistant", "content": chat.phrase("Bor first", call=searching("Bor"))}
    called = structured(searching("Bor"), "<think>Bor first</think>")
    assert rendered(chat, [*start, called]) == rendered(chat, [*start, as_text])


THOUGHT = "<think>\nfirst\n</think>\n\n"
JSON = '{"name": "search", "%s": {"query": "the \\"old\\" Bor"}}'
CALL = f"<tool_call>\n{JSON % 'arguments'}\n</tool_call>"
FAMILIES = {
    "qwen3": (THOUGHT, THOUGHT + CALL),
    "qwen3 thinking": (THOUGHT, THOUGHT.removeprefix("<think>\n") + CALL),
    "qwen2": ("first", f"first\n{CALL}"),
    "llama": ("", JSON % "parameters"),
}
"""What a searching turn holds beside its call, and what the model writes for all of it."""
QUOTED = st.text(st.sampled_from('aZ 0."\\\n\té中<|'), min_size=1).filter(lambda text: text.strip() == text)


@pytest.mark.parametrize("name", FAMILIES)
@settings(deadline=None, max_examples=30)
@given(found=QUOTED, system=QUOTED, user=QUOTED)
def test_a_conversation_reads_as_the_familys_template_renders_it(name: str, found: str, system: str, user: str) -> None:
    chat, (think, text) = CHATS[name], FAMILIES[name]
    ids = chat.prompt(system, user).tolist()
    messages: list[dict[str, Any]] = [{"role": "system", "content": system}, {"role": "user", "content": user}]
    for _ in range(3):
        ids += [*chat.written(text), *chat.tool_turn(found, "search")]
        messages += [structured(searching('the "old" Bor'), think), {"role": "tool", "content": found}]
        assert chat.tokenizer.decode(ids, skip_special_tokens=False) == rendered(chat, messages, tokenize=False)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_familys_call_is_read(name: str) -> None:
    chat, (think, text) = CHATS[name], FAMILIES[name]
    said = chat.parse(chat.written(text))
    assert (query_of(said), said.malformed) == ('the "old" Bor', False)
    assert said.think == ("first" if "</think>" in think else "")
    assert said.content == ("first" if name == "qwen2" else "")


@pytest.mark.parametrize("name", CHATS)
@settings(deadline=None, max_examples=50)
@given(think=st.text(st.sampled_from('ab "{}é\n')), said=st.text(st.sampled_from('ab "\\{}é'), min_size=1))
def test_a_phrase_is_read_as_what_it_says(name: str, think: str, said: str) -> None:
    assume(name != "tiny" or '"}}' not in think + said)  # a token of the tiny base, which puts a space behind it
    chat, said = CHATS[name], f"x{said}".strip()
    for call, content in ((searching(said), ""), (None, said)):
        turn = chat.parse(chat.written(chat.phrase(think, content, call)))
        assert (turn.think, turn.content, turn.call, turn.malformed) == (think.strip(), content, call, False)


@pytest.mark.parametrize("name", CHATS)
def test_a_turn_ends_with_the_end_token(name: str) -> None:
    chat = CHATS[name]
    assert chat.written("Bor")[-1] == chat.stop.ids[0]
    assert chat.stop.texts == ()


def test_the_templates_end_the_tokenizers_and_the_models_all_end_a_turn() -> None:
    base = toy_tokenizer("qwen3")
    base.eos_token = "<|endoftext|>"  # as base models of the family have it
    end, text = base.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    for tools in ([], [SEARCH], TOOLS):
        assert Native(base, tools).stop.ids == (end, text)
        assert Native(base, tools, [text, 7]).stop.ids == (end, text, 7)
    base.eos_token = None
    assert Native(base, [SEARCH]).stop.ids == (end,)


def test_a_prompt_does_not_depend_on_the_day() -> None:
    assert "strftime_now" in LLAMA3
    chat = CHATS["llama"]
    text = chat.tokenizer.decode(chat.prompt("", ""))
    assert "Today Date: 01 Jan 2025" in text
    assert datetime.now(UTC).strftime("%d %b %Y") not in text


@pytest.fixture(params=list(CHATS))
def parse(request: pytest.FixtureRequest) -> Callable[..., object]:
    chat = CHATS[request.param]
    return lambda *said, **rest: chat.parse(chat.written(chat.phrase(*said, **rest)))


@pytest.fixture(params=TAGGED)
def parse_text(request: pytest.FixtureRequest) -> Callable[[str], object]:
    chat = CHATS[request.param]
    return lambda text: chat.parse(chat.written(text))


def search(query: str) -> str:
    return f'<tool_call>{{"name": "search", "arguments": {{"query": "{query}"}}}}</tool_call>'


def test_a_well_formed_call(parse) -> None:
    said = parse("the river", call=searching("the river of Bor"))
    assert (said.think, said.content, query_of(said), said.malformed) == ("the river", "", "the river of Bor", False)


def test_an_answer_without_reasoning(parse) -> None:
    said = parse(content="Tamsin")
    assert (said.think, said.content, query_of(said), said.malformed) == ("", "Tamsin", None, False)


def test_the_end_token_is_no_part_of_what_is_said(parse_text) -> None:
    assert parse_text("<think>so</think>Tamsin").text.replace(" ", "") == "<think>so</think>Tamsin"


def test_a_turn_cut_short_says_what_it_said() -> None:
    chat = CHATS["qwen3"]
    assert chat.parse(chat.written("Bor is")[:-1]).content == "Bor is"
    assert chat.parse([]).text == ""


CALLS = [
    '{"name": "search", "arguments": {"query": "Bor"}',
    '{"name": "search", "arguments": {"query": Bor}}',
    '{"name": "find", "arguments": {"query": "Bor"}}',
    '{"name": "search", "arguments": {"q": "Bor"}}',
    '{"name": "search", "arguments": "Bor"}',
    '{"name": "search", "arguments": {"query": 7}}',
    '{"name": "search", "arguments": {"query": ["Bor", "Oum"]}}',
    '{"name": "search", "arguments": {"query": null}}',
    '{"name": "search", "arguments": {"query": "  "}}',
    '{"name": "search", "arguments": {"query": "Bor \\ud83d"}}',
    '{"name": "search", "arguments": ' + '{"query": ' * 5000,
]


@pytest.mark.parametrize(
    "call",
    [
        *CALLS,
        '{"name": "search", "arguments": {"query": "Bor"}} and more',
        '["search", "Bor"]',
        '"search"',
        "null",
        "",
    ],
)
def test_a_call_that_cannot_be_read_is_malformed(parse_text, call: str) -> None:
    said = parse_text(f"<tool_call>{call}</tool_call>")
    assert (query_of(said), said.malformed) == (None, True)


def test_a_call_that_is_not_closed_is_malformed(parse_text) -> None:
    said = parse_text('<tool_call>{"name": "search", "arguments": {"query": "Bor"}}')
    assert (query_of(said), said.malformed) == (None, True)


def test_of_several_calls_the_first_counts(parse_text) -> None:
    said = parse_text(search("Bor") + search("Tamsin"))
    assert (query_of(said), said.content, said.malformed) == ("Bor", "", False)


def test_a_call_and_the_beginning_of_another_is_malformed(parse_text) -> None:
    said = parse_text(search("Bor") + "<tool_call>")
    assert (query_of(said), said.malformed) == (None, True)


def test_a_call_within_the_reasoning_is_none(parse_text) -> None:
    said = parse_text(f"<think>{search('Bor')}</think>Tamsin")
    assert (said.content, query_of(said), said.malformed) == ("Tamsin", None, False)


# Bare JSON, as Llama writes it


def llama(text: str) -> object:
    return CHATS["llama"].parse(CHATS["llama"].written(text))


@pytest.mark.parametrize(
    "text",
    [
        "<|python_tag|>" + search("Bor")[11:-12].replace("arguments", "parameters"),
        '\n{ "parameters" : {"query": "Bor"} , "name": "search" }',
        '<think>{"a": 1}</think>{"name": "search", "parameters": {"query": "Bor"}}',
        '{"name": "search", "parameters": {"query": "Bor"}}; {"name": "search", "parameters": {"query": "Oum"}}',
    ],
)
def test_bare_json_is_a_call_however_it_is_spaced(text: str) -> None:
    said = llama(text)
    assert (query_of(said), said.content, said.malformed) == ("Bor", "", False)


@pytest.mark.parametrize("call", [*(c.replace("arguments", "parameters") for c in CALLS), "{", "{}", '{"name": "Bor"}'])
def test_a_turn_that_begins_like_json_and_is_no_call_is_malformed(call: str) -> None:
    said = llama(call)
    assert (query_of(said), said.malformed) == (None, True)


def test_json_within_an_answer_is_an_answer() -> None:
    said = llama('Bor {"name": "search", "parameters": {"query": "Bor"}}')
    assert said.content.startswith("Bor {")
    assert (query_of(said), said.malformed) == (None, False)


# Several tools


@pytest.mark.parametrize("name", EQUIPPED)
def test_a_prompt_shows_every_tool_as_the_template_does(name: str) -> None:
    for chat in (EQUIPPED[name], BARE[name], Native(TOKENIZERS[name], [NOW, NOTE])):
        messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where is Bor?"}]
        text = chat.tokenizer.decode(chat.prompt("Be brief.", "Where is Bor?"))
        assert text.replace(" ", "") == str(rendered(chat, messages, tokenize=False)).replace(" ", "")
        assert [tool.name in text for tool in TOOLS] == [tool in chat.tools for tool in TOOLS]


NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
TAGS = [f"<{slash}{name}>" for name in ("think", "tool_call", "search") for slash in ("", "/")]
QUOTES = ['"', "\\", "'", "{", "}", "[", "]", "\n", "\t", '"}}', "\\u003c", "é", "中", "😀", "\u2028", "⟦ARGUMENTS⟧"]
AWKWARD = st.sampled_from([*SPELLED, *TAGS, *QUOTES])
awkward_text = st.lists(AWKWARD | st.text(max_size=4), max_size=7).map("".join)
said_text = awkward_text.map(str.strip).filter(bool)
"""A text as an argument has it: stripped and not blank."""
calls = st.one_of(
    st.builds(searching, said_text),
    st.builds(lambda a, b: ToolCall("calculator", {"a": a, "b": b}), NUMBERS, NUMBERS),
    st.just(ToolCall("now", {})),
    st.builds(
        lambda title, body, labels: ToolCall("note", {"title": title, "body": body.strip(), "labels": labels}),
        said_text,
        awkward_text,
        st.lists(awkward_text.map(lambda text: text[:99]), max_size=3),
    ),
    st.builds(lambda key, text: ToolCall("now", {key: text.strip()}), awkward_text, awkward_text),
)


@pytest.mark.parametrize("name", EQUIPPED)
@settings(deadline=None, max_examples=80)
@given(call=calls, think=st.text(st.sampled_from("ab é\n")))
def test_a_call_is_read_as_it_was_phrased_whatever_it_says(name: str, call: ToolCall, think: str) -> None:
    chat = EQUIPPED[name]
    ids = chat.written(chat.phrase(think, call=call))
    turn = chat.parse(ids)
    assert (turn.call, turn.think, turn.content, turn.malformed) == (call, think.strip(), "", False)
    assert [i in chat.stop.ids for i in ids].index(True) == len(ids) - 1  # no sampler would have stopped earlier


@pytest.mark.parametrize("name", EQUIPPED)
@pytest.mark.parametrize(
    "call",
    [
        searching('the "old" Bor'),
        ToolCall("calculator", {"a": 1, "b": -2.5}),
        ToolCall("now", {}),
        ToolCall("note", {"title": "é", "labels": ["x", "y"]}),
    ],
    ids=lambda call: call.name,
)
def test_a_call_is_phrased_as_the_template_renders_it(name: str, call: ToolCall) -> None:
    chat = EQUIPPED[name]
    conversation = rendered(chat, [{"role": "user", "content": "Where?"}, structured(call)], tokenize=False)
    assert str(conversation).count(chat.phrase(call=call).removeprefix("</think>")) == 1


def test_the_tiny_bases_call_is_written_out() -> None:
    said = '<tool_call>{"name": "search", "arguments": {"query": "the river of Bor"}}</tool_call>'
    assert CHATS["tiny"].phrase(call=searching("the river of Bor")) == said


@pytest.mark.parametrize("name", EQUIPPED)
def test_a_result_reads_as_the_template_shows_that_tools(name: str) -> None:
    chat = EQUIPPED[name]
    messages: list[dict[str, Any]] = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    ids = chat.prompt("s", "u").tolist()
    for tool in (NOW, SEARCH, CALCULATOR, NOW):
        text = chat.phrase("so", f"x{tool.name}")
        ids += [*chat.written(text), *chat.tool_turn("12:05", tool.name)]
        content = {"qwen3": f"<think>\nso\n</think>\n\nx{tool.name}"}.get(name.split()[0], text)
        messages += [{"role": "assistant", "content": content}]
        messages += [{"role": "tool", "content": "12:05", "name": tool.name}]
    shown, expected = chat.tokenizer.decode(ids), str(rendered(chat, messages, tokenize=False))
    assert "".join(shown.split()) == "".join(expected.split())
    assert (chat.tool_turn("x", "now").tolist() == chat.tool_turn("x", "search").tolist()) == (name != "naming")


@pytest.mark.parametrize("name", BARE)
def test_a_chat_without_tools_calls_none(name: str) -> None:
    chat, call = BARE[name], '{"name": "search", "arguments": {"query": "Bor"}}'
    for said in (f"<tool_call>{call}</tool_call>", call, "{"):
        turn = chat.parse(chat.written(chat.phrase("so", said)))
        assert (turn.call, turn.malformed, turn.content.replace(" ", "")) == (None, False, said.replace(" ", ""))
    with pytest.raises(ValueError, match="without tools"):
        chat.phrase(call=searching("Bor"))


def test_a_chat_without_tools_needs_no_template_that_takes_them() -> None:
    deaf = QWEN3.replace("if tools -%}", "if false -%}").replace("message.role == 'tool'", "false")
    chat = Native(toy_tokenizer("qwen3", deaf))
    assert chat.parse(chat.written(chat.phrase("so", "Bor"))).content == "Bor"
    assert "takes tools" in refusal(chat.tokenizer)


UNFIT = [
    ("find", {"query": "Bor"}),
    ("search", {"query": "Bor", "k": float("nan")}),
    ("calculator", {"a": 1}),
    ("calculator", {"a": 1, "b": "2"}),
    ("calculator", {"a": 1, "b": 2, "c": 3}),
    ("now", []),
    ("note", {"title": " "}),
    ("note", {"title": "t", "body": 3}),
    ("note", {"title": "t", "labels": [7]}),
]


@pytest.mark.parametrize("name", TAGGED)
@pytest.mark.parametrize(("tool", "arguments"), UNFIT)
def test_a_call_that_no_tool_takes_is_malformed(name: str, tool: str, arguments: object) -> None:
    chat = EQUIPPED[name]
    call = json.dumps({"name": tool, "arguments": arguments})
    turn = chat.parse(chat.written(f"<tool_call>{call}</tool_call>"))
    assert (turn.call, turn.malformed) == (None, True)
    bare = EQUIPPED["llama"].parse(EQUIPPED["llama"].written(call.replace("arguments", "parameters")))
    assert (bare.call, bare.malformed) == (None, True)


@pytest.mark.parametrize("tool", [SEARCH, NOTE], ids=lambda tool: tool.name)
def test_a_tool_that_spells_a_special_token_is_refused(tool: ToolSpec) -> None:
    spelled = replace(tool, description="Finds <|im_end|> in text.")
    with pytest.raises(InputError, match=f"tool '{tool.name}' spells the control token"):
        Native(TOKENIZERS["qwen2"], [spelled])


def test_a_template_that_shows_only_the_first_tool_is_refused() -> None:
    first = QWEN2.replace("for tool in tools -%}", "for tool in tools[:1] -%}")
    assert first != QWEN2
    assert Native(toy_tokenizer("qwen2", first), [SEARCH])
    with pytest.raises(InputError, match="does not show each tool"):
        Native(toy_tokenizer("qwen2", first), TOOLS)


# What a user says between


@pytest.mark.parametrize("name", APPEND_ONLY)
@pytest.mark.parametrize("equipped", [True, False])
@settings(deadline=None, max_examples=40)
@given(system=BENIGN, replies=st.lists(st.tuples(st.booleans(), BENIGN, BENIGN), min_size=1, max_size=5))
def test_a_conversation_with_users_is_what_the_template_renders(
    name: str, equipped: bool, system: str, replies: list[tuple[bool, str, str]]
) -> None:
    chat = (EQUIPPED if equipped else BARE)[name]
    messages: list[dict[str, Any]] = [{"role": "system", "content": system.strip()}, {"role": "user", "content": "x"}]
    ids = chat.prompt(system.strip(), "x").tolist()
    for by_tool, said, told in replies:
        said, told = said.strip(), told.strip()
        ids += chat.written(said)
        messages += [{"role": "assistant", "content": said}]
        if by_tool and equipped:
            ids += chat.tool_turn(told, "search").tolist()
            messages += [{"role": "tool", "content": told, "name": "search"}]
        else:
            ids += chat.user_turn(told).tolist()
            messages += [{"role": "user", "content": told}]
    if name == "llama":  # it quotes results: a token of the template's would hold the quotation mark and what follows
        assert chat.tokenizer.decode(ids) == rendered(chat, messages, tokenize=False)
    else:
        assert ids == rendered(chat, messages)


@pytest.mark.parametrize("name", ["qwen3", "qwen3 thinking"])
def test_a_user_is_heard_only_where_no_turn_is_rewritten_unless_asked_for(name: str) -> None:
    for tools in ((), TOOLS):
        strict, asked = (Native(TOKENIZERS[name], tools, rewrites=rewrites) for rewrites in (False, True))
        with pytest.raises(InputError, match=r"not append-only .* a user's is added.* --chat native") as caught:
            strict.user_turn("Go on.")
        assert "\n" not in str(caught.value)
        assert strict.prompt("a", "b").tolist() == asked.prompt("a", "b").tolist()
        start = {"qwen3": "", "qwen3 thinking": "<think>\n"}[name]
        turn = f"<|im_end|>\n<|im_start|>user\nGo on.<|im_end|>\n<|im_start|>assistant\n{start}"
        assert asked.tokenizer.decode([*asked.written("")[-1:], *asked.user_turn("Go on.")]) == turn


def test_a_user_turn_behind_another_end_than_a_tools_is_refused() -> None:
    other = QWEN2.replace(
        "        {{- '<|im_end|>\\n' -}}\n    {%- elif message.role == 'tool'",
        "        {{- ('<|im_end|>' if loop.last or messages[loop.index0 + 1].role == 'tool' else '<tool_call>') -}}"
        "{{- '\\n' -}}\n    {%- elif message.role == 'tool'",
    )
    assert other != QWEN2
    with pytest.raises(InputError, match="<tool_call>, which ends no turn"):
        Native(toy_tokenizer("qwen2", other), [SEARCH], rewrites=True).user_turn("Go on.")


# Templates that cannot be used


def refusal(tokenizer: object) -> str:
    with pytest.raises(InputError) as caught:
        Native(tokenizer, [SEARCH])
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert "--chat tags" in sentence
    return sentence


def test_a_template_that_drops_earlier_reasoning_is_refused_unless_asked_for() -> None:
    tokenizer = toy_tokenizer("qwen3", FORGETFUL)
    assert "not append-only" in refusal(tokenizer)
    asked, kept = Native(tokenizer, [SEARCH], rewrites=True), CHATS["qwen3"]
    assert asked.prompt("a", "b").tolist() == kept.prompt("a", "b").tolist()
    assert asked.tool_turn("c", "search").tolist() == kept.tool_turn("c", "search").tolist()
    assert asked.parse(asked.written(FAMILIES["qwen3"][1])) == kept.parse(kept.written(FAMILIES["qwen3"][1]))


def test_a_template_that_raises_at_the_tool_role_is_refused() -> None:
    strict = QWEN2.replace(
        "{%- elif message.role == 'tool' -%}", "{%- elif not loop.first -%}{{ raise_exception('no ' + message.role) }}"
    )
    assert strict != QWEN2
    assert "no tool" in refusal(toy_tokenizer("qwen2", strict))


@pytest.mark.parametrize("lost", ["message.role == 'tool'", "tools"])
def test_a_template_that_leaves_out_what_it_is_given_is_refused(lost: str) -> None:
    deaf = QWEN3.replace(f"if {lost} -%}}", "if false -%}")
    assert deaf != QWEN3
    assert refusal(toy_tokenizer("qwen3", deaf))


def test_a_missing_template_is_refused() -> None:
    assert "no chat template" in refusal(toy_tokenizer("base"))


def test_a_template_that_closes_no_turn_with_a_control_token_is_refused() -> None:
    assert "control token" in refusal(toy_tokenizer("qwen2", QWEN2.replace("<|im_end|>", "END")))


def test_a_unigram_vocabulary_gives_no_added_token_either() -> None:
    pieces = [("<unk>", 0.0), ("<|end|>", -1.0), *((character, -5.0) for character in "<|end> abc")]
    backend = Tokenizer(models.Unigram(pieces, unk_id=0))
    backend.add_special_tokens(["<|end|>"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|end|>", unk_token="<unk>")
    tokenizer.chat_template = TEMPLATE
    chat = Native(tokenizer, [SEARCH])
    assert tokenizer.encode("a<|end|>b", add_special_tokens=False).count(1) == 1
    assert 1 not in chat.encode("a<|end|>b")
    assert len(chat.encode("a<|end|>b")) == len("a<|end|>b")
