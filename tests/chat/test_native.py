"""Native chat: what stands in a trajectory, how each family's calls read, and what foreign text can never become."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from toys.models import toy_tokenizer
from toys.templates import FORGETFUL, LLAMA3, QWEN2, QWEN3, QWEN3_THINKING
from transformers import PreTrainedTokenizerFast

from piplay.chat.base import Chat, show
from piplay.chat.native import SEARCH_TOOL, Native
from piplay.errors import InputError
from piplay.methods.pi_play.game import STUDENT, examiner_view, student_view, teacher_view
from piplay.tiny_base.tokenizer import TEMPLATE
from piplay.training.assemble import load_chat, tiny_base
from piplay.types import Passage, Step

CHATS = {
    "tiny": load_chat(tiny_base()),
    "qwen3": Native(toy_tokenizer("qwen3")),
    "qwen3 thinking": Native(toy_tokenizer("qwen3", QWEN3_THINKING)),
    "qwen2": Native(toy_tokenizer("qwen2")),
    "llama": Native(toy_tokenizer("llama")),
}
TAGGED = ["tiny", "qwen3", "qwen2"]
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
def test_what_a_corpus_spells_never_adds_a_control_token_to_any_view(name: str, text: str) -> None:
    chat = CHATS[name]
    passage, path = Passage(text, text, text), (Step(text, text, text),)
    quiet = control_of(chat, chat.prompt("", ""))
    for view in (student_view(text), teacher_view(text, path), examiner_view(passage, 2)):
        assert control_of(chat, chat.prompt(STUDENT, view)) == quiet
    assert control_of(chat, chat.tool_turn(show([passage, passage]))) == control_of(chat, chat.tool_turn(""))


def rendered(chat: Chat, messages: list[dict[str, object]], tokenize: bool = True) -> list[int] | str:
    return chat.tokenizer.apply_chat_template(
        messages,
        tools=[SEARCH_TOOL],
        add_generation_prompt=True,
        tokenize=tokenize,
        return_dict=False,
        date_string="01 Jan 2025",
    )


def structured(query: str, think: str) -> dict[str, object]:
    """A turn that searches, as a template takes it."""
    call = {"type": "function", "function": {"name": "search", "arguments": {"query": query}}}
    return {"role": "assistant", "content": think, "tool_calls": [call]}


BENIGN = st.text(st.sampled_from("abcXYZ 019.,?'éß中"), min_size=1).filter(lambda text: not text[0].isspace())


@settings(deadline=None, max_examples=50)
@given(system=BENIGN, user=BENIGN, query=BENIGN, found=BENIGN, answer=BENIGN)
def test_a_tiny_conversation_is_what_its_template_renders(
    system: str, user: str, query: str, found: str, answer: str
) -> None:
    chat = CHATS["tiny"]
    turns = [chat.phrase(answer, query=query), chat.phrase(query=found), chat.phrase(found, answer)]
    messages: list[dict[str, object]] = [{"role": "system", "content": system}, {"role": "user", "content": user}]
    ids = chat.prompt(system, user).tolist()
    assert ids == rendered(chat, messages)
    for text in turns:
        ids += [*chat.written(text), *chat.tool_turn(found).tolist()]
        messages += [{"role": "assistant", "content": text}, {"role": "tool", "content": found}]
        assert ids == rendered(chat, messages)


def test_the_tiny_template_renders_a_structured_call_as_the_model_writes_it() -> None:
    chat = CHATS["tiny"]
    start: list[dict[str, object]] = [{"role": "user", "content": "Where?"}]
    as_text = {"role": "assistant", "content": chat.phrase("Bor first", query="Bor")}
    assert rendered(chat, [*start, structured("Bor", "<think>Bor first</think>")]) == rendered(chat, [*start, as_text])


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
    messages: list[dict[str, object]] = [{"role": "system", "content": system}, {"role": "user", "content": user}]
    for _ in range(3):
        ids += [*chat.written(text), *chat.tool_turn(found)]
        messages += [structured('the "old" Bor', think), {"role": "tool", "content": found}]
        assert chat.tokenizer.decode(ids, skip_special_tokens=False) == rendered(chat, messages, tokenize=False)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_familys_call_is_read(name: str) -> None:
    chat, (think, text) = CHATS[name], FAMILIES[name]
    said = chat.parse(chat.written(text))
    assert (said.query, said.malformed) == ('the "old" Bor', False)
    assert said.think == ("first" if "</think>" in think else "")
    assert said.content == ("first" if name == "qwen2" else "")


@pytest.mark.parametrize("name", CHATS)
@settings(deadline=None, max_examples=50)
@given(think=st.text(st.sampled_from('ab "{}é\n')), said=st.text(st.sampled_from('ab "\\{}é'), min_size=1))
def test_a_phrase_is_read_as_what_it_says(name: str, think: str, said: str) -> None:
    assume(name != "tiny" or '"}}' not in think + said)  # a token of the tiny base, which puts a space behind it
    chat, said = CHATS[name], f"x{said}".strip()
    for query, content in ((said, ""), (None, said)):
        turn = chat.parse(chat.written(chat.phrase(think, content, query)))
        assert (turn.think, turn.content, turn.query, turn.malformed) == (think.strip(), content, query, False)


@pytest.mark.parametrize("name", CHATS)
def test_a_turn_ends_with_the_end_token(name: str) -> None:
    chat = CHATS[name]
    assert chat.written("Bor")[-1] == chat.end_ids[0]
    assert chat.closes is None


def test_the_templates_end_the_tokenizers_and_the_models_all_end_a_turn() -> None:
    base = toy_tokenizer("qwen3")
    base.eos_token = "<|endoftext|>"  # as base models of the family have it
    end, text = base.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    assert Native(base).end_ids == (end, text)
    assert Native(base, [text, 7]).end_ids == (end, text, 7)
    base.eos_token = None
    assert Native(base).end_ids == (end,)


def test_a_model_folder_names_its_end_tokens(toy: Callable[[str], Path]) -> None:
    chat = load_chat(toy("llama"))
    assert set(chat.tokenizer.convert_ids_to_tokens(chat.end_ids)) == {"<|eot_id|>", "<|eom_id|>", "<|end_of_text|>"}
    call = chat.tokenizer.encode(JSON % "parameters" + "<|eom_id|>", add_special_tokens=False)
    assert (chat.parse(call).query, chat.parse(call).text[-1]) == ('the "old" Bor', "}")


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
    said = parse("the river", query="the river of Bor")
    assert (said.think, said.content, said.query, said.malformed) == ("the river", "", "the river of Bor", False)


def test_an_answer_without_reasoning(parse) -> None:
    said = parse(content="Tamsin")
    assert (said.think, said.content, said.query, said.malformed) == ("", "Tamsin", None, False)


def test_the_end_token_is_no_part_of_what_is_said(parse_text) -> None:
    assert parse_text("<think>so</think>Tamsin").text.replace(" ", "") == "<think>so</think>Tamsin"


def test_a_turn_cut_short_says_what_it_said() -> None:
    chat = CHATS["qwen3"]
    assert chat.parse(chat.written("<think>so")[:-1]).content == "<think>so"
    assert chat.parse([]).text == ""


CALLS = [
    '{"name": "search", "arguments": {"query": "Bor"}',
    '{"name": "search", "arguments": {"query": Bor}}',
    '{"name": "find", "arguments": {"query": "Bor"}}',
    '{"name": "search", "arguments": {"q": "Bor"}}',
    '{"name": "search", "arguments": "Bor"}',
    '{"name": "search", "arguments": {"query": 7}}',
    '{"name": "search", "arguments": {"query": ["Bor"]}}',
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
        '{"name": "search", "parameters": {"query": "Bor"}}',
        '["search", "Bor"]',
        '"search"',
        "null",
        "",
    ],
)
def test_a_call_that_cannot_be_read_is_malformed(parse_text, call: str) -> None:
    said = parse_text(f"<tool_call>{call}</tool_call>")
    assert (said.query, said.malformed) == (None, True)


def test_a_call_that_is_not_closed_is_malformed(parse_text) -> None:
    said = parse_text('<tool_call>{"name": "search", "arguments": {"query": "Bor"}}')
    assert (said.query, said.malformed) == (None, True)


def test_of_several_calls_the_first_counts(parse_text) -> None:
    said = parse_text(search("Bor") + search("Tamsin"))
    assert (said.query, said.content, said.malformed) == ("Bor", "", False)


def test_a_call_and_the_beginning_of_another_is_malformed(parse_text) -> None:
    said = parse_text(search("Bor") + "<tool_call>")
    assert (said.query, said.malformed) == (None, True)


def test_a_call_within_the_reasoning_is_none(parse_text) -> None:
    said = parse_text(f"<think>{search('Bor')}</think>Tamsin")
    assert (said.content, said.query, said.malformed) == ("Tamsin", None, False)


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
    assert (said.query, said.content, said.malformed) == ("Bor", "", False)


@pytest.mark.parametrize("call", [*(c.replace("arguments", "parameters") for c in CALLS), "{", "{}", '{"name": "Bor"}'])
def test_a_turn_that_begins_like_json_and_is_no_call_is_malformed(call: str) -> None:
    said = llama(call)
    assert (said.query, said.malformed) == (None, True)


def test_json_within_an_answer_is_an_answer() -> None:
    said = llama('Bor {"name": "search", "parameters": {"query": "Bor"}}')
    assert said.content.startswith("Bor {")
    assert (said.query, said.malformed) == (None, False)


# Templates that cannot be used


def refusal(tokenizer: object) -> str:
    with pytest.raises(InputError) as caught:
        Native(tokenizer)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert "--chat tags" in sentence
    return sentence


def test_a_template_that_drops_earlier_reasoning_is_refused_unless_asked_for() -> None:
    tokenizer = toy_tokenizer("qwen3", FORGETFUL)
    assert "not append-only" in refusal(tokenizer)
    asked, kept = Native(tokenizer, rewrites=True), CHATS["qwen3"]
    assert asked.prompt("a", "b").tolist() == kept.prompt("a", "b").tolist()
    assert asked.tool_turn("c").tolist() == kept.tool_turn("c").tolist()
    assert asked.parse(asked.written(FAMILIES["qwen3"][1])) == kept.parse(kept.written(FAMILIES["qwen3"][1]))


def test_a_template_that_raises_at_the_tool_role_is_refused() -> None:
    strict = QWEN2.replace(
        "{%- elif message.role == 'tool' -%}", "{%- elif not loop.first -%}{{ raise_exception('no ' + message.role) }}"
    )
    assert strict != QWEN2
    assert "no tool" in refusal(toy_tokenizer("qwen2", strict))


@pytest.mark.parametrize("lost", ["message.role == 'tool'", "messages[0].role == 'system'", "tools"])
def test_a_template_that_leaves_out_what_it_is_given_is_refused(lost: str) -> None:
    deaf = QWEN3.replace(f"if {lost} -%}}", "if false -%}")
    assert deaf != QWEN3
    assert refusal(toy_tokenizer("qwen3", deaf))


def test_a_template_with_other_calls_than_json_is_refused() -> None:
    other = QWEN2.replace("(call.function.arguments | tojson)", "'query=' + call.function.arguments.query")
    assert other != QWEN2
    assert "JSON" in refusal(toy_tokenizer("qwen2", other))


def test_a_missing_template_is_refused() -> None:
    assert "no chat template" in refusal(toy_tokenizer("base"))


def test_a_template_that_closes_no_turn_with_a_control_token_is_refused() -> None:
    assert "control token" in refusal(toy_tokenizer("qwen2", QWEN2.replace("<|im_end|>", "END")))


def test_show_numbers_passages_only_where_there_are_several() -> None:
    one, two = Passage("1", "Bor", "a town"), Passage("2", "Tamsin", "a river")
    assert show([]) == "Nothing found."
    assert show([one]) == "Bor: a town"
    assert show([one, two]) == "(1) Bor: a town (2) Tamsin: a river"


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen3"}))
    with pytest.raises(InputError, match="tokenizer"):
        load_chat(tmp_path)


def test_a_unigram_vocabulary_gives_no_added_token_either() -> None:
    pieces = [("<unk>", 0.0), ("<|end|>", -1.0), *((character, -5.0) for character in "<|end> abc")]
    backend = Tokenizer(models.Unigram(pieces, unk_id=0))
    backend.add_special_tokens(["<|end|>"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|end|>", unk_token="<unk>")
    tokenizer.chat_template = TEMPLATE
    chat = Native(tokenizer)
    assert tokenizer.encode("a<|end|>b", add_special_tokens=False).count(1) == 1
    assert 1 not in chat.encode("a<|end|>b")
    assert len(chat.encode("a<|end|>b")) == len("a<|end|>b")
