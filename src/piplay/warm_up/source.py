"""Where lessons come from: ever new small worlds, each for a few lessons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from transformers import AutoTokenizer

from piplay.envs.world.generate import encyclopedia, varied
from piplay.envs.world.records import Records
from piplay.envs.world.render import passage
from piplay.errors import InputError, nearest
from piplay.protocols import Environment
from piplay.streams import stream
from piplay.types import Episode, Key, State
from piplay.warm_up.classroom import HINTS, Classroom
from piplay.warm_up.lesson import Lesson
from piplay.warm_up.mixtures import MIXTURES
from piplay.warm_up.text import Text

FIRST_WORLD_SEED = 1_000_000
"""Worlds of lessons have seeds from here on; those that are played and measured in have small ones."""
LESSONS_A_ROOM = 30
NAME = "piplay.warm_up:Lessons"
_TRIES = 100


class Lessons:
    """A ``TaskSource`` of lessons on fictional worlds, and on text, drawn by a mixture of their kinds."""

    def __init__(
        self,
        environment: Environment,
        state: State,
        seed: int,
        *,
        mixture: str = "language_model",
        hints: tuple[str, ...] = HINTS,
        goes_on: float = 0.1,
        simple: float = 0.1,
        strange: float = 0.0,
        pieces_of: Path | None = None,
        corpus: Path | None = None,
        corpus_share: float = 0.4,
        without: Path | None = None,
    ) -> None:
        """Draw lessons by their odds.

        Args:
            environment: not asked: its worlds are met later.
            state: nothing is remembered.
            seed: the run's.
            mixture: how often each kind of lesson comes, by name (``MIXTURES``).
            hints: which of the ``HINTS`` students' lessons have; without ``half``, ``foreign``, ``false`` and ``none``
                nothing is taught of paths that do not fit.
            goes_on: how often a student goes on to each next hop that no hint names.
            simple: the share of worlds with one-word relations and easy names; half of these have plain passages too.
            strange: of the others the share that is made of pieces of words.
            pieces_of: the model folder whose tokenizer has these pieces, so that every token is copied somewhere.
            corpus: text whose passages have titles, for lessons on the facts that it states of them.
            corpus_share: the share of classrooms that are made of it.
            without: a benchmark in FlashRAG's layout: passages that its questions name as evidence are left out.

        Raises:
            InputError: an unknown kind of lesson, a share that is none, or no pieces.
        """
        if mixture not in MIXTURES:
            raise InputError(f"the source {NAME}: there is no mixture {mixture!r}{nearest(mixture, MIXTURES)}")
        for hint in hints:
            if hint not in HINTS:
                raise InputError(f"the source {NAME}: there is no hint {hint!r}{nearest(hint, HINTS)}")
        shares = {"goes_on": goes_on, "simple": simple, "strange": strange, "corpus_share": corpus_share}
        for name, share in shares.items():
            if not 0 <= share <= 1:
                raise InputError(f"the source {NAME} has {name} = {share}: give a share from 0 to 1")
        if strange and pieces_of is None:
            raise InputError(f"the source {NAME} has strange worlds and no pieces: name a folder in pieces_of")
        self._seed, self._goes_on, self._simple, self._strange = seed, goes_on, simple, strange
        left_out = tuple(set(HINTS) - set(hints))
        odds = {kind: odd for kind, odd in MIXTURES[mixture].items() if not kind.startswith(left_out)}
        self._kinds, odds_K = list(odds), np.array(list(odds.values()), float)
        self._odds_K = odds_K / odds_K.sum()
        self._text, self._corpus_share = Text(corpus, without) if corpus is not None else None, corpus_share
        self._pieces = word_pieces(pieces_of) if pieces_of is not None and strange else []

    def draw(self, key: Key, count: int) -> list[Lesson]:
        """See ``TaskSource.draw``."""
        lessons: list[Lesson] = []
        rooms = 0
        while len(lessons) < count:
            room = self._classroom((*key, "classroom", rooms))
            for _ in range(min(LESSONS_A_ROOM, count - len(lessons))):
                if (lesson := self._lesson(room)) is None:
                    break
                lessons.append(replace(lesson, id=f"{'/'.join(map(str, key))}/{len(lessons)}"))
            rooms += 1
        return lessons

    def note(self, episodes: Sequence[Episode]) -> None:
        """See ``TaskSource.note``."""

    def _lesson(self, room: Classroom) -> Lesson | None:
        """A lesson by the mixture's odds; None where the world has hardly a chain that is asked for."""
        for _ in range(_TRIES):
            kind = self._kinds[int(room.rng.choice(len(self._kinds), p=self._odds_K))]
            if (lesson := room.lesson(kind)) is not None:
                return lesson
        return None

    def _classroom(self, key: Key) -> Classroom:
        """A varied table or a small encyclopedia that no one has met, or facts of the corpus."""
        rng = stream(self._seed, key)
        if self._text is not None and rng.random() < self._corpus_share:
            return self._text.classroom(rng, self._goes_on)
        world_seed = FIRST_WORLD_SEED + int(rng.integers(2**40))
        simple, strange = rng.random() < self._simple, rng.random() < self._strange
        plain = simple and rng.random() < 0.5
        records = self._records(world_seed, simple, strange, rng)
        texts = {e.name: passage(records, e, world_seed, plain) for e in records.entities}
        return Classroom(records, texts, rng, self._goes_on)

    def _records(self, world_seed: int, simple: bool, strange: bool, rng: np.random.Generator) -> Records:
        if simple:
            return varied(world_seed, simple=True)
        if strange:
            return varied(world_seed, pieces=self._pieces)
        return encyclopedia(world_seed, 40) if rng.random() < 0.6 else varied(world_seed)


def word_pieces(folder: Path) -> list[str]:
    """The pieces of words in a tokenizer's vocabulary, without spaces and control tokens."""
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    texts = [str(tokenizer.decode([i])).strip() for i in range(len(tokenizer))]
    added = set(tokenizer.get_added_vocab())
    return sorted({text for text in texts if text.isascii() and text.isalnum() and text not in added})
