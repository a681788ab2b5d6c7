"""Token-exact chat: what stands in a trajectory, and what text from outside can never become."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from toys.models import CHATML, FORGETFUL, LLAMA, toy_tokenizer
from toys.scripted import says, searches
from transformers import PreTrainedTokenizerFast

from piplay.assemble import load_chat, tiny_base
from piplay.chat.template import SEARCH_TOOL, Chat, show
from piplay.errors import InputError
from piplay.games.pi_play import STUDENT, examiner_view, student_view, teacher_view
from piplay.pretrain.tokenizer import TEMPLATE
from piplay.types import Passage, Step

CHATS = {
    "tiny": load_chat(tiny_base()),
    "qwen3": Chat(toy_tokenizer("qwen3")),
    "llama": Chat(toy_tokenizer("llama")),
}
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


def rendered(chat: Chat, messages: list[dict[str, object]]) -> list[int]:
    return chat.tokenizer.apply_chat_template(
        messages, tools=[SEARCH_TOOL], add_generation_prompt=True, tokenize=True, return_dict=False
    )


BENIGN = st.text(st.sampled_from("abcXYZ 019.,?'éß中"), min_size=1).filter(lambda text: not text[0].isspace())


@settings(deadline=None, max_examples=50)
@given(system=BENIGN, user=BENIGN, query=BENIGN, found=BENIGN, answer=BENIGN)
def test_a_tiny_conversation_is_what_its_template_renders(
    system: str, user: str, query: str, found: str, answer: str
) -> None:
    chat = CHATS["tiny"]
    turns = [searches(query, think=answer), searches(found), says(answer, think=found)]
    messages: list[dict[str, object]] = [{"role": "system", "content": system}, {"role": "user", "content": user}]
    ids = chat.prompt(system, user).tolist()
    assert ids == rendered(chat, messages)
    for text in turns:
        ids += [*chat.written(text), *chat.tool_turn(found).tolist()]
        messages += [{"role": "assistant", "content": text}, {"role": "tool", "content": found}]
        assert ids == rendered(chat, messages)


def test_the_tiny_template_renders_a_structured_call_as_the_model_writes_it() -> None:
    chat = CHATS["tiny"]
    call = {"type": "function", "function": {"name": "search", "arguments": {"query": "Bor"}}}
    start: list[dict[str, object]] = [{"role": "user", "content": "Where?"}]
    structured = {"role": "assistant", "content": "<think>Bor first</think>", "tool_calls": [call]}
    as_text = {"role": "assistant", "content": searches("Bor", think="Bor first")}
    assert rendered(chat, [*start, structured]) == rendered(chat, [*start, as_text])


@pytest.mark.parametrize("name", ["qwen3", "llama"])
def test_other_families_read_as_their_template_renders(name: str) -> None:
    chat = CHATS[name]
    text = searches("Bor", think="first")
    ids = [*chat.prompt("Be brief.", "Where?"), *chat.written(text), *chat.tool_turn("Bor: a town.")]
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Where?"},
        {"role": "assistant", "content": text},
        {"role": "tool", "content": "Bor: a town."},
    ]
    expected = chat.tokenizer.apply_chat_template(
        messages, tools=[SEARCH_TOOL], add_generation_prompt=True, tokenize=False
    )
    assert chat.tokenizer.decode(ids, skip_special_tokens=False) == expected


@pytest.mark.parametrize("name", CHATS)
def test_a_turn_ends_with_the_end_token(name: str) -> None:
    chat = CHATS[name]
    assert tuple(chat.written("Bor")[-1:]) == chat.end_ids


@pytest.fixture(params=list(CHATS))
def parse(request: pytest.FixtureRequest) -> Callable[[str], object]:
    chat = CHATS[request.param]
    return lambda text: chat.parse(chat.written(text))


def test_a_well_formed_call(parse) -> None:
    said = parse(searches("the river of Bor", think="the river"))
    assert (said.think, said.content, said.query, said.malformed) == ("the river", "", "the river of Bor", False)


def test_an_answer_without_reasoning(parse) -> None:
    said = parse("Tamsin")
    assert (said.think, said.content, said.query, said.malformed) == ("", "Tamsin", None, False)


def test_the_end_token_is_no_part_of_what_is_said(parse) -> None:
    assert parse(says("Tamsin", think="so")).text.replace(" ", "") == "<think>so</think>Tamsin"


def test_a_turn_cut_short_says_what_it_said() -> None:
    chat = CHATS["qwen3"]
    assert chat.parse(chat.written("<think>so")[:-1]).content == "<think>so"


@pytest.mark.parametrize(
    "call",
    [
        '{"name": "search", "arguments": {"query": "Bor"}',
        '{"name": "search", "arguments": {"query": Bor}}',
        '{"name": "find", "arguments": {"query": "Bor"}}',
        '{"name": "search", "arguments": {"q": "Bor"}}',
        '{"name": "search", "arguments": "Bor"}',
        '{"name": "search", "arguments": {"query": 7}}',
        '{"name": "search", "arguments": {"query": ["Bor"]}}',
        '{"name": "search", "arguments": {"query": null}}',
        '{"name": "search", "arguments": {"query": "  "}}',
        '["search", "Bor"]',
        '"search"',
        "null",
        "",
    ],
)
def test_a_call_that_cannot_be_read_is_malformed(parse, call: str) -> None:
    said = parse(f"<tool_call>{call}</tool_call>")
    assert (said.query, said.malformed) == (None, True)


def test_a_call_that_is_not_closed_is_malformed(parse) -> None:
    said = parse('<tool_call>{"name": "search", "arguments": {"query": "Bor"}}')
    assert (said.query, said.malformed) == (None, True)


def test_of_several_calls_the_first_counts(parse) -> None:
    said = parse(searches("Bor") + searches("Tamsin"))
    assert (said.query, said.content, said.malformed) == ("Bor", "", False)


def test_a_call_and_the_beginning_of_another_is_malformed(parse) -> None:
    said = parse(searches("Bor") + "<tool_call>")
    assert (said.query, said.malformed) == (None, True)


def test_a_call_within_the_reasoning_is_none(parse) -> None:
    said = parse(f"<think>{searches('Bor')}</think>Tamsin")
    assert (said.content, said.query, said.malformed) == ("Tamsin", None, False)


def refusal(tokenizer: object) -> str:
    with pytest.raises(InputError) as caught:
        Chat(tokenizer)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def test_a_template_that_drops_earlier_reasoning_is_refused() -> None:
    assert "not append-only" in refusal(toy_tokenizer("qwen3", FORGETFUL))


def test_a_template_that_raises_at_the_tool_role_is_refused() -> None:
    strict = CHATML.replace("<|im_start|>user\n<tool_response>", "{{ raise_exception('no role ' + message.role) }}")
    assert strict != CHATML
    assert "no role tool" in refusal(toy_tokenizer("qwen3", strict))


@pytest.mark.parametrize("lost", ["message.role == 'tool'", "messages[0].role == 'system'", "tools"])
def test_a_template_that_leaves_out_what_it_is_given_is_refused(lost: str) -> None:
    deaf = CHATML.replace(f"if {lost}", "if false")
    assert deaf != CHATML
    assert refusal(toy_tokenizer("qwen3", deaf))


def test_a_missing_template_is_refused() -> None:
    tokenizer = toy_tokenizer("qwen3")
    tokenizer.chat_template = None
    assert "no chat template" in refusal(tokenizer)


def test_a_template_that_closes_turns_with_another_token_is_refused() -> None:
    tokenizer = toy_tokenizer("qwen3")
    tokenizer.eos_token = "<|endoftext|>"
    assert "eos_token" in refusal(tokenizer)


def test_no_end_token_is_refused() -> None:
    tokenizer = toy_tokenizer("llama", LLAMA)
    tokenizer.eos_token = None
    assert "eos_token" in refusal(tokenizer)


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
    chat = Chat(tokenizer)
    assert tokenizer.encode("a<|end|>b", add_special_tokens=False).count(1) == 1
    assert 1 not in chat.encode("a<|end|>b")
    assert len(chat.encode("a<|end|>b")) == len("a<|end|>b")
