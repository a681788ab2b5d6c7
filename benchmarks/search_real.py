"""Search by words, by meaning and by both, on real questions, and its speed beside sentence-transformers alone.

    make bench-search-real

The corpus, the encoder and the 542 questions are those of ``make wikipedia-data``; the index is of --kind hybrid and
--index flat (``piplay search build``). A reranker comes with ``--rerank DIR``, where there is one.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from record import record

from piplay.envs.search.bm25 import IndexSearcher
from piplay.envs.search.folder import open_index
from piplay.envs.search.neural.dense import DenseSearcher
from piplay.envs.search.neural.encoder import SentenceEncoder, text_of
from piplay.envs.search.neural.hybrid import CANDIDATES, DENSE_WEIGHT, HybridSearcher
from piplay.envs.search.neural.rerank import CrossEncoderReranker, RerankingSearcher
from piplay.envs.search.neural.vectors import VectorIndex, make, recall
from piplay.envs.search.searcher import Hit, RankedSearcher
from piplay.envs.search.shards import Shards

TOP = (1, 3, 10)
WEIGHTS = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
SAMPLE = 128
NOTES = f"""
A question counts as found at k where the article that FanOutQA names as its evidence is among the first k. `odd`
and `even` are the questions by their place in the file. The weight of the dense ranking, {DENSE_WEIGHT}, was
written down before `hybrid` had answered any of them; all that was known of them is that equal weights with a
weaker BM25 had been worse than dense alone. The `fused` rows show what others give. `per_s`: questions a second,
top 10; of `encode` rows passages or questions a second, of {SAMPLE}, beside sentence-transformers alone on the same
texts (`alone_per_s`; questions are encoded one at a time here and in batches of 32 there), and `most_apart` is the
largest difference of two numbers. `recall` is that of the index against comparing all vectors, for these questions;
of `flat` it is the share of questions whose ten passages are numpy's by float64, to the id. There is no reranker
among the packages that the data come from, so none is measured: give one with `--rerank`. The machine was shared
with other work: speeds are lower bounds, and only their ratios hold roughly.
"""


class Remembered(RankedSearcher):
    """A ranking that is computed once."""

    def __init__(self, searcher: RankedSearcher, queries: Sequence[str]) -> None:
        super().__init__(searcher.passages)
        self._found = dict(zip(queries, searcher.ranked(queries, CANDIDATES), strict=True))

    def ranked(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        return [self._found[query][:k] for query in queries]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="the folder of `make wikipedia-data`")
    parser.add_argument("index", type=Path, help="its index, of --kind hybrid and --index flat")
    parser.add_argument("--rerank", type=Path, help="a CrossEncoder's folder")
    given = parser.parse_args()
    rows = [json.loads(line) for line in (given.data / "retrieval.jsonl").read_text(encoding="utf-8").splitlines()]
    asked = [(row["question"], row["metadata"]["titles"][0]) for row in rows]
    queries = [query for query, _ in asked]
    passages = open_index(given.index).searcher.passages
    encoder = SentenceEncoder(given.data / "encoder")
    vectors = VectorIndex(given.index / "vectors.faiss")
    words = IndexSearcher(passages, Shards.load(given.index / "bm25"))
    meaning = DenseSearcher(passages, encoder, vectors)
    found = [measured("bm25", words, asked), measured("dense", meaning, asked)]
    known = Remembered(words, queries), Remembered(meaning, queries)
    for weight in WEIGHTS:
        found.append(measured(f"fused {weight:g}", HybridSearcher(passages, *known, weight), asked) | {"per_s": ""})
    hybrid = HybridSearcher(passages, words, meaning, DENSE_WEIGHT)
    found.append(measured("hybrid", hybrid, asked))
    if given.rerank is not None:
        found.append(measured("reranked", RerankingSearcher(hybrid, CrossEncoderReranker(given.rerank)), asked))
    found += indexes(vectors, encoder.queries(queries))
    found += speeds(given.data / "encoder", encoder, queries, [text_of(passage) for passage in passages])
    names = dict.fromkeys(name for row in found for name in row)
    whole = [{name: row.get(name, "") for name in names} for row in found]
    record("search-real", f"python benchmarks/search_real.py {given.data} {given.index}", whole, NOTES)
    for row in whole:
        print(row)


def measured(name: str, searcher: RankedSearcher, asked: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """How often the article is found, and how fast."""
    start = time.perf_counter()
    hits = searcher.ranked([query for query, _ in asked], max(TOP))
    seconds = time.perf_counter() - start
    titles = [[searcher.passages[number].title for number, _ in of_query] for of_query in hits]
    right = {k: np.array([title in of[:k] for of, (_, title) in zip(titles, asked, strict=True)]) for k in TOP}
    shares = {
        f"{part} @{k}": float(right[k][cut].mean())
        for part, cut in (("all", slice(None)), ("odd", slice(0, None, 2)), ("even", slice(1, None, 2)))
        for k in TOP
    }
    return {"what": name, **shares, "per_s": len(asked) / seconds}


def indexes(flat: VectorIndex, queries_Q_D: np.ndarray[Any, Any]) -> list[dict[str, Any]]:
    """Flat against numpy to the id, the others by their recall."""
    held_N_D = flat.vectors()
    assert held_N_D is not None
    exact_Q_N = queries_Q_D.astype(np.float64) @ held_N_D.astype(np.float64).T
    best = [np.lexsort((np.arange(len(row_N)), -row_N))[:10].tolist() for row_N in exact_Q_N]
    start = time.perf_counter()
    found = [[number for number, _ in hits] for hits in flat.nearest(queries_Q_D, 10)]
    seconds = time.perf_counter() - start
    same = sum(a == b for a, b in zip(found, best, strict=True)) / len(best)
    rows: list[dict[str, Any]] = [{"what": "index flat", "recall@10": same, "per_s": len(best) / seconds}]
    for kind in ("hnsw", "ivf-sq8"):
        with tempfile.TemporaryDirectory() as folder:
            make(kind, held_N_D, Path(folder) / "index")
            index = VectorIndex(Path(folder) / "index")
            start = time.perf_counter()
            index.nearest(queries_Q_D, 10)
            seconds = time.perf_counter() - start
            shares = {f"recall@{k}": share for k, share in recall(index, held_N_D, queries_Q_D).items()}
        rows.append({"what": f"index {kind}", **shares, "per_s": len(best) / seconds})
    return rows


def speeds(folder: Path, encoder: SentenceEncoder, queries: list[str], texts: list[str]) -> list[dict[str, Any]]:
    """Encoding beside sentence-transformers alone, and how far the vectors are apart."""
    from sentence_transformers import SentenceTransformer

    from piplay.envs.search.question import Passage

    alone = SentenceTransformer(str(folder), local_files_only=True)
    some, few = texts[:: -(-len(texts) // SAMPLE)], queries[:SAMPLE]
    sides = {
        "encode passages": (lambda: encoder.passages([Passage("", "", text) for text in some]), some),
        "encode questions": (lambda: encoder.queries(few), few),
    }
    rows = []
    for name, (ours, given) in sides.items():
        mine, my_seconds = timed(ours)
        theirs, their_seconds = timed(lambda given=given: alone.encode(given, normalize_embeddings=True))
        rows.append(
            {
                "what": name,
                "per_s": len(given) / my_seconds,
                "alone_per_s": len(given) / their_seconds,
                "most_apart": float(np.abs(mine - theirs).max()),
            }
        )
    return rows


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    found = work()
    return found, time.perf_counter() - start


if __name__ == "__main__":
    main()
