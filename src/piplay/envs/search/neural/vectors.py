"""Indexes of vectors by faiss: flat, HNSW and IVF with one byte a number, mapped from a file.

Axes: N passage, Q query, C vector that faiss proposes, K one of the k nearest, D number of a vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from piplay.envs.search.neural.models import INSTALL
from piplay.envs.search.searcher import Hit
from piplay.errors import InputError, in_a_line

KINDS = ("flat", "hnsw", "ivf-sq8")
RECALLED = (3, 10)
"""The k of the recalls that are measured."""
MORE = 32
"""Vectors beyond k that are found first: faiss's sums are of float32, and what is nearly equal is summed again."""
SLACK = 1e-4
"""More than the sums of float32 err, relatively, of vectors of length 1 and up to a few thousand numbers."""
LINKS, WIDTH = 32, 128
"""HNSW's links a vector, and how many candidates it keeps while it builds and searches."""
TRAINED, PER_LIST = 2**18, 39
"""Vectors at most that IVF's lists are made from, and at least for each (faiss's own bound)."""
PROBED = 1 / 8
"""The share of IVF's lists that a query visits."""
Vectors = npt.NDArray[np.float32]


class VectorIndex:
    """The vectors of passages, by their numbers; nearest is what has the largest inner product."""

    def __init__(self, file: Path) -> None:
        """Map a file that faiss wrote. Raises InputError where it is none, or faiss is not installed."""
        faiss = the_library()
        try:
            self._index: Any = faiss.read_index(str(file), faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError as error:
            raise InputError(
                f"{file} is no index of faiss, or is damaged ({in_a_line(error)[-120:]}): build or import it again"
            ) from error
        if self._index.metric_type != faiss.METRIC_INNER_PRODUCT:
            raise InputError(f"{file} has the metric L2: give an index of inner products (faiss.METRIC_INNER_PRODUCT)")
        self._kind = next((kind for kind, of in _types().items() if type(self._index) is of), None)
        if self._kind is None:
            raise InputError(
                f"{file} is a {type(self._index).__name__}: give one of flat vectors (IndexFlatIP), of HNSW "
                "(IndexHNSWFlat) or of IVF with SQ8 (IndexIVFScalarQuantizer)"
            )
        if self._kind == "ivf-sq8":
            self._index.make_direct_map()

    @property
    def kind(self) -> str:
        """Of ``KINDS``."""
        return str(self._kind)

    @property
    def size(self) -> int:
        """Vectors."""
        return int(self._index.ntotal)

    @property
    def dimension(self) -> int:
        """Numbers of a vector."""
        return int(self._index.d)

    def nearest(self, queries_Q_D: Vectors, k: int) -> list[list[Hit]]:
        """The ``k`` nearest for each query, with their inner products in float64; equal ones in corpus order.

        What is found for a query does not depend on the others: faiss proposes, and where its sums in float32 leave
        open what is among the best, it is asked for more.
        """
        found: list[list[Hit]] = [[] for _ in queries_Q_D]
        remaining, count = list(range(len(queries_Q_D))), k + MORE
        while remaining:
            numbers_Q_C, rough_Q_C = self._proposed(queries_Q_D[remaining], min(count, self.size))
            again = []
            for at, numbers_C, rough_C in zip(remaining, numbers_Q_C, rough_Q_C, strict=True):
                numbers_C = np.sort(numbers_C[numbers_C >= 0])
                hits = self._exactly(queries_Q_D[at], numbers_C)
                found[at] = hits[:k]
                open_end = len(numbers_C) == count < self.size
                if open_end and rough_C[-1] >= hits[k - 1][1] - SLACK * max(1.0, abs(hits[k - 1][1])):
                    again.append(at)
            remaining, count = again, 4 * count
        return found

    def at(self, numbers: Sequence[int]) -> Vectors:
        """These vectors as the index holds them: (N, D)."""
        found: Vectors = self._index.reconstruct_batch(np.asarray(numbers, dtype=np.int64))
        return found

    def vectors(self) -> Vectors | None:
        """The vectors that the file holds, (N, D), without a copy; None where it holds them rounded."""
        faiss = the_library()
        if self._kind == "ivf-sq8":
            return None
        flat = faiss.downcast_index(self._index.storage) if self._kind == "hnsw" else self._index
        found: Vectors = faiss.rev_swig_ptr(flat.get_xb(), self.size * self.dimension)
        return found.reshape(self.size, self.dimension)

    def _proposed(self, queries_Q_D: Vectors, count: int) -> tuple[npt.NDArray[np.int64], Vectors]:
        """faiss's own nearest, best first: numbers, −1 where there are no more, and inner products."""
        faiss = the_library()
        if self._kind == "flat":
            rough, numbers = self._index.search(queries_Q_D, count)
        elif self._kind == "hnsw":
            wide = faiss.SearchParametersHNSW(efSearch=max(WIDTH, count))
            rough, numbers = self._index.search(queries_Q_D, count, params=wide)
        else:  # one by one: the lists to visit are chosen by other sums for twenty queries than for one
            each = [self._index.search(query_D[None], count) for query_D in queries_Q_D]
            rough, numbers = (np.concatenate(parts) for parts in zip(*each, strict=True))
        return numbers, rough

    def _exactly(self, query_D: Vectors, numbers_C: npt.NDArray[np.int64]) -> list[Hit]:
        """These vectors, given in ascending order, by their inner products in float64."""
        if not len(numbers_C):
            return []
        vectors_C_D = self._index.reconstruct_batch(numbers_C).astype(np.float64)
        # Each sum by itself: a product of matrices adds in an order that depends on their shapes.
        scores_C = (vectors_C_D * query_D.astype(np.float64)).sum(axis=1)
        order_C = np.argsort(-scores_C, kind="stable")
        return list(zip(numbers_C[order_C].tolist(), scores_C[order_C].tolist(), strict=True))


def make(kind: str, vectors_N_D: Vectors, file: Path) -> None:
    """Index vectors, which may be mapped from a file, into a file."""
    faiss = the_library()
    size, dimension = vectors_N_D.shape
    if kind == "flat":
        index = faiss.IndexFlatIP(dimension)
    elif kind == "hnsw":
        index = faiss.IndexHNSWFlat(dimension, LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = index.hnsw.efSearch = WIDTH
    else:
        lists = max(1, min(round(4 * size**0.5), size // PER_LIST))
        index = faiss.index_factory(dimension, f"IVF{lists},SQ8", faiss.METRIC_INNER_PRODUCT)
        index.nprobe = max(1, round(PROBED * lists))
        index.train(np.ascontiguousarray(vectors_N_D[:: -(-size // TRAINED)]))
    for start in range(0, size, 2**16):
        index.add(np.ascontiguousarray(vectors_N_D[start : start + 2**16]))
    faiss.write_index(index, str(file))


def recall(index: VectorIndex, vectors_N_D: Vectors, queries_Q_D: Vectors) -> dict[str, float]:
    """The share of the truly nearest among those that the index finds, by k; of equal ones any counts."""
    most = min(max(RECALLED), index.size)
    exact_Q_K, _ = the_library().knn(queries_Q_D, vectors_N_D, most, metric=the_library().METRIC_INNER_PRODUCT)
    found = index.nearest(queries_Q_D, most)
    shares: dict[str, float] = {}
    for k in (min(k, most) for k in RECALLED):
        right = 0
        for query_D, exact_K, hits in zip(queries_Q_D, exact_Q_K, found, strict=True):
            scores_K = vectors_N_D[[number for number, _ in hits[:k]]] @ query_D
            right += int((scores_K >= exact_K[k - 1] - 1e-6).sum())
        shares[str(k)] = right / (k * len(queries_Q_D))
    return shares


def the_library() -> Any:
    """faiss. Raises InputError where it is not installed."""
    try:
        import faiss
    except ModuleNotFoundError as error:
        raise InputError(f"an index of vectors needs {error.name}: {INSTALL}") from error
    return faiss


def _types() -> dict[str, type]:
    faiss = the_library()
    return dict(zip(KINDS, (faiss.IndexFlatIP, faiss.IndexHNSWFlat, faiss.IndexIVFScalarQuantizer), strict=True))
