"""Indexes of vectors against every inner product worked out by numpy."""

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from piplay.envs.search.neural.vectors import KINDS, VectorIndex, make, recall
from piplay.errors import InputError

faiss = pytest.importorskip("faiss")
Vectors = npt.NDArray[np.float32]


def unit(vectors: npt.NDArray[np.float64]) -> Vectors:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def exact(vectors_N_D: Vectors, query_D: Vectors, k: int) -> list[int]:
    """By sums that are rounded once; equal ones in their order."""
    scores = [math.fsum(products) for products in vectors_N_D.astype(float) * query_D.astype(float)]
    return sorted(range(len(scores)), key=lambda number: -scores[number])[:k]


def drawn(seed: int, size: int, dimension: int = 16) -> Vectors:
    """The later half has some of the first vectors, and the last are nearly others."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((size, dimension))
    some = size // 8
    vectors[size // 2 : size // 2 + some] = vectors[:some]
    vectors[size - some :] = vectors[some : 2 * some] + 1e-9
    return unit(vectors)


@pytest.mark.parametrize("size", [1, 8, 300])
def test_flat_finds_what_numpy_finds_to_the_id(tmp_path: Path, size: int) -> None:
    vectors, queries = drawn(0, size), drawn(1, 40)
    make("flat", vectors, tmp_path / "flat")
    index = VectorIndex(tmp_path / "flat")
    assert (index.size, index.dimension, index.kind) == (size, 16, "flat")
    for k in (1, 10, 400):
        found = index.nearest(queries, k)
        assert [[number for number, _ in hits] for hits in found] == [exact(vectors, query, k) for query in queries]
        for hits, query in zip(found, queries, strict=True):
            numbers, scores = zip(*hits, strict=True)
            assert scores == pytest.approx((vectors[list(numbers)].astype(float) @ query).tolist(), abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_query_finds_the_same_alone_and_among_others(tmp_path: Path, kind: str) -> None:
    """faiss sums one query otherwise than twenty, and of hundreds of equal vectors keeps what it likes."""
    vectors = np.concatenate([drawn(2, 700), np.repeat(drawn(3, 1), 300, axis=0)])
    queries = np.concatenate([drawn(4, 30), drawn(3, 1)])
    make(kind, vectors, tmp_path / "index")
    index = VectorIndex(tmp_path / "index")
    together = index.nearest(queries, 5)
    assert together == [index.nearest(query[None], 5)[0] for query in queries]
    assert index.nearest(queries[:0], 5) == []
    if kind == "flat":
        assert [number for number, _ in together[-1]] == [700, 701, 702, 703, 704]


@pytest.mark.slow
def test_recall_is_the_share_of_the_truly_nearest(tmp_path: Path) -> None:
    vectors, queries = drawn(5, 2000), drawn(6, 50)
    for kind in KINDS:
        make(kind, vectors, tmp_path / kind)
    index = VectorIndex(tmp_path / "ivf-sq8")
    measured = recall(index, vectors, queries)
    for k in (3, 10):
        right = 0
        for query, hits in zip(queries, index.nearest(queries, k), strict=True):
            least = vectors[exact(vectors, query, k)[-1]].astype(float) @ query
            right += sum(vectors[number].astype(float) @ query > least - 1e-6 for number, _ in hits)
        assert measured[str(k)] == pytest.approx(right / (50 * k))
    assert recall(VectorIndex(tmp_path / "flat"), vectors, queries) == {"3": 1.0, "10": 1.0}
    assert recall(VectorIndex(tmp_path / "hnsw"), vectors, queries)["10"] > 0.95


def test_files_of_others_are_mapped(tmp_path: Path) -> None:
    """As Search-R1 publishes them: written by faiss's own factory."""
    vectors = drawn(7, 100)
    for kind, name in (("flat", "Flat"), ("hnsw", "HNSW64")):
        index = faiss.index_factory(16, name, faiss.METRIC_INNER_PRODUCT)
        index.add(vectors)
        faiss.write_index(index, str(tmp_path / name))
        read = VectorIndex(tmp_path / name)
        assert read.kind == kind
        assert np.array_equal(read.at([3, 99, 3]), vectors[[3, 99, 3]])
        held = read.vectors()
        assert held is not None
        assert np.array_equal(held, vectors)
        assert [hits[0][0] for hits in read.nearest(vectors[24:50], 1)] == list(range(24, 50))


def test_what_is_no_index_is_refused_in_a_sentence(tmp_path: Path) -> None:
    vectors = drawn(8, 200)
    make("flat", vectors, tmp_path / "flat")
    whole = (tmp_path / "flat").read_bytes()
    (tmp_path / "cut").write_bytes(whole[:-100])
    (tmp_path / "text").write_bytes(b"no index")
    (tmp_path / "empty").write_bytes(b"")
    faiss.write_index(faiss.IndexFlatL2(16), str(tmp_path / "l2"))
    faiss.write_index(faiss.IndexHNSWFlat(16, 8), str(tmp_path / "hnsw-l2"))
    faiss.write_index(faiss.index_factory(16, "LSH"), str(tmp_path / "lsh"))
    other = faiss.index_factory(16, "SQ8", faiss.METRIC_INNER_PRODUCT)
    other.train(vectors)
    faiss.write_index(other, str(tmp_path / "sq8"))
    for name, said in [
        ("cut", "damaged"),
        ("text", "no index of faiss"),
        ("empty", "no index of faiss"),
        ("none", "no index of faiss"),
        ("l2", "metric L2"),
        ("hnsw-l2", "metric L2"),
        ("lsh", "give"),
        ("sq8", "give one of flat vectors"),
    ]:
        with pytest.raises(InputError, match=said) as caught:
            VectorIndex(tmp_path / name)
        assert len(str(caught.value).splitlines()) == 1
