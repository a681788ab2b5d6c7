"""BM25 over title and text: the search tool of a run that needs no index server and no model."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import bm25s
import numpy as np
import numpy.typing as npt

from piplay.types import Passage

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
        """Index ``passages``; their order breaks ties."""
        self._passages = tuple(passages)
        corpus = [
            tokenize(f"{passage.title}\n{passage.text}") + ([title_token(passage.title)] if passage.title else [])
            for passage in self._passages
        ]
        self._wordless = not any(corpus)
        # In float32, passages of different score can round to a tie, which the corpus order would then decide.
        self._index = bm25s.BM25(method="lucene", k1=k1, b=b, dtype="float64")
        if not self._wordless:  # bm25s divides by the mean length
            self._index.index(corpus, show_progress=False)

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """See ``Searcher.search``. Equal scores stand in corpus order; a passage without a word of the query never."""
        if k < 1:
            raise ValueError(f"k must be at least 1, not {k}")
        return [self._best([*words, title_token(query)] if (words := tokenize(query)) else [], k) for query in queries]

    def _best(self, words: list[str], k: int) -> list[Passage]:
        if not words or self._wordless:
            return []
        scores_N: npt.NDArray[np.float64] = self._index.get_scores(words)
        matching = np.flatnonzero(scores_N)  # Lucene's idf is positive, so 0 means no shared word
        # bm25s's own top-k partitions, which leaves the order of ties open.
        order = np.argsort(-scores_N[matching], kind="stable")
        return [self._passages[i] for i in matching[order[:k]]]
