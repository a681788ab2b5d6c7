"""Searchers that fail, by a plan."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from piplay.envs.search.bm25 import BM25Searcher
from piplay.envs.search.question import Passage

PLAN: list[Callable[[int, Sequence[str]], None]] = []
"""What happens before each call, by its number from 0 and its queries."""
CALLS: list[int] = []
"""How many queries each call had."""


class PlannedSearcher(BM25Searcher):
    """BM25 on what one field holds, as in a world, that does first what the plan wants."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        super().__init__(passages, title_weight=None)
        CALLS.clear()

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        number = len(CALLS)
        CALLS.append(len(queries))
        for act in PLAN:
            act(number, queries)
        return super().search(queries, k)


def hang(seconds: float = 60.0) -> None:
    """Hang, and catch whatever is raised meanwhile, as careless code does."""
    try:
        time.sleep(seconds)
    except Exception:
        return
