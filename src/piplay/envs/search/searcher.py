"""The search tool as the rollout sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from piplay.envs.search.question import Passage


class Searcher(Protocol):
    """Finds passages. The same corpus, query and ``k`` always give the same passages in the same order."""

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """The ``k`` best passages for each query, best first, one list per query in the order of ``queries``.

        A list is shorter than ``k`` when fewer passages match, and empty for a query without a word.
        What comes back for a query does not depend on the other queries. Raises ValueError when ``k < 1`` and
        ``ToolError`` when it does not answer.
        """
        ...
