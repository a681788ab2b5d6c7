"""BM25 over titles and texts: the search tool of a run that needs no index server and no model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from piplay.envs.search.cache import kept
from piplay.envs.search.corpus import StoredPassages
from piplay.envs.search.index import FILES, FORMULA, Index
from piplay.envs.search.postings import Document
from piplay.envs.search.question import Passage
from piplay.envs.search.searcher import Hit, RankedSearcher
from piplay.envs.search.shards import Shards, shard_size
from piplay.envs.search.words import tokenize

TITLE_WEIGHT = 5.0
"""What a word in a title counts for one in the text: with b = 0.75, BM25F's usual order of size."""
K1, B = 1.5, 0.75
"""BM25's own constants: how fast a repeated word stops to count, and what a field's length does."""


def title_token(title: str) -> str:
    """One token for a whole title, unlike any word: a query that is the title, but for case and marks, holds it too."""
    return " ".join(["title:", *tokenize(title)])


class IndexSearcher(RankedSearcher):
    """A ``Searcher`` by an index that there is already: BM25F, summed over the query's words.

    A word said twice in the query counts twice; a passage without a word of the query is never found.
    """

    def __init__(self, passages: Sequence[Passage], index: Index | Shards | None) -> None:
        """``index`` is that of ``passages``, None where they have not one word."""
        super().__init__(passages)
        self._index = index

    def ranked(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """See ``RankedSearcher.ranked``."""
        return [self._index.hits(_words(query), k) if self._index else [] for query in queries]


class BM25Searcher(IndexSearcher):
    """A ``Searcher`` by BM25F (``Documents.postings``) that makes its index."""

    def __init__(
        self,
        passages: Sequence[Passage],
        *,
        title_weight: float | None = TITLE_WEIGHT,
        k1: float = K1,
        b: float = B,
    ) -> None:
        """Index ``passages``; their order breaks ties.

        The index of ``StoredPassages`` is kept in the cache, made once for one content and mapped into memory.
        ``title_weight`` is what a word in the title counts, 1 what one in the text does; None takes title and text
        together as one field (BM25).
        """
        words, weights = fields(title_weight)
        if isinstance(passages, StoredPassages):
            name = f"{passages.content}-bm25-{FILES}-{FORMULA}-{title_weight}-{k1}-{b}"
            size = shard_size(len(passages))
            folder = kept(name, lambda folder: Shards.save(map(words, passages), weights, k1, b, folder, size))
            super().__init__(passages, Shards.load(folder))
            return
        passages = tuple(passages)
        documents = list(map(words, passages))
        wordless = not any(field for document in documents for field in document)
        super().__init__(passages, None if wordless else Index.build(documents, weights, k1, b))


def fields(title_weight: float | None) -> tuple[Callable[[Passage], Document], list[float]]:
    """What makes the words of a passage's fields, and what a word counts in each."""
    return (_one_field, [1.0]) if title_weight is None else (_two_fields, [title_weight, 1.0])


def _words(query: str) -> list[str]:
    """What is looked up for a query; nothing where it has no word."""
    words = tokenize(query)
    return [*words, title_token(query)] if words else []


def _one_field(passage: Passage) -> Document:
    words = tokenize(f"{passage.title}\n{passage.text}")
    return ([*words, title_token(passage.title)] if passage.title else words,)


def _two_fields(passage: Passage) -> Document:
    title = [*tokenize(passage.title), title_token(passage.title)] if passage.title else []
    return title, tokenize(passage.text)
