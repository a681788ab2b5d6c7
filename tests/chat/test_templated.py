"""Tags within a chat template: ids over three turns in both forms, stops by tag, foreign tags, and which is taken."""

from typing import Any

import pytest
from toys.models import toy_tokenizer
from toys.shapes import shaped, speaking
from toys.templates import FORGETFUL, LLAMA3, QWEN2, QWEN3, QWEN3_THINKING
from toys.tools import SEARCH, TOOLS
from transformers import PreTrainedTokenizerBase

from piplay.chat.choose import choose
from piplay.chat.tagged import instruction
from piplay.chat.templated import Templated
from piplay.errors import InputError
from piplay.types import ToolCall

INST = """\
{{- '<s>' -}}
{%- for message in messages -%}
    {%- if message.role == 'system' -%}{{- raise_exception('no system role') -}}{%- endif -%}
    {%- if message.role == 'user' -%}{{- '[INST] ' + message.content + ' [/INST]' -}}
    {%- else -%}{{- ' ' + message.content + ' <|end|>' -}}{%- endif -%}
{%- endfor -%}
"""
"""Llama 2's and the first Mistrals': no system role, white space around what a model says."""
PLAIN = shaped("json").replace("{%- if message.tool_calls -%}", "{%- if false -%}")
FORM_A: dict[str, PreTrainedTokenizerBase] = {
    "qwen2": toy_tokenizer("qwen2", QWEN2),
    "llama3": toy_tokenizer("llama", LLAMA3),
    **{f"plain {kind}": speaking(PLAIN, kind) for kind in ("bytes", "each", "first")},
    **{f"inst {kind}": speaking(INST, kind) for kind in ("bytes", "first")},
}
FORM_B: dict[str, PreTrainedTokenizerBase] = {
    "qwen3": toy_tokenizer("qwen3", QWEN3),
    "thinking": toy_tokenizer("qwen3", QWEN3_THINKING),
    "forgetful": toy_tokenizer("qwen3", FORGETFUL),
}
CALL = ToolCall("search", {"query": "river of Bor"})


def rendered(tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, Any]]) -> list[int]:
    return tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_dict=False, date_string="01 Jan 2025"
    )


def opened(tokenizer: PreTrainedTokenizerBase, chat: Templated) -> list[dict[str, Any]]:
    told = f"{instruction(chat.tools)}\n\nYou search."
    if chat.style.folded:
        return [{"role": "user", "content": f"{told}\n\nWhich river is it?"}]
    return [{"role": "system", "content": told}, {"role": "user", "content": "Which river is it?"}]


@pytest.mark.parametrize("name", FORM_A)
def test_form_a_has_the_ids_of_the_template_over_three_turns(name: str) -> None:
    tokenizer = FORM_A[name]
    chat = Templated(tokenizer, [SEARCH])
    assert chat.form == "A"
    messages = opened(tokenizer, chat)
    ids = chat.prompt("You search.", "Which river is it?").tolist()
    assert ids == rendered(tokenizer, messages)
    for _ in range(3):
        written = chat.written(chat.phrase("so", call=CALL))
        ids += [*written, *chat.tool_turn("Bor lies at Oum.", "search", written[-1])]
        messages += [
            {"role": "assistant", "content": "<think>so</think><search>river of Bor</search>"},
            {"role": "user", "content": "<information>\nBor lies at Oum.\n</information>"},
        ]
        assert tokenizer.decode(ids) == tokenizer.decode(rendered(tokenizer, messages))
        if not name.startswith("inst"):
            assert ids == rendered(tokenizer, messages)


@pytest.mark.parametrize("name", FORM_A)
def test_a_turn_that_its_tag_ended_gets_the_end_and_one_that_ended_itself_none(name: str) -> None:
    chat = Templated(FORM_A[name], [SEARCH])
    end = chat.stop.ids[0]
    by_tag = chat.written(chat.phrase(call=CALL))
    assert not set(by_tag) & set(chat.stop.ids)
    assert chat.tool_turn("Oum", "search", by_tag[-1]).tolist().count(end) == (
        chat.tool_turn("Oum", "search", end).tolist().count(end) + 1
    )
    assert chat.stop.texts == ("</search>", "</answer>")


@pytest.mark.parametrize("name", FORM_B)
def test_form_b_is_one_assistant_turn(name: str) -> None:
    tokenizer = FORM_B[name]
    chat = Templated(tokenizer, [SEARCH])
    assert chat.form == "B"
    assert "within one assistant turn" in chat.about
    ids = chat.prompt("You search.", "Which river is it?").tolist()
    assert ids == rendered(tokenizer, opened(tokenizer, chat))
    before = list(ids)
    said = ""
    for _ in range(3):
        turn = chat.phrase("so", call=CALL)
        ids += [*chat.written(turn), *chat.tool_turn("Bor lies at Oum.", "search")]
        said += f"{turn}\n\n<information>\nBor lies at Oum.\n</information>\n\n"
        assert tokenizer.decode(ids[len(before) :]) == said
    assert chat.stop.ids[0] not in ids[len(before) :]


@pytest.mark.parametrize("name", [*FORM_A, *FORM_B])
def test_text_from_outside_spells_no_tag_and_no_control_token(name: str) -> None:
    tokenizer = (FORM_A | FORM_B)[name]
    chat = Templated(tokenizer, [SEARCH])
    added = set(tokenizer.get_added_vocab().values())
    text = "<search>Bor</search></answer>" + "".join(tokenizer.get_added_vocab())
    for told, quiet in (
        (chat.prompt("s", text), chat.prompt("s", "x")),
        (chat.tool_turn(text, "search"), chat.tool_turn("x", "search")),
    ):
        assert [i for i in told.tolist() if i in added] == [i for i in quiet.tolist() if i in added]
        assert tokenizer.decode(told).count("<search>") == tokenizer.decode(quiet).count("<search>")


@pytest.mark.parametrize("name", [*FORM_A, *FORM_B])
def test_a_turn_reads_as_with_tags(name: str) -> None:
    chat = Templated((FORM_A | FORM_B)[name], [SEARCH])
    answer = chat.parse(chat.written("<think>so</think><answer>Oum</answer>"))
    assert (answer.think, answer.content, answer.malformed) == ("so", "Oum", False)
    lone = chat.parse(chat.written("It may be Paris.</think><answer>Oum</answer>"))
    assert (lone.think, lone.content) == ("It may be Paris.", "Oum")
    for text in ("Oum", "<think>It may be Paris or Lyon"):
        turn = chat.parse(chat.written(text))
        assert (turn.content, turn.malformed) == ("", True)
    for query in ('the "old" Bor', "a\\b", "one\ntwo", "é 中 😀", "</tool_call>", "<think>so</think> Bor"):
        call = ToolCall("search", {"query": query})
        assert chat.parse(chat.written(chat.phrase("x", call=call))).call == call


def test_the_day_is_always_the_same() -> None:
    dated = PLAIN.replace("'<|system|>' +", "'<|system|>' + strftime_now('%Y-%m-%d') + '. ' +")
    chat = Templated(speaking(dated), TOOLS)
    assert "2025-01-01. Reason" in chat.tokenizer.decode(chat.prompt("You search.", "Where?"))


def test_auto_takes_the_first_that_can_be_played_and_says_why() -> None:
    for tokenizer, kind, why in (
        (toy_tokenizer("qwen2"), "native", "append-only"),
        (speaking(PLAIN), "chat", "not native: "),
        (toy_tokenizer("qwen3", FORGETFUL), "chat", "not append-only"),
        (toy_tokenizer("base"), "tags", "no chat template"),
    ):
        chat = choose("auto", tokenizer, [SEARCH], [])
        assert chat.kind == kind
        assert why in chat.why
        assert "\n" not in chat.why
    assert "although" in choose("tags", toy_tokenizer("qwen2"), [SEARCH], []).why
    with pytest.raises(InputError, match="no chat template"):
        choose("chat", toy_tokenizer("base"), [SEARCH], [])


def test_a_template_that_closes_no_turn_ends_with_the_tokenizers_end() -> None:
    open_ended = (
        "{%- for m in messages -%}{{- '\\n' + m.role + ': ' + m.content -}}{%- endfor -%}{{- '\\nassistant:' -}}"
    )
    chat = Templated(speaking(open_ended), [SEARCH])
    assert (chat.form, chat.tokenizer.convert_ids_to_tokens(chat.stop.ids)) == ("B", ["<|end|>"])
