"""BM25 in shards: time and memory to index passages as one and in parts, and what is found by both.

    python benchmarks/search_shards.py
    python benchmarks/search_shards.py --sizes 5000000:5

Passages are synthetic: words drawn from a Zipf distribution over a million, titles of two. Each build and each search
runs in a process of its own, so that its peak resident size is its own.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from apart import apart
from record import record

from piplay.envs.search.bm25 import K1, TITLE_WEIGHT, B, title_token
from piplay.envs.search.shards import Shards

VOCABULARY, K, QUERIES = 1_000_000, 10, 500
NOTES = """
`build`: words counted, document frequencies joined, scores written. `questions`: queries a second of eight words, three
of them common, top 10, one thread, of an index that is mapped. Peak resident sizes are those of a process that does
nothing else; of a search they count pages of the mapped index, which the system can take back. `found`: the beginning
of a hash of all numbers and scores, to the bit. The machine was shared with other work while this ran, so times are
upper bounds; memory and what is found do not depend on it.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--sizes", nargs="+", default=["1000000:1", "1000000:4", "5000000:5"], metavar="PASSAGES:SHARDS"
    )
    parser.add_argument("--words", type=int, default=50, help="of a passage")
    parser.add_argument("--folder", type=Path, help="where there is room for the indexes")
    given = parser.parse_args()
    rows = []
    for passages, shards in (map(int, size.split(":")) for size in given.sizes):
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            built = apart(build, passages, given.words, shards, Path(folder))
            size = sum(file.stat().st_size for file in Path(folder).rglob("*.npy"))
            asked = apart(ask, passages, Path(folder))
        rows.append(
            {
                "passages": passages,
                "shards": shards,
                "build_s": built["seconds"],
                "build_peak_MiB": built["peak"],
                "disk_MB": size / 1e6,
                "questions_per_s": asked["per_s"],
                "search_peak_MiB": asked["peak"],
                "found": asked["found"],
            }
        )
        print(rows[-1], flush=True)
    command = f"python benchmarks/search_shards.py --sizes {' '.join(given.sizes)} --words {given.words}"
    record("search-shards", command, rows, NOTES)


def documents(passages: int, words: int) -> Iterator[tuple[list[str], list[str]]]:
    """Titles and texts as words, the same at each call."""
    names = [f"w{number}" for number in range(VOCABULARY)]
    for start in range(0, passages, 10_000):
        drawn = ranks(np.random.default_rng(start), (min(10_000, passages - start), words + 2))
        for row in drawn.tolist():
            spelt = [names[rank] for rank in row]
            title = " ".join(spelt[:2])
            yield [*spelt[:2], title_token(title)], spelt[2:]


def ranks(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Ranks of words, about 1 / rank of each."""
    return np.exp(rng.random(shape) * np.log(VOCABULARY)).astype(np.int64) - 1


def build(passages: int, words: int, shards: int, folder: Path) -> dict[str, Any]:
    Shards.save(documents(passages, words), [TITLE_WEIGHT, 1.0], K1, B, folder, -(-passages // shards))
    return {}


def ask(passages: int, folder: Path) -> dict[str, Any]:
    index, rng = Shards.load(folder), np.random.default_rng(-1 % 2**32)
    rare = ranks(rng, (QUERIES, 5)).tolist()
    common = rng.integers(0, 30, (QUERIES, 3)).tolist()
    queries = [[f"w{rank}" for rank in (*few, *many)] for few, many in zip(rare, common, strict=True)]
    for words in queries[:20]:
        index.hits(words, K)
    start = time.perf_counter()
    found = [index.hits(words, K) for words in queries]
    seconds = time.perf_counter() - start
    return {"per_s": QUERIES / seconds, "found": hashlib.sha256(repr(found).encode()).hexdigest()[:12]}


if __name__ == "__main__":
    main()
