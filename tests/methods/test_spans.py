"""Which part of a turn a token is: the parts put together again are what the turn says."""

import numpy as np
import pytest

from piplay.chat.base import Chat
from piplay.chat.pieces import pieces
from piplay.envs.search.tool import search
from piplay.methods.pi_play.spans import SPANS, spans
from piplay.types import Owner, PolicyRef, StopReason, ToolCall, Trajectory

SAID: list[tuple[str, str, ToolCall | None]] = [
    ("river: Tamsin.", "", search("Tamsin")),
    ("", "", search("Oum")),
    ("It rises there: Oum.", "Oum", None),  # the answer stands in the reasoning too
    ("", "Ünder the Oum", None),
]


@pytest.mark.parametrize("kind", ["native", "tags"])
def test_the_tokens_of_a_part_say_the_part(kind: str, tiny_chat: Chat, tags_chat: Chat) -> None:
    chat = tiny_chat if kind == "native" else tags_chat
    ids, owners, turns = [5, 6], [Owner.PROMPT] * 2, []
    for think, content, call in SAID:
        written = chat.written(chat.phrase(think, content, call))
        turns.append(chat.parse(written))
        ids += [*written, 7]
        owners += [Owner.MODEL] * len(written) + [Owner.TOOL]
    owner_T = np.array(owners, np.int8)
    trajectory = Trajectory(
        ("t",), "student", PolicyRef("student"), np.array(ids, np.int64), owner_T, np.zeros(len(ids), np.float32), 2,
        tuple(turns), (), StopReason.ANSWERED,
    )  # fmt: skip
    span_R = spans(chat, trajectory)
    assert len(span_R) == (owner_T == Owner.MODEL).sum()
    begin = 0
    for think, content, call in SAID:
        written = chat.written(chat.phrase(think, content, call))
        added, part = pieces(chat, written), span_R[begin : begin + len(written)]
        begin += len(written)
        query = str(call.arguments["query"]) if call else ""
        for name, expected in (("thought", think), ("query", query), ("answer", content)):
            own = "".join(piece for piece, i in zip(added, part, strict=True) if SPANS[i] == name)
            assert expected in own
            # A token may hold a sign of what stands beside it, and no more.
            assert len(own) <= len(expected) + 4
        assert any(SPANS[i] == "form" for i in part)
