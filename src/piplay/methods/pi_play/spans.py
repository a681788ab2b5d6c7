"""Which part of a turn each token that a model wrote belongs to."""

from __future__ import annotations

from itertools import groupby

import numpy as np

from piplay.chat.base import Chat
from piplay.chat.pieces import pieces
from piplay.envs.search.tool import SEARCH, query_of
from piplay.types import Owner, Trajectory, Turn

SPANS = ("thought", "query", "answer", "form")
"""Reasoning, what is searched for, the answer, and all that stands around them: tags, names of tools, ends of turns."""


def spans(chat: Chat, trajectory: Trajectory) -> np.ndarray[tuple[int], np.dtype[np.int8]]:
    """For each token that the model wrote (R,), in order, the index into ``SPANS``.

    A token belongs to a part if it adds a character of it.
    """
    stretches = [
        trajectory.ids_T[[place for place, _ in group]].tolist()
        for owner, group in groupby(enumerate(trajectory.owner_T), key=lambda placed: placed[1])
        if owner == Owner.MODEL
    ]
    found: list[int] = []
    for ids, turn in zip(stretches, trajectory.turns, strict=True):
        added = pieces(chat, ids)
        parts = _places("".join(added), turn)
        begin = 0
        for piece in added:
            end = begin + len(piece)
            names = [name for name, first, last in parts if begin < last and first < end]
            found.append(SPANS.index(names[0] if names else "form"))
            begin = end
    return np.array(found, np.int8)


def _places(text: str, turn: Turn) -> list[tuple[str, int, int]]:
    """The parts of a turn's text with their first and last character."""
    said = [("thought", turn.think)]
    if turn.call is not None and turn.call.name == SEARCH.name:
        said.append(("query", query_of(turn.call)))
    elif turn.call is None:
        said.append(("answer", turn.content))
    places, after = [], 0
    for name, part in said:
        begin = text.find(part, after) if part else -1
        if begin >= 0:
            after = begin + len(part)
            places.append((name, begin, after))
    return places
