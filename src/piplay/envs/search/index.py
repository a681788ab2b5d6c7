"""The index behind BM25: every word's passages with their scores, in memory or mapped from files."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import bm25s
import numpy as np
import numpy.typing as npt

FORMAT = f"1-{bm25s.__version__}"
"""Of a saved index. Its number rises when tokens, scores or files change."""
DENSE = 4000
"""Passages up to which scoring all of them is quicker than choosing."""
CROWD = 1 / 16
"""The share of a corpus from which on choosing is not tried."""

ERROR = 1e-9
"""More than the sums of scores can err, relatively: what is nearer than this to equal counts as equal."""


class Words(Protocol):
    """The number of each word."""

    def get(self, word: str, /) -> int | None:
        """None for a word of no passage."""
        ...


class Index:
    """Which passages hold a word, and what each of them scores for it by Lucene's BM25, as bm25s computes both.

    A query's score of a passage is the sum over the query's words, in float64 and in their order. In float32, passages
    of different score can round to a tie, which the corpus order would then decide.
    """

    def __init__(self, words: Words, scorer: bm25s.BM25, highest_V: npt.NDArray[np.float64]) -> None:
        """``highest_V`` is the best score that a word gives to any passage."""
        self._words, self._scorer, self._highest_V = words, scorer, highest_V
        scores = scorer.scores
        # Of mapped files plain views: a memmap's slices cost several times as much.
        self._starts_V1 = np.asarray(scores["indptr"])
        self._rows_P, self._scores_P = np.asarray(scores["indices"]), np.asarray(scores["data"])
        self._size = int(scores["num_docs"])

    @classmethod
    def build(cls, documents: Iterable[Sequence[str]], k1: float, b: float) -> Index:
        """The index of documents given as words. Raises ValueError where there is no word at all."""
        numbers, rows = _number(documents)
        return cls(numbers, *_score(rows, len(numbers), k1, b))

    @classmethod
    def save(cls, documents: Iterable[Sequence[str]], k1: float, b: float, folder: Path) -> None:
        """Build an index into an empty folder, for ``load``."""
        numbers, rows = _number(documents)
        size, order = len(numbers), sorted(numbers)
        place_V = np.empty(size, dtype=np.int32)
        place_V[[numbers[word] for word in order]] = np.arange(size)
        # Gone before scoring starts, which takes the most memory.
        del numbers
        WordTable.save(order, folder)
        del order
        rows.words = array("i", place_V[np.frombuffer(rows.words, dtype=np.int32)].tobytes())
        scorer, highest_V = _score(rows, size, k1, b)
        scorer.vocab_dict = {}
        scorer.save(folder, show_progress=False)
        np.save(folder / "highest.npy", highest_V)

    @classmethod
    def load(cls, folder: Path) -> Index:
        """A saved index; of its files only what queries touch is read."""
        scorer = bm25s.BM25.load(folder, mmap=True, load_vocab=False)
        return cls(WordTable(folder), scorer, np.load(folder / "highest.npy", mmap_mode="r"))

    def best(self, words: Sequence[str], k: int) -> list[int]:
        """The numbers of the ``k`` best passages, of equal ones the first; none without a word of the query."""
        known = [number for word in words if (number := self._words.get(word)) is not None]
        if not known:
            return []
        found = self._choose(known, k) if self._size > DENSE else None
        return self._all(known, k) if found is None else found

    def scores(self, words: Sequence[str]) -> npt.NDArray[np.float64]:
        """The score of every passage, 0 without a word of the query: (N,)."""
        known = [number for word in words if (number := self._words.get(word)) is not None]
        scores_N: npt.NDArray[np.float64] = self._scorer.get_scores_from_ids(known)
        return scores_N

    def _all(self, known: list[int], k: int) -> list[int]:
        scores_N = self._scorer.get_scores_from_ids(known)
        rows_M = np.flatnonzero(scores_N)  # Lucene's idf is positive, so 0 means no shared word
        return _top(rows_M, scores_N[rows_M], k)

    def _choose(self, known: list[int], k: int) -> list[int] | None:
        """The same without scoring every passage: MaxScore (Turtle and Flood, 1995).

        Words are taken in the order of the most that they can add. Once ``k`` passages score more than all words left
        can add, no passage without a word taken so far is among the best; from then on passages leave that cannot reach
        the best any more. None where that starts with so many passages that scoring all is quicker.
        """
        most = {number: known.count(number) * float(self._highest_V[number]) for number in known}
        order = sorted(most, key=lambda number: -most[number])
        rows_M, sums_M = np.empty(0, dtype=np.int32), np.empty(0)
        least = 0.0  # what the k-th best scores at least
        closed = False
        for taken, number in enumerate(order, 1):
            if not closed and len(rows_M) + self._count(number) > CROWD * self._size:
                # The last try before scoring all: so far only the passages that led were scored in full.
                if len(rows_M) < k:
                    return None
                least = float(np.partition(self._add(rows_M, known), -k)[-k])
                closed = least > sum(most[other] for other in order[taken - 1 :]) * (1 + ERROR)
                if not closed:
                    return None
            if closed:
                sums_M = sums_M + known.count(number) * self._given(number, rows_M)
            else:
                rows_D, scores_D = self._postings(number)
                rows_U = np.union1d(rows_M, rows_D)
                sums_U = np.zeros(len(rows_U))
                sums_U[np.searchsorted(rows_U, rows_M)] = sums_M
                sums_U[np.searchsorted(rows_U, rows_D)] += known.count(number) * scores_D
                rows_M, sums_M = rows_U, sums_U
            if len(rows_M) < k:
                continue
            left = sum(most[other] for other in order[taken:])
            if closed:
                least = max(least, float(np.partition(sums_M, -k)[-k]))
            else:
                least = float(self._add(rows_M[np.argpartition(sums_M, -k)[-k:]], known).min())
            closed = closed or least > left * (1 + ERROR)
            if closed:
                among = sums_M + left >= least * (1 - ERROR)
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
        at_M = np.minimum(np.searchsorted(rows_D, rows_M), len(rows_D) - 1)
        return np.where(rows_D[at_M] == rows_M, scores_D[at_M], 0.0)

    def _count(self, number: int) -> int:
        """How many passages hold a word."""
        return int(self._starts_V1[number + 1] - self._starts_V1[number])

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


class _Rows:
    """Documents as word numbers, one after another in one array: bm25s would take lists, at ten times the memory."""

    def __init__(self) -> None:
        self.words, self.ends = array("i"), array("q", [0])

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __iter__(self) -> Iterator[list[int]]:
        for i in range(len(self)):
            yield self.words[self.ends[i] : self.ends[i + 1]].tolist()


def _number(documents: Iterable[Sequence[str]]) -> tuple[dict[str, int], _Rows]:
    numbers: dict[str, int] = {}
    rows = _Rows()
    for document in documents:
        rows.words.extend([numbers.setdefault(word, len(numbers)) for word in document])
        rows.ends.append(len(rows.words))
    if not numbers:
        raise ValueError("no document has a word")
    return numbers, rows


def _score(rows: _Rows, size: int, k1: float, b: float) -> tuple[bm25s.BM25, npt.NDArray[np.float64]]:
    scorer = bm25s.BM25(method="lucene", k1=k1, b=b, dtype="float64")
    scorer.scores = scorer.build_index_from_ids(range(size), rows, show_progress=False)
    return scorer, np.maximum.reduceat(scorer.scores["data"], scorer.scores["indptr"][:-1])


def _top(rows_M: npt.NDArray[np.integer], scores_M: npt.NDArray[np.float64], k: int) -> list[int]:
    """The ``k`` best of ascending rows, best first, equal ones in their order."""
    if len(rows_M) > k:  # a sort of what may be among them alone
        among = np.flatnonzero(scores_M >= np.partition(scores_M, -k)[-k])
        rows_M, scores_M = rows_M[among], scores_M[among]
    found: list[int] = rows_M[np.argsort(-scores_M, kind="stable")[:k]].tolist()
    return found
