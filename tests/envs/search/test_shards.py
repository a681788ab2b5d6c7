"""BM25 in shards: what is found and its scores are those of one index, to the bit."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from piplay.envs.search.bm25 import BM25Searcher, fields
from piplay.envs.search.build import build
from piplay.envs.search.index import Index
from piplay.envs.search.question import Passage
from piplay.envs.search.shards import Shards, shard_size

WORDS = [f"w{i}" for i in range(12)]
TEXTS = st.lists(st.sampled_from(["amber", "birch", "cedar", "dune", "東京", "é"]), max_size=6).map(" ".join)
DOCUMENTS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=14)


def saved(folder: Path, documents: list[list[list[str]]], weights: list[float], size: int) -> Shards:
    folder.mkdir()
    Shards.save(documents, weights, 1.5, 0.75, folder, size)
    return Shards.load(folder)


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(DOCUMENTS, TEXTS, st.integers(1, 15), st.integers(1, 6), st.sampled_from([None, 5.0]))
def test_shards_find_what_one_index_finds(
    tmp_path_factory: pytest.TempPathFactory,
    pairs: list[tuple[str, str]],
    query: str,
    size: int,
    k: int,
    weight: float | None,
) -> None:
    """Titles and none, repeated passages, words of one shard alone, shards without a word."""
    passages = [Passage(str(i), title, text) for i, (title, text) in enumerate(pairs)]
    words, weights = fields(weight)
    documents = [[list(field) for field in words(passage)] for passage in passages]
    folder = tmp_path_factory.mktemp("shards") / "index"
    if not any(field for document in documents for field in document):
        with pytest.raises(ValueError, match="no document has a word"):
            saved(folder, documents, weights, size)
        return
    shards, whole = saved(folder, documents, weights, size), BM25Searcher(passages, title_weight=weight)
    asked = [query, pairs[0][0], "amber birch amber"]
    expected = whole.ranked(asked, k)
    whole._index = shards
    assert whole.ranked(asked, k) == expected


@pytest.mark.slow
def test_shards_choose_as_one_index_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where words are taken in order until no other passage can be among the best, with many ties."""
    monkeypatch.setattr("piplay.envs.search.index.DENSE", 0)
    rng = np.random.default_rng(3)
    documents = [
        [[f"w{i}" for i in rng.zipf(1.3, rng.integers(1, count)) % 40] for count in (4, 15)] for _ in range(300)
    ]
    documents += documents[:100]
    whole = Index.build(documents, [5.0, 1.0], 1.5, 0.75)
    for number, size in enumerate((7, 130, 399, 400)):
        shards = saved(tmp_path / str(number), documents, [5.0, 1.0], size)
        assert len(shards) == -(-400 // size)
        for _ in range(100):
            words, k = [f"w{i}" for i in rng.integers(0, 42, rng.integers(1, 6))], int(rng.integers(1, 30))
            assert shards.hits(words, k) == whole.hits(words, k)


def test_the_fingerprint_and_what_is_found_do_not_depend_on_the_shards(towns: Path, tmp_path: Path) -> None:
    one, three = (build(towns, tmp_path / str(count), shards=count) for count in (1, 3))
    assert one.about["index"] == three.about["index"]
    assert sorted(path.name for path in (tmp_path / "3" / "bm25").iterdir()) == ["0", "14", "28", "shards.json"]
    assert not list((tmp_path / "3").rglob("tokens.npy"))
    queries = ["town river", "Town 3", "R7 R2", ""]
    assert one.searcher.ranked(queries, 9) == three.searcher.ranked(queries, 9)


@pytest.mark.long
def test_a_build_holds_one_shard(tmp_path: Path) -> None:
    def documents() -> Iterator[list[list[str]]]:
        rng = np.random.default_rng(0)
        for _ in range(8000):
            yield [[f"w{i}" for i in rng.integers(0, 2000, 100)]]

    peaks = []
    for size in (8000, 1000):
        (tmp_path / str(size)).mkdir()
        tracemalloc.start()
        Shards.save(documents(), [1.0], 1.5, 0.75, tmp_path / str(size), size)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] / 3


@pytest.mark.parametrize(
    ("passages", "shards", "size"),
    [(1, None, 1), (10**6, None, 10**6), (10**6 + 1, None, 500_001), (21_015_324, None, 955_242), (40, 3, 14)],
)
def test_shards_are_even_and_no_larger_than_a_million(passages: int, shards: int | None, size: int) -> None:
    assert shard_size(passages, shards) == size
