"""The search tool as the rollout sees it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

from piplay.envs.search.question import Passage

Hit = tuple[int, float]
"""A passage's number and its score."""


class Searcher(Protocol):
    """Finds passages. The same corpus, query and ``k`` always give the same passages in the same order."""

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """The ``k`` best passages for each query, best first, one list per query in the order of ``queries``.

        A list is shorter than ``k`` when fewer passages match, and empty for a query without a word.
        What comes back for a query does not depend on the other queries. Raises ValueError when ``k < 1`` and
        ``ToolError`` when it does not answer.
        """
        ...


class RankedSearcher(ABC):
    """A ``Searcher`` that knows passages by their numbers, and scores them."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self.passages = passages

    @abstractmethod
    def ranked(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """The numbers and scores of the ``k`` best passages for each query, best first; ``search`` by numbers."""

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """See ``Searcher.search``. Equal scores stand in corpus order."""
        if k < 1:
            raise ValueError(f"k must be at least 1, not {k}")
        once = list(dict.fromkeys(queries))
        found = dict(zip(once, self.ranked(once, k), strict=True))
        return [[self.passages[number] for number, _ in found[query]] for query in queries]
