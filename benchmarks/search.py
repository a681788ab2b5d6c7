"""Worlds and search at scale: time and memory to make a world, to index it and to answer, and recall against BM25F.

    python benchmarks/search.py
    python benchmarks/search.py --sizes 1000 10000

Each stage runs in a process of its own, so that its peak resident size is its own. Recall is against BM25F worked out
passage by passage from its formula, without an index. A million passages take some 2 GB below ``--folder`` and, on one
core, about ten minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from apart import apart
from record import record

from piplay.envs.search.bm25 import TITLE_WEIGHT, BM25Searcher, title_token
from piplay.envs.search.corpus import read_corpus
from piplay.envs.search.words import tokenize
from piplay.envs.world.commands import make
from piplay.streams import stream

K, BATCH, QUERIES, SAMPLE = 3, 64, 2048, 48
NOTES = f"""
`make`: `piplay world make`. `index`: the first opening of the corpus, which checks it, indexes it and keeps the index.
`open`: every later one. Peak resident sizes are those of a process that does nothing else, of `search` one that opens
the corpus and answers all queries; they count pages of the mapped index, which the system can take back.

Queries per second, top {K}, in batches of {BATCH}, one thread: `names`: entity names, what the tiny base searches;
`questions`: whole held-out questions; `common`: two relation words and a number, in no name, so that much of the corpus
has to be scored. Passages are searched as a corpus is, with the title as a field of its own. Recall and order are those
of the top {K} of {SAMPLE} queries of all three kinds, against the formula.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--folder", type=Path, help="where there is room for worlds and indexes")
    arguments = parser.parse_args()
    rows = []
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            os.environ["XDG_CACHE_HOME"] = str(Path(folder) / "cache")
            rows.append(measure(size, Path(folder) / "world"))
        print(json.dumps(rows[-1]), file=sys.stderr)
    record("search", f"python benchmarks/search.py --sizes {' '.join(map(str, arguments.sizes))}", rows, NOTES)


def measure(size: int, world: Path) -> dict[str, object]:
    """One row."""
    made = apart(_make, size, world)
    indexed = apart(_index, world)
    served = apart(_serve, world)
    exact = apart(_exact, world, served.pop("sample"))
    pairs = list(zip(served.pop("found"), exact.pop("found"), strict=True))
    return {
        "passages": served["passages"],
        "make_s": made["seconds"],
        "make_peak_MiB": made["peak"],
        "index_s": indexed["seconds"],
        "index_peak_MiB": indexed["peak"],
        "open_s": served["open"],
        "names_per_s": served["names"],
        "questions_per_s": served["questions"],
        "common_per_s": served["common"],
        "search_peak_MiB": served["peak"],
        "recall": float(np.mean([len({*ours} & {*theirs}) / max(1, len(theirs)) for ours, theirs in pairs])),
        "same_order": sum(ours == theirs for ours, theirs in pairs) / len(pairs),
    }


def _make(size: int, world: Path) -> dict[str, Any]:
    make(world, size=size)
    return {}


def _index(world: Path) -> dict[str, Any]:
    BM25Searcher(read_corpus(world))
    return {}


def _serve(world: Path) -> dict[str, Any]:
    start = time.perf_counter()
    searcher = BM25Searcher(passages := read_corpus(world))
    found: dict[str, Any] = {"open": time.perf_counter() - start, "passages": len(passages)}
    lines = (world / "heldout.jsonl").read_text(encoding="utf-8").splitlines()
    rng = stream(0, ("benchmark", "search"))
    kinds = {
        "names": [passages[int(i)].title for i in rng.integers(len(passages), size=QUERIES)],
        "questions": [json.loads(line)["question"] for line in lines],
        "common": [f"mentor birth year {i}" for i in range(256)],
    }
    for kind, queries in kinds.items():
        searcher.search(queries[-BATCH:], K)
        start = time.perf_counter()
        for at in range(0, len(queries), BATCH):
            searcher.search(queries[at : at + BATCH], K)
        found[kind] = len(queries) / (time.perf_counter() - start)
    sample = [query for queries in kinds.values() for query in queries[:: len(queries) // (SAMPLE // 3)][: SAMPLE // 3]]
    ids = [[passage.id for passage in hits] for hits in searcher.search(sample, K)]
    return found | {"sample": sample, "found": ids}


def _exact(world: Path, sample: list[str], k1: float = 1.5, b: float = 0.75) -> dict[str, Any]:
    """The ids of the best passages by the formula of BM25F, read off the corpus itself."""
    queries = [[*tokenize(query), title_token(query)] for query in sample]
    wanted = {word for query in queries for word in query}
    ids: list[str] = []
    lengths: list[tuple[int, int]] = []
    holders: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    with (world / "passages.jsonl").open(encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            title, _, text = json.loads(line)["contents"].partition("\n")
            fields = [*tokenize(title), title_token(title)], tokenize(text)
            ids.append(title)
            lengths.append((len(fields[0]), len(fields[1])))
            counts = [Counter(word for word in words if word in wanted) for words in fields]
            for word in counts[0].keys() | counts[1].keys():
                holders[word].append((number, counts[0][word], counts[1][word]))
    length_N_F = np.array(lengths)
    norm_N_F = (1 - b) + b * length_N_F / length_N_F.mean(axis=0)
    given: dict[str, tuple[Any, Any]] = {}
    for word, found in holders.items():
        rows_D, title_D, text_D = np.array(found).T
        idf = np.log(1 + (len(ids) - len(found) + 0.5) / (len(found) + 0.5))
        tf_D = TITLE_WEIGHT * title_D / norm_N_F[rows_D, 0] + text_D / norm_N_F[rows_D, 1]
        given[word] = rows_D, idf * (tf_D / (k1 + tf_D))
    best = []
    for query in queries:
        score_N = np.zeros(len(ids))
        for word in query:
            if word in given:
                score_N[given[word][0]] += given[word][1]
        best.append([ids[i] for i in np.argsort(-score_N.round(9), kind="stable")[:K] if score_N[i]])
    return {"found": best}


if __name__ == "__main__":
    main()
