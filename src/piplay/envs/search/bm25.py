"""BM25 over titles and texts: the search tool of a run that needs no index server and no model."""

from __future__ import annotations

from collections.abc import Sequence

from piplay.envs.search.cache import kept
from piplay.envs.search.corpus import StoredPassages
from piplay.envs.search.index import FORMAT, Index
from piplay.envs.search.postings import Document
from piplay.envs.search.question import Passage
from piplay.envs.search.words import tokenize

TITLE_WEIGHT = 5.0
"""What a word in a title counts for one in the text: with b = 0.75, BM25F's usual order of size."""


def title_token(title: str) -> str:
    """One token for a whole title, unlike any word: a query that is the title, but for case and marks, holds it too."""
    return " ".join(["title:", *tokenize(title)])


class BM25Searcher:
    """A ``Searcher`` by BM25F (``Documents.postings``), summed over the query's words.

    A word said twice in the query counts twice.
    """

    def __init__(
        self,
        passages: Sequence[Passage],
        *,
        title_weight: float | None = TITLE_WEIGHT,
        k1: float = 1.5,
        b: float = 0.75,
    ) -> None:
        """Index ``passages``; their order breaks ties.

        The index of ``StoredPassages`` is kept in the cache, made once for one content and mapped into memory.
        ``title_weight`` is what a word in the title counts, 1 what one in the text does; None takes title and text
        together as one field (BM25).
        """
        words, weights = (_one_field, [1.0]) if title_weight is None else (_two_fields, [title_weight, 1.0])
        if isinstance(passages, StoredPassages):
            self._passages: Sequence[Passage] = passages
            name = f"{passages.content}-bm25-{FORMAT}-{title_weight}-{k1}-{b}"
            self._index: Index | None = Index.load(
                kept(name, lambda folder: Index.save(map(words, passages), weights, k1, b, folder))
            )
        else:
            self._passages = tuple(passages)
            documents = list(map(words, self._passages))
            wordless = not any(field for document in documents for field in document)
            self._index = None if wordless else Index.build(documents, weights, k1, b)

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """See ``Searcher.search``. Equal scores stand in corpus order; a passage without a word of the query never."""
        if k < 1:
            raise ValueError(f"k must be at least 1, not {k}")
        found = {query: self._best(query, k) for query in dict.fromkeys(queries)}
        return [list(found[query]) for query in queries]

    def _best(self, query: str, k: int) -> list[Passage]:
        words = tokenize(query)
        if not words or self._index is None:
            return []
        return [self._passages[i] for i in self._index.best([*words, title_token(query)], k)]


def _one_field(passage: Passage) -> Document:
    words = tokenize(f"{passage.title}\n{passage.text}")
    return ([*words, title_token(passage.title)] if passage.title else words,)


def _two_fields(passage: Passage) -> Document:
    title = [*tokenize(passage.title), title_token(passage.title)] if passage.title else []
    return title, tokenize(passage.text)
