"""The index behind BM25: every word's passages with their scores, in memory or mapped from files."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from piplay.envs.search.postings import Document, Documents, Postings
from piplay.envs.search.searcher import Hit

FORMULA = "3"
"""Of tokens and scores: it rises when what is found can change."""
FILES = "4"
"""Of a saved index's files: it rises when they change."""
DENSE = 4000
"""Passages up to which scoring all of them is quicker than choosing."""
ERROR = 1e-9
"""More than the sums of scores can err, relatively: what is nearer than this to equal counts as equal."""


class Words(Protocol):
    """The number of each word."""

    def get(self, word: str, /) -> int | None:
        """None for a word of no passage."""
        ...


class Index:
    """Which passages hold a word, and what each of them scores for it by BM25F.

    A query's score of a passage is the sum over the query's words, in float64 and in their order. In float32, passages
    of different score can round to a tie, which the corpus order would then decide.
    """

    def __init__(self, words: Words, postings: Postings, highest_V: npt.NDArray[np.float64]) -> None:
        """``highest_V`` is the best score that a word gives to any passage."""
        self._words, self._highest_V, self.size = words, highest_V, postings.size
        # Of mapped files plain views: a memmap's slices cost several times as much.
        self._starts_V1 = np.asarray(postings.starts_V1)
        self._rows_P, self._scores_P = np.asarray(postings.rows_P), np.asarray(postings.scores_P)

    @classmethod
    def build(cls, documents: Iterable[Document], weights: Sequence[float], k1: float, b: float) -> Index:
        """The index of documents given as words, a weight a field (``Documents.postings``).

        Raises ValueError where there is no word at all.
        """
        found, numbers = Documents.numbered(documents, len(weights))
        if not numbers:
            raise ValueError("no document has a word")
        statistics = found.statistics(len(numbers))
        postings = found.postings(statistics.held_V, statistics, weights, k1, b)
        return cls(numbers, postings, _highest(postings))

    @staticmethod
    def save(postings: Postings, folder: Path) -> None:
        """Write what ``load`` reads beside a ``WordTable``."""
        np.save(folder / "size.npy", postings.size)
        np.save(folder / "starts.npy", postings.starts_V1)
        np.save(folder / "rows.npy", postings.rows_P)
        np.save(folder / "scores.npy", postings.scores_P)
        np.save(folder / "highest.npy", _highest(postings))

    @classmethod
    def load(cls, folder: Path) -> Index:
        """A saved index; of its files only what queries touch is read."""
        starts_V1, rows_P, scores_P, highest_V = (
            np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("starts", "rows", "scores", "highest")
        )
        postings = Postings(int(np.load(folder / "size.npy")), starts_V1, rows_P, scores_P)
        return cls(WordTable(folder), postings, highest_V)

    def hits(self, words: Sequence[str], k: int, least: float = 0.0) -> list[Hit]:
        """The ``k`` best passages with their scores, best first, of equal ones the first.

        None without a word of the query. What scores less than ``least`` may be left out.
        """
        known = self._known(words)
        if not known:
            return []
        return self._choose(known, k, least * (1 - ERROR)) if self.size > DENSE else self._all(known, k)

    def scores(self, words: Sequence[str]) -> npt.NDArray[np.float64]:
        """The score of every passage, 0 without a word of the query: (N,)."""
        return self._scores(self._known(words))

    def _known(self, words: Sequence[str]) -> list[int]:
        return [number for word in words if (number := self._words.get(word)) is not None]

    def _all(self, known: list[int], k: int) -> list[Hit]:
        scores_N = self._scores(known)
        rows_M = np.flatnonzero(scores_N)  # Lucene's idf is positive, so 0 means no shared word
        return _top(rows_M, scores_N[rows_M], k)

    def _scores(self, known: list[int]) -> npt.NDArray[np.float64]:
        scores_N = np.zeros(self.size)
        for number in known:
            rows_D, scores_D = self._postings(number)
            scores_N[rows_D] += scores_D
        return scores_N

    def _choose(self, known: list[int], k: int, least: float) -> list[Hit]:
        """The same without scoring every passage: MaxScore (Turtle and Flood, 1995), with scores in place of maxima.

        Words are taken in the order of the most that they can add. What the ``k`` best passages so far score in full
        is the ``least`` that counts; a passage leaves, or is not taken up, once it cannot reach that by the words left.
        """
        most = {number: known.count(number) * float(self._highest_V[number]) for number in known}
        order = sorted(most, key=lambda number: -most[number])
        rows_M, sums_M = np.empty(0, dtype=np.int32), np.empty(0)
        for taken, number in enumerate(order, 1):
            times, left = known.count(number), sum(most[other] for other in order[taken:])
            if len(rows_M):
                sums_M = sums_M + times * self._given(number, rows_M)
            if joining := most[number] + left >= least:
                rows_D, scores_D = self._postings(number)
                sums_D = times * scores_D
                if least:
                    among = np.flatnonzero(sums_D + left >= least)
                    rows_D, sums_D = rows_D[among], sums_D[among]
                rows_M, sums_M = _joined(rows_M, sums_M, rows_D, sums_D)
            if len(rows_M) < k:
                continue
            if joining:
                best = rows_M[np.argpartition(sums_M, -k)[-k:]]
                found = float(self._add(best, known).min())
            else:
                found = float(np.partition(sums_M, -k)[-k])
            least = max(least, found * (1 - ERROR))
            among = np.flatnonzero(sums_M + left >= least)
            rows_M, sums_M = rows_M[among], sums_M[among]
        return _top(rows_M, self._add(rows_M, known), k)

    def _add(self, rows_M: npt.NDArray[np.int32], known: list[int]) -> npt.NDArray[np.float64]:
        """The passages' scores, to the bit those of ``scores``: the same terms in the same order."""
        scores_M = np.zeros(len(rows_M))
        for number in known:
            scores_M += self._given(number, rows_M)
        return scores_M

    def _given(self, number: int, rows_M: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
        """What a word gives to these passages, 0 where they do not hold it."""
        rows_D, scores_D = self._postings(number)
        at_M = np.minimum(rows_D.searchsorted(rows_M), len(rows_D) - 1)
        return np.where(rows_D[at_M] == rows_M, scores_D[at_M], 0.0)

    def _postings(self, number: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
        """A word's passages, ascending, and their scores."""
        start, end = self._starts_V1[number : number + 2].tolist()
        return self._rows_P[start:end], self._scores_P[start:end]


class WordTable:
    """Words on disk in the order of their bytes: a word's number is its place. Nothing is loaded but what is asked."""

    def __init__(self, folder: Path) -> None:
        self._text = np.load(folder / "words.npy", mmap_mode="r").data
        self._starts_V1 = np.asarray(np.load(folder / "word-starts.npy", mmap_mode="r"))
        # Queries share most of their words.
        self.get = lru_cache(maxsize=2**16)(self._find)

    def _find(self, word: str) -> int | None:
        wanted, size = word.encode(), len(self._starts_V1) - 1
        place = bisect_left(range(size), wanted, key=self._at)
        return place if place < size and self._at(place) == wanted else None

    def __iter__(self) -> Iterator[bytes]:
        """The words in their order, few of them in memory at once."""
        for first in range(0, len(self._starts_V1) - 1, 2**16):
            starts = self._starts_V1[first : first + 2**16 + 1].tolist()
            yield from (bytes(self._text[start:end]) for start, end in pairwise(starts))

    def _at(self, place: int) -> bytes:
        start, end = self._starts_V1[place : place + 2].tolist()
        return bytes(self._text[start:end])

    @classmethod
    def save(cls, words: Sequence[str], folder: Path) -> None:
        """Write words, sorted by code points, which is also the order of their UTF-8 bytes."""
        encoded = [word.encode() for word in words]
        starts_V1 = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        np.save(folder / "word-starts.npy", starts_V1)
        np.save(folder / "words.npy", np.frombuffer(b"".join(encoded), dtype=np.uint8))


def _highest(postings: Postings) -> npt.NDArray[np.float64]:
    return np.maximum.reduceat(postings.scores_P, postings.starts_V1[:-1])


def _joined(
    rows_M: npt.NDArray[np.int32],
    sums_M: npt.NDArray[np.float64],
    rows_D: npt.NDArray[np.int32],
    sums_D: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    """The rows of both, ascending, with their sums: those of the first where a row is in both."""
    if not len(rows_M):
        return rows_D, sums_D
    rows, sums = np.concatenate((rows_M, rows_D)), np.concatenate((sums_M, sums_D))
    order = np.argsort(rows, kind="stable")  # quick, of two that are sorted
    rows, sums = rows[order], sums[order]
    first = np.flatnonzero(np.diff(rows, prepend=-1))
    return rows[first], sums[first]


def _top(rows_M: npt.NDArray[np.integer], scores_M: npt.NDArray[np.float64], k: int) -> list[Hit]:
    """The ``k`` best of ascending rows with their scores, best first, equal ones in their order."""
    if len(rows_M) > k:  # a sort of what may be among them alone
        among = np.flatnonzero(scores_M >= np.partition(scores_M, -k)[-k])
        rows_M, scores_M = rows_M[among], scores_M[among]
    best = np.argsort(-scores_M, kind="stable")[:k]
    return list(zip(rows_M[best].tolist(), scores_M[best].tolist(), strict=True))
