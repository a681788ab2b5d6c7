"""From documents to postings: which documents hold each word, and what each scores for it by BM25F."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_AT_ONCE = 2**20
"""Words whose documents are sorted at once."""
Document = Sequence[Sequence[str]]
"""The words of each field."""


@dataclass(frozen=True, slots=True)
class Postings:
    """Word v is held by the documents ``rows_P[starts_V1[v] : starts_V1[v + 1]]``, ascending, with their scores."""

    size: int
    """Documents."""
    starts_V1: npt.NDArray[np.int64]
    rows_P: npt.NDArray[np.int32]
    scores_P: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a score takes of the whole corpus, of which the documents that are scored may be a part."""

    size: int
    """Documents."""
    words_F: npt.NDArray[np.int64]
    """Words of each field, all documents together."""
    held_V: npt.NDArray[np.int64]
    """How many documents hold each of the words."""


class Documents:
    """Documents as word numbers, field after field and one after another in one array."""

    def __init__(self, words_T: npt.NDArray[np.int32], ends_NF1: npt.NDArray[np.int64], fields: int) -> None:
        """``ends_NF1`` has 0, and where each field of each document ends in ``words_T``."""
        self.words_T, self.ends_NF1 = words_T, ends_NF1
        self.length_N_F = np.diff(ends_NF1).reshape(-1, fields)

    @classmethod
    def numbered(cls, documents: Iterable[Document], fields: int) -> tuple[Documents, dict[str, int]]:
        """Documents given as words, and each word's number, in the order in which the words come."""
        words, ends = array("i"), array("q", [0])
        numbers: dict[str, int] = {}
        for document in documents:
            for field in document:
                words.extend([numbers.setdefault(word, len(numbers)) for word in field])
                ends.append(len(words))
        return cls(np.frombuffer(words, dtype=np.int32), np.frombuffer(ends, dtype=np.int64), fields), numbers

    def statistics(self, vocabulary: int) -> Statistics:
        """Those of these documents alone, whose words have the numbers below ``vocabulary``."""
        held_V = np.zeros(vocabulary, dtype=np.int64)
        for first, last in self._parts():
            np.add.at(held_V, self._sorted(first, last)[0], 1)
        return Statistics(len(self.length_N_F), self.length_N_F.sum(axis=0), held_V)

    def postings(
        self, own_V: npt.NDArray[np.int64], corpus: Statistics, weights: Sequence[float], k1: float, b: float
    ) -> Postings:
        """BM25F: Zaragoza et al., "Microsoft Cambridge at TREC-13" (2004), with Lucene's inverse document frequency.

        A document of length l_f in field f, where l̄_f is the mean, that holds a word tf_f times in it scores

            log(1 + (N − df + 0.5) / (df + 0.5)) · tf / (k1 · n + tf),   tf = Σ_f w_f · tf_f · n / n_f

        with n_f = 1 − b + b · l_f / l̄_f and n that of the last field. With one field it is BM25. ``own_V`` is how many
        of these documents hold each word; N, df and l̄ are those of ``corpus``.
        """
        mean_F = corpus.words_F / corpus.size
        norm_N_F = (1 - b) + b * self.length_N_F / np.where(mean_F, mean_F, 1)
        share_N_F = np.asarray(weights) * norm_N_F[:, -1:] / np.where(norm_N_F, norm_N_F, 1)
        share_N_F[:, -1] = weights[-1]
        starts_V1 = np.concatenate([[0], np.cumsum(own_V)])
        rows_P, scores_P = np.empty(starts_V1[-1], np.int32), np.empty(starts_V1[-1])
        idf_V, next_V = _idf(corpus.held_V, corpus.size), starts_V1[:-1].copy()
        for first, last in self._parts():
            word_U, row_U, starts_U, order_T = self._sorted(first, last)
            share_T = np.repeat(share_N_F[first:last].ravel(), self.length_N_F[first:last].ravel())[order_T]
            tf_U = np.add.reduceat(share_T, starts_U)
            begins_U = np.flatnonzero(np.diff(word_U, prepend=-1))
            place_U = np.arange(len(word_U)) - np.repeat(begins_U, np.diff(begins_U, append=len(word_U)))
            place_U += next_V[word_U]
            rows_P[place_U] = row_U
            scores_P[place_U] = idf_V[word_U] * (tf_U / (k1 * norm_N_F[row_U, -1] + tf_U))
            next_V[word_U[begins_U]] += np.diff(begins_U, append=len(word_U))
        return Postings(len(self.length_N_F), starts_V1, rows_P, scores_P)

    def _parts(self) -> list[tuple[int, int]]:
        """Stretches of documents of some ``_AT_ONCE`` words, those without a word left out."""
        ends_N1 = self.ends_NF1[:: self.length_N_F.shape[1]]
        cuts = np.unique(np.searchsorted(ends_N1, np.arange(0, ends_N1[-1] + _AT_ONCE, _AT_ONCE)))
        return [
            (int(first), int(last))
            for first, last in zip(cuts, np.minimum(cuts[1:], len(ends_N1) - 1), strict=False)
            if ends_N1[first] < ends_N1[last]
        ]

    def _sorted(self, first: int, last: int) -> tuple[npt.NDArray[np.int64], ...]:
        """Of some documents: each pair of a word and a document, by word, and where its words begin in ``order_T``."""
        length_D = self.length_N_F[first:last].sum(axis=1)
        fields = self.length_N_F.shape[1]
        words_T = self.words_T[self.ends_NF1[first * fields] : self.ends_NF1[last * fields]]
        pair_T = words_T.astype(np.int64) * (last - first) + np.repeat(np.arange(last - first), length_D)
        order_T = np.argsort(pair_T, kind="stable")
        pair_T = pair_T[order_T]
        starts_U = np.flatnonzero(np.diff(pair_T, prepend=-1))
        word_U, row_U = np.divmod(pair_T[starts_U], last - first)
        return word_U, row_U + first, starts_U, order_T


def _idf(held_V: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.float64]:
    """log(1 + (N − df + 0.5) / (df + 0.5)) of each word that df of N documents hold."""
    counts, which_V = np.unique(held_V, return_inverse=True)
    idf = [math.log(1 + (size - count + 0.5) / (count + 0.5)) for count in counts.tolist()]
    return np.array(idf)[which_V]
