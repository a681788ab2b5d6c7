"""Probes: what a run on a corpus without a benchmark is measured by.

Before any training the base examiner writes questions from passages that self-play never starts from. They are frozen
and never trained on. Their answers are the examiner's own and no one has checked them: a probe whose answer is wrong
rewards agreement with the base, not truth. So they bear ``LABEL`` wherever they are shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from piplay.envs.search.stored import Chosen
from piplay.methods.base import Game
from piplay.rollout.stage import Stage
from piplay.streams import stream
from piplay.types import Key, Passage, Task

LABEL = "self-made, unverified"
SHARE = 0.1
MIN_PASSAGES = 20
"""Below, a tenth would be one passage or none, and self-play needs them all."""
ROUNDS = 5
"""How often as many questions are tried as are wanted."""


def measured(row: Mapping[str, Any]) -> str:
    """What an evaluation measured: exact match on held-out questions, or else on which."""
    return f"exact match on probes ({row['questions']})" if "questions" in row else "held-out exact match"


def titled(row: Mapping[str, Any]) -> str:
    """The same at the head of a line."""
    what = measured(row)
    return what[0].upper() + what[1:]


def reserve(passages: Sequence[Passage], seed: int) -> tuple[Sequence[Passage], Sequence[Passage]]:
    """The passages that self-play may start from and those for probes, a random tenth; both in their order."""
    count = round(SHARE * len(passages)) if len(passages) >= MIN_PASSAGES else 0
    taken = np.zeros(len(passages), dtype=bool)
    taken[stream(seed, ("probes", "reserve")).permutation(len(passages))[:count]] = True
    return Chosen(passages, np.flatnonzero(~taken)), Chosen(passages, np.flatnonzero(taken))


def write_probes(
    stage: Stage, game: Game, seats: Mapping[str, str], seeds: Callable[[Key], Sequence[Task]], wanted: int
) -> list[Task]:
    """Up to ``wanted`` questions that an examiner's game lets pass; ``seeds`` gives the tasks of a round by its key."""
    probes: list[Task] = []
    for number in range(ROUNDS):
        key: Key = ("probes", number)
        episodes = game.settle(stage.play(game.play, key, seeds(key), seats, temperature=1.0))
        probes += [episode.written for episode in episodes if episode.written is not None]
        if len(probes) >= wanted:
            break
    return probes[:wanted]
