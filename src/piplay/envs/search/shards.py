"""A BM25 index in shards: parts of the corpus, made and searched one at a time, scored by the statistics of all of it.

So a build holds one shard in memory, whatever the corpus, and what is found and its scores are those of one index of
everything, to the bit.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import count, groupby, islice, repeat
from operator import itemgetter
from pathlib import Path

import numpy as np
import numpy.typing as npt

from piplay.envs.search.index import Index, WordTable
from piplay.envs.search.postings import Document, Documents, Statistics
from piplay.envs.search.searcher import Hit
from piplay.files import from_json

SHARD = 1_000_000
"""Documents of a shard at most, where nobody says."""
ABOUT = "shards.json"


class Shards:
    """Indexes of consecutive parts of a corpus, as one."""

    def __init__(self, parts: Sequence[tuple[int, Index]], size: int) -> None:
        """``parts`` come with the number of their first document, in order; of ``size`` documents in all."""
        self._parts, self.size = parts, size

    def __len__(self) -> int:
        return len(self._parts)

    def hits(self, words: Sequence[str], k: int) -> list[Hit]:
        """See ``Index.hits``."""
        best: list[Hit] = []
        for first, index in self._parts:
            least = best[-1][1] if len(best) == k else 0.0
            found = [(first + number, score) for number, score in index.hits(words, k, least)]
            # Within a part and from part to part the numbers of equal scores ascend, and the sort is stable.
            best = sorted([*best, *found], key=lambda hit: -hit[1])[:k]
        return best

    @classmethod
    def save(
        cls, documents: Iterable[Document], weights: Sequence[float], k1: float, b: float, folder: Path, size: int
    ) -> None:
        """Index documents into an empty folder, ``size`` a shard (``Documents.postings``).

        Raises ValueError where there is no word at all.
        """
        remaining = iter(documents)
        parts: dict[int, Path] = {}
        words_F, total = np.zeros(len(weights), dtype=np.int64), 0
        while (part := _count(islice(remaining, size), len(weights), folder / str(total))).size:
            if len(part.held_V):  # what has no word is found by none
                parts[total] = folder / str(total)
            words_F += part.words_F
            total += part.size
        if not parts:
            raise ValueError("no document has a word")
        for place, held_V in zip(parts.values(), _held(list(parts.values())), strict=True):
            _score(place, Statistics(total, words_F, held_V), weights, k1, b)
        (folder / ABOUT).write_text(json.dumps({"size": total, "parts": list(parts)}), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Shards:
        """A saved index; of its files only what queries touch is read."""
        about = from_json((folder / ABOUT).read_text(encoding="utf-8"))
        return cls([(first, Index.load(folder / str(first))) for first in about["parts"]], about["size"])


def shard_size(size: int, shards: int | None = None) -> int:
    """How many of ``size`` documents a shard has; ``shards`` of them, by default as many as there must be."""
    return -(-size // (shards or -(-size // SHARD)))


def _count(documents: Iterable[Document], fields: int, folder: Path) -> Statistics:
    """Write a shard's words and, for ``_score``, its documents; its own statistics."""
    found, numbers = Documents.numbered(documents, fields)
    if not numbers:
        return found.statistics(0)
    folder.mkdir()
    order = sorted(numbers)
    place_V = np.empty(len(order), dtype=np.int32)
    place_V[[numbers[word] for word in order]] = np.arange(len(order), dtype=np.int32)
    WordTable.save(order, folder)
    del order, numbers  # before the rest, which takes the most memory
    found = Documents(place_V[found.words_T], found.ends_NF1, fields)
    statistics = found.statistics(len(place_V))
    for name, array in (("tokens", found.words_T), ("ends", found.ends_NF1), ("held", statistics.held_V)):
        np.save(folder / f"{name}.npy", array)
    return statistics


def _held(folders: Sequence[Path]) -> list[npt.NDArray[np.int64]]:
    """For each shard, how many documents of the whole corpus hold each of its words."""
    own = [np.load(folder / "held.npy") for folder in folders]
    if len(own) == 1:
        return own
    counts, totals = [memoryview(held_V) for held_V in own], [np.empty_like(held_V) for held_V in own]
    written = [memoryview(held_V) for held_V in totals]
    tables = [zip(WordTable(folder), repeat(shard), count()) for shard, folder in enumerate(folders)]
    merged: Iterator[tuple[bytes, int, int]] = heapq.merge(*tables)
    for _, same in groupby(merged, key=itemgetter(0)):
        places = [(shard, word) for _, shard, word in same]
        total = sum(counts[shard][word] for shard, word in places)
        for shard, word in places:
            written[shard][word] = total
    return totals


def _score(folder: Path, corpus: Statistics, weights: Sequence[float], k1: float, b: float) -> None:
    """Turn a shard's documents into postings."""
    arrays = {name: folder / f"{name}.npy" for name in ("tokens", "ends", "held")}
    tokens_T, ends_NF1, own_V = (np.asarray(np.load(file, mmap_mode="r")) for file in arrays.values())
    Index.save(Documents(tokens_T, ends_NF1, len(weights)).postings(own_V, corpus, weights, k1, b), folder)
    for file in arrays.values():
        file.unlink()
