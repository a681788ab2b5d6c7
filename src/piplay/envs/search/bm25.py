"""BM25 over title and text: the search tool of a run that needs no index server and no model."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from piplay.envs.search.cache import kept
from piplay.envs.search.corpus import StoredPassages
from piplay.envs.search.index import FORMAT, Index
from piplay.envs.search.question import Passage

_COMPOUND = re.compile(r"[^\W_]+(?:[-.+/_:']+[^\W_]+)*")
_PART = re.compile(r"[^\W_]+")


def tokenize(text: str) -> list[str]:
    """The words ``text`` is indexed and searched by: lower-cased runs of letters and digits, in order.

    A compound, i.e. runs joined by any of ``- . + / _ : '``, stands there whole and then in its parts
    (``libgcc-s1``, ``libgcc``, ``s1``), so that its exact name outweighs its parts. No stop words, no stemming.
    Text is brought to Unicode's composed form first: an accent typed as a character of its own splits no word.
    """
    tokens = []
    for compound in _COMPOUND.findall(unicodedata.normalize("NFC", text.lower())):
        parts = _PART.findall(compound)
        tokens += parts if len(parts) == 1 else [compound, *parts]
    return tokens


def title_token(title: str) -> str:
    """One token for a whole title, unlike any word: a query that is the title, but for case and marks, holds it too."""
    return " ".join(["title:", *tokenize(title)])


class BM25Searcher:
    """A ``Searcher`` by Lucene's BM25 as bm25s computes it (Kamphuis et al., ECIR 2020, table 1, "accurate").

    For N passages of mean length L, a passage of length l holding tf of a word that df passages hold scores
    ``log(1 + (N - df + 0.5) / (df + 0.5)) * tf / (tf + k1 * (1 - b + b * l / L))``, summed over the query's words; a
    word said twice in the query counts twice.
    """

    def __init__(self, passages: Sequence[Passage], *, k1: float = 1.5, b: float = 0.75) -> None:
        """Index ``passages``; their order breaks ties.

        The index of ``StoredPassages`` is kept in the cache, made once for one content and mapped into memory.
        """
        if isinstance(passages, StoredPassages):
            self._passages: Sequence[Passage] = passages
            name = f"{passages.content}-bm25-{FORMAT}-{k1}-{b}"
            self._index: Index | None = Index.load(
                kept(name, lambda folder: Index.save(map(_words, passages), k1, b, folder))
            )
        else:
            self._passages = tuple(passages)
            words = list(map(_words, self._passages))
            self._index = Index.build(words, k1, b) if any(words) else None

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


def _words(passage: Passage) -> list[str]:
    words = tokenize(f"{passage.title}\n{passage.text}")
    return [*words, title_token(passage.title)] if passage.title else words
