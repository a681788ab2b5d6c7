"""BM25 and dense retrieval in one: weighted reciprocal rank fusion."""

from __future__ import annotations

from collections.abc import Sequence

from piplay.envs.search.question import Passage
from piplay.envs.search.searcher import Hit, RankedSearcher

CANDIDATES = 100
"""Passages of each ranking that are fused."""
RANK_CONSTANT = 60
"""Cormack, Clarke and Büttcher, "Reciprocal rank fusion" (2009)."""
DENSE_WEIGHT = 0.7
"""What the dense ranking counts; BM25's counts the rest. Above a half, since a good encoder is the better part: equal
weights can find less than it alone. How others do: benchmarks/results/search-real.md."""


class HybridSearcher(RankedSearcher):
    """A ``Searcher`` that ranks by w / (60 + dense rank) + (1 − w) / (60 + BM25 rank), over 100 passages of each."""

    def __init__(
        self, passages: Sequence[Passage], lexical: RankedSearcher, dense: RankedSearcher, dense_weight: float
    ) -> None:
        """Both searchers are of ``passages``."""
        super().__init__(passages)
        self._parts = ((1 - dense_weight, lexical), (dense_weight, dense))

    def ranked(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """See ``RankedSearcher.ranked``; equal scores stand in corpus order."""
        depth = max(CANDIDATES, k)
        rankings = [(weight, searcher.ranked(queries, depth)) for weight, searcher in self._parts]
        return [self._fused([(weight, of[number]) for weight, of in rankings], k) for number in range(len(queries))]

    def _fused(self, rankings: Sequence[tuple[float, Sequence[Hit]]], k: int) -> list[Hit]:
        scores: dict[int, float] = {}
        for weight, hits in rankings:
            for rank, (number, _) in enumerate(hits, 1):
                scores[number] = scores.get(number, 0.0) + weight / (RANK_CONSTANT + rank)
        return sorted(scores.items(), key=lambda hit: (-hit[1], hit[0]))[:k]
