"""Dense retrieval: the passages whose vectors have the largest inner products with a query's."""

from __future__ import annotations

from collections.abc import Sequence

from piplay.envs.search.neural.encoder import Encoder
from piplay.envs.search.neural.vectors import VectorIndex
from piplay.envs.search.question import Passage
from piplay.envs.search.searcher import Hit, RankedSearcher
from piplay.envs.search.words import tokenize


class DenseSearcher(RankedSearcher):
    """A ``Searcher`` by vectors; a query without a word finds nothing."""

    def __init__(self, passages: Sequence[Passage], encoder: Encoder, index: VectorIndex) -> None:
        super().__init__(passages)
        self._encoder, self._index = encoder, index

    def ranked(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """See ``RankedSearcher.ranked``; scores are cosines."""
        asked = [query for query in dict.fromkeys(queries) if tokenize(query)]
        nearest = self._index.nearest(self._encoder.queries(asked), k) if asked else []
        found = dict(zip(asked, nearest, strict=True))
        return [found.get(query, []) for query in queries]
