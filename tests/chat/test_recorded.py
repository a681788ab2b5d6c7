"""Ids and turns of the tiny base with the one tool ``search``, as they were recorded.

A recipe draws the same tokens only while every id stays what it is: these are as they were before chats knew other
tools. The turns were recorded again when open reasoning, stray closings and dialects of a call came to be read;
and with tags what `written` makes of an answer that spells an added token: plain text now, as in the other chats.
All of it was recorded again, by the same chats, when the base and its tokenizer were made anew.
"""

import hashlib
import json
from pathlib import Path
from random import Random

import pytest
from toys.tools import SEARCH
from transformers import AutoTokenizer

import piplay
from piplay.chat.base import Chat
from piplay.chat.native import Native
from piplay.chat.tags import Tags

RECORDED = json.loads((Path(__file__).parent / "recorded.json").read_text(encoding="utf-8"))
PIECES = (
    *(
        "a",
        " ",
        "\n",
        "Bor",
        "the river of",
        '"',
        "{",
        "}",
        "\\",
        "é",
        "中",
        "<",
        "</",
        "\\ud83d",
        "null",
        "[",
        ", ",
        "7",
    ),
    *("<|end|>", "<|user|>", "<|assistant|>", '"}}', '{"name": "search", "arguments": {"query": "'),
    *(f"<{slash}{n}>" for n in ("think", "search", "answer", "information", "tool_call") for slash in ("", "/")),
    *(
        f"<tool_call>{call}</tool_call>"
        for call in (
            '{"name": "search", "arguments": {"query": " Bor "}}',
            '{"name": "search", "arguments": {"query": "Bor", "k": 5}}',
            '{"arguments": {"query": "Bor"}, "name": "search", "id": 3}',
            '{"name": "find", "arguments": {"query": "Bor"}}',
            '{"name": ["search"], "arguments": {"query": "Bor"}}',
            '{"name": "search", "arguments": {"query": ["Bor"]}}',
            '{"name": "search", "arguments": {"query": "  "}}',
        )
    ),
    *("<search>Bor</search>", "<answer>Oum</answer>", "<think>so</think>"),
)
CHATS = {"native": Native, "tags": Tags}


def tiny(protocol: str) -> Chat:
    folder = Path(piplay.__file__).parent / "tiny_base" / "model"
    return CHATS[protocol](AutoTokenizer.from_pretrained(folder, local_files_only=True), [SEARCH])


def rows(chat: Chat, seed: int, count: int) -> list[list[object]]:
    """Every id and every turn of ``count`` awkward texts."""
    random = Random(seed)

    def text() -> str:
        return "".join(PIECES[int(random.random() * len(PIECES))] for _ in range(int(random.random() * 9)))

    made: list[list[object]] = [list(chat.stop.ids)]
    for _ in range(count):
        system, user, said = text(), text(), text()
        made += [chat.prompt(system, user).tolist(), chat.tool_turn(user, "search").tolist(), chat.encode(user)]
        ids = chat.written(said)
        for stretch in (ids, ids[: int(random.random() * len(ids))]):
            turn = chat.parse(stretch)
            query = turn.call.arguments["query"] if turn.call else None
            made += [stretch, [turn.text, turn.think, turn.content, query, turn.malformed]]
    return made


@pytest.mark.parametrize("protocol", CHATS)
def test_a_few_texts_give_the_recorded_ids_and_turns(protocol: str) -> None:
    assert rows(tiny(protocol), 0, 6) == RECORDED[protocol]["rows"]


@pytest.mark.slow
@pytest.mark.parametrize("protocol", CHATS)
def test_many_texts_do(protocol: str) -> None:
    made = rows(tiny(protocol), 1, 600)
    ids = [row for row in made if not any(isinstance(value, str) for value in row)]
    for name, part in (("ids", ids), ("sha256", made)):
        assert hashlib.sha256(json.dumps(part).encode()).hexdigest() == RECORDED[protocol][name]
