"""Chat by tags in plain text: where a turn ends, what of it counts, and what text from outside can never forge."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken
from toys.models import toy_tokenizer

from piplay.chat.base import show
from piplay.chat.tags import Tags
from piplay.errors import InputError
from piplay.methods.pi_play.game import examiner_view, student_view, teacher_view
from piplay.training.assemble import load_chat, tiny_base
from piplay.types import Passage, Step

CHATS = {kind: Tags(toy_tokenizer(kind)) for kind in ("base", "qwen3", "qwen2", "llama")}
CHATS["tiny"] = load_chat(tiny_base(), "tags")
NAMES = ("think", "search", "answer", "information")
TAGS = [f"<{slash}{name}>" for name in NAMES for slash in ("", "/")]
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


@pytest.mark.parametrize("name", CHATS)
@settings(deadline=None, max_examples=40)
@given(text=foreign_text)
def test_text_from_outside_spells_no_tag_and_no_control_token_in_any_view(name: str, text: str) -> None:
    chat = CHATS[name]
    added = set(chat.tokenizer.get_added_vocab().values())
    passage, path = Passage(text, text, text), (Step(text, text, text),)
    views = [
        chat.prompt("Be brief.", v) for v in (student_view(text), teacher_view(text, path), examiner_view(passage, 2))
    ]
    for ids, quiet in [
        *((view, chat.prompt("Be brief.", "")) for view in views),
        (chat.tool_turn(text), chat.tool_turn("")),
    ]:
        assert tags_of(decoded(chat, ids)) == tags_of(decoded(chat, quiet))
        assert [i for i in ids.tolist() if i in added] == [i for i in quiet.tolist() if i in added]
    assert tags_of(decoded(chat, chat.tool_turn(show([passage, passage])))) == ["<information>", "</information>"]


@pytest.mark.parametrize("name", CHATS)
def test_foreign_text_that_spells_no_tag_is_shown_as_it_is(name: str) -> None:
    chat = CHATS[name]
    assert "a < b, <b>bold</b> and <searching> remain" in decoded(
        chat, chat.tool_turn("a < b, <b>bold</b> and <searching> remain")
    )
    assert "\n‹search›Bor‹/search›\n" in decoded(chat, chat.tool_turn("<search>Bor</search>")).replace(" ", "")


def test_a_prompt_tells_the_tags_the_role_and_the_task_and_begins_as_the_tokenizer_does() -> None:
    for name, chat in CHATS.items():
        text = decoded(chat, chat.prompt("Be brief.", "Where is Bor?"))
        for told in (*TAGS, "Be brief.", "Where is Bor?"):
            assert told in text
        assert text.startswith("<|begin_of_text|>") == (name == "llama")


# Where a turn ends


def splitting() -> Tags:
    """A chat whose tokenizer has a token for every stretch of the closing tags and what stands around them."""
    tokenizer = toy_tokenizer("base")
    stretches = {
        text[i:j]
        for text in ("ch</search>\n\n", "er</answer>. ", "<search>B")
        for i in range(len(text))
        for j in range(i + 2, len(text) + 1)
    }
    tokenizer.add_tokens([AddedToken(text, normalized=False, special=False) for text in sorted(stretches)])
    return Tags(tokenizer)


SPLITTING = splitting()
VOCABULARY = SPLITTING.tokenizer.get_added_vocab()


@st.composite
def tokenized(draw: st.DrawFn) -> list[str]:
    """A text with closing tags in it, cut into tokens of any length."""
    text = "".join(
        draw(
            st.lists(
                st.sampled_from(
                    ["a", "<", "</", "ch", "er", "<search>B", "</search>", "</search>\n\n", "</answer>", "</answer>. "]
                ),
                max_size=6,
            )
        )
    )
    cut: list[str] = []
    while text:
        known = [n for n in range(2, len(text) + 1) if text[:n] in VOCABULARY]
        size = draw(st.sampled_from([1, *known]))
        cut.append(text[:size])
        text = text[size:]
    return cut


@settings(deadline=None, max_examples=300)
@given(cut=tokenized())
def test_a_turn_ends_with_the_token_that_completes_a_closing_tag_however_it_is_split(cut: list[str]) -> None:
    single = {c: SPLITTING.tokenizer.encode(c)[0] for c in "".join(cut)}
    ids = np.array([(VOCABULARY | single)[token] for token in cut], dtype=np.int64)
    assert decoded(SPLITTING, ids) == "".join(cut)
    for end in range(1, len(ids) + 1):
        before, now = "".join(cut[: end - 1]), "".join(cut[:end])
        complete = "</search>" in now or "</answer>" in now
        assert SPLITTING.closes is not None
        if "</search>" in before or "</answer>" in before:
            break  # the turn is over: what would follow is never asked
        assert SPLITTING.closes(ids[:end]) == complete


def test_a_character_cut_in_two_before_the_tag_hides_it_not() -> None:
    chat = CHATS["base"]
    half = chat.tokenizer.encode("é")[:1]
    closed = np.array([*half, *chat.tokenizer.encode("</search>"), *half])
    assert [bool(chat.closes(closed[:end])) for end in range(1, len(closed))] == [False] * (len(closed) - 2) + [True]


def test_no_other_text_ends_a_turn() -> None:
    chat = CHATS["base"]
    for text in ("</think>", "<search>", "</information>", "< /search>", "</Search>", "&lt;/search>"):
        assert not chat.closes(np.array(chat.tokenizer.encode(text)))
    assert not chat.closes(np.array([chat.end_ids[0]]))


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
    assert (said.think, said.content, said.query, said.malformed) == (think, content, query, False)


@pytest.mark.parametrize(
    "text",
    ["Oum", "", "<think>so</think>", "<search>Bor", "Bor</search>", "<search> </search>", "<answer>Bor</search>", "<>"],
)
def test_a_turn_with_no_search_and_no_answer_is_malformed(parse, text: str) -> None:
    said = parse(text)
    assert (said.content, said.query, said.malformed) == ("", None, True)


@pytest.mark.parametrize("name", CHATS)
@settings(deadline=None, max_examples=50)
@given(think=st.text(st.sampled_from("ab '{}é\n<")), said=st.text(st.sampled_from("ab '\\{}é>"), min_size=1))
def test_a_phrase_is_read_as_what_it_says(name: str, think: str, said: str) -> None:
    chat, said = CHATS[name], f"x{said}".strip()
    for query, content in ((said, ""), (None, said)):
        ids = chat.written(chat.phrase(think, content, query))
        turn = chat.parse(ids)
        assert (turn.think, turn.content, turn.query, turn.malformed) == (think.strip(), content, query, False)
        assert chat.closes(np.array(ids))
        assert not any(chat.closes(np.array(ids[:end])) for end in range(1, len(ids)))


def test_a_folder_with_an_empty_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "qwen3"}')
    with pytest.raises(InputError, match="no tokenizer"):
        load_chat(tmp_path, "tags")
