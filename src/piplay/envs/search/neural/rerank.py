"""Reranking: the best passages of a search once more, by a model that reads each together with the query."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from piplay.envs.search.neural.encoder import text_of
from piplay.envs.search.neural.models import folder_hash, loaded
from piplay.envs.search.question import Passage
from piplay.envs.search.searcher import Hit, RankedSearcher

CANDIDATES = 10
"""Passages that are reranked, or as many as are asked for."""


class Reranker(Protocol):
    """Says how well passages answer a query."""

    @property
    def about(self) -> dict[str, Any]:
        """All that decides its scores, as JSON."""
        ...

    def scores(self, query: str, passages: Sequence[Passage]) -> list[float]:
        """A score a passage: the higher, the better."""
        ...


class CrossEncoderReranker:
    """A ``Reranker`` by a CrossEncoder of sentence-transformers."""

    def __init__(self, folder: Path) -> None:
        """Raises InputError where there is no such model, or sentence-transformers is not installed."""
        self._model = loaded("CrossEncoder", folder, "reranker")
        self.about = {"hash": folder_hash(folder), "candidates": CANDIDATES}

    def scores(self, query: str, passages: Sequence[Passage]) -> list[float]:
        """See ``Reranker.scores``."""
        pairs = [(query, text_of(passage)) for passage in passages]
        return [float(score) for score in self._model.predict(pairs, show_progress_bar=False)]


class RerankingSearcher(RankedSearcher):
    """A ``Searcher`` that puts the best of another into a reranker's order; equal ones keep theirs."""

    def __init__(self, searcher: RankedSearcher, reranker: Reranker) -> None:
        super().__init__(searcher.passages)
        self._searcher, self._reranker = searcher, reranker

    def ranked(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """See ``RankedSearcher.ranked``; scores are the reranker's."""
        found = self._searcher.ranked(queries, max(CANDIDATES, k))
        return [self._reranked(query, hits)[:k] for query, hits in zip(queries, found, strict=True)]

    def _reranked(self, query: str, hits: Sequence[Hit]) -> list[Hit]:
        numbers = [number for number, _ in hits]
        if not numbers:
            return []
        scores = self._reranker.scores(query, [self.passages[number] for number in numbers])
        return sorted(zip(numbers, scores, strict=True), key=lambda hit: -hit[1])
