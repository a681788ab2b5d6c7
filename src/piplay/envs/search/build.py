"""Making an index folder: a corpus indexed by BM25, by vectors, or by both."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from piplay.envs.search.bm25 import fields
from piplay.envs.search.corpus import write_passages
from piplay.envs.search.folder import (
    ABOUT,
    BM25,
    KINDS,
    VECTORS,
    SearchIndex,
    described,
    fingerprint,
    open_index,
    versions,
)
from piplay.envs.search.neural import encoder as encoders
from piplay.envs.search.neural import vectors
from piplay.envs.search.neural.hybrid import DENSE_WEIGHT
from piplay.envs.search.question import Passage
from piplay.envs.search.shards import Shards, shard_size
from piplay.envs.search.words import beginning
from piplay.errors import InputError
from piplay.files import digest, storing, write_folder

EXACT = 1_000_000
"""Passages up to which every vector is compared, where nobody says."""
LOW = 0.95
"""A recall below it is said."""
CHUNK = 4096
"""Passages that are encoded between two writes."""
ALIKE = 0.9
"""The least cosine of an imported vector to the encoder's own: other batches and half precision change less."""
_SAMPLE, _QUERIES, _QUERY_WORDS = 32, 1000, 12
"""Imported vectors that are compared; queries of a recall, each so many first words of a passage."""
_LIBRARIES = ("torch", "transformers", "sentence-transformers")


@dataclass(frozen=True)
class Dense:
    """How passages become vectors."""

    encoder: Path
    """A folder of sentence-transformers."""
    index: str | None = None
    """flat, hnsw or ivf-sq8; by default flat up to a million passages, then ivf-sq8."""
    imported: Path | None = None
    """A file of faiss with the passages' vectors in their order, in the place of encoding them."""
    query_prefix: str | None = None
    passage_prefix: str | None = None
    """See ``SentenceEncoder``."""


def build(
    corpus: Path,
    out: Path,
    title_weight: float | None = None,
    words: int = 50,
    strict: bool = False,
    shards: int | None = None,
    kind: str = "bm25",
    dense: Dense | None = None,
    dense_weight: float = DENSE_WEIGHT,
    tell: Callable[[str], None] = lambda _: None,
) -> SearchIndex:
    """Index a corpus into a new folder, whole or not at all. Beside the encoder it needs nothing outside it.

    Args:
        corpus: see ``read_corpus``.
        out: the folder.
        title_weight: see ``BM25Searcher``; by default what a run takes, see ``usual_weight``.
        words: of a passage, where documents are cut.
        strict: whether what cannot be read of the corpus is refused.
        shards: parts of BM25's index that are made one after the other; what is found does not depend on them. By
            default as many as keep each at 1,000,000 passages at most.
        kind: bm25, dense or hybrid.
        dense: for the last two.
        dense_weight: what the dense ranking counts in a hybrid, 0 to 1; BM25's counts the rest.
        tell: is given a sentence from time to time.

    Raises InputError where the corpus cannot be read, has not one word, or the folder exists or cannot be written; and
    where encoder and vectors do not fit each other or the corpus.
    """
    _check(out, shards, kind, dense, dense_weight)
    passages, about = described(corpus, title_weight, words, strict)
    about["kind"] = kind

    def write(new: Path) -> None:
        write_passages(passages, new)
        if kind != "dense":
            (new / BM25).mkdir()
            _write_bm25(corpus, passages, about, shard_size(len(passages), shards), new / BM25)
        if dense is not None:
            about["dense"] = _write_vectors(passages, dense, new / VECTORS, tell)
            about["encoder"] = str(dense.encoder.absolute())
        if kind == "hybrid":
            about["dense_weight"] = dense_weight
        made_with = versions()
        if dense is not None:
            made_with |= {"faiss": vectors.the_library().__version__, **{name: version(name) for name in _LIBRARIES}}
        whole = {"index": fingerprint(about), **about, "versions": made_with, "made_of": str(corpus.absolute())}
        (new / ABOUT).write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    with storing(out, "name a folder that can"):
        write_folder(out, write)
    return open_index(out)


def _check(out: Path, shards: int | None, kind: str, dense: Dense | None, dense_weight: float) -> None:
    if out.exists():
        raise InputError(f"{out} exists already: name a new folder or remove it")
    if shards is not None and shards < 1:
        raise InputError(f"--shards is {shards}: give at least 1")
    if kind not in KINDS:
        raise InputError(f"--kind is {kind!r}: give one of {', '.join(KINDS)}")
    if (dense is None) != (kind == "bm25"):
        raise InputError(
            f"--kind {kind} needs an encoder: give its folder with --encoder"
            if dense is None
            else "--encoder is for --kind dense or hybrid: give one of them, or leave the encoder out"
        )
    if not 0 <= dense_weight <= 1:
        raise InputError(f"--dense-weight is {dense_weight}: give a number from 0 to 1")
    if dense is not None and dense.index not in (None, *vectors.KINDS):
        raise InputError(f"--index is {dense.index!r}: give one of {', '.join(vectors.KINDS)}")
    if dense is not None and dense.imported is not None:
        if dense.index is not None:
            raise InputError("--index says how vectors are indexed, and --import brings an index: give one of them")
        if not dense.imported.is_file():
            raise InputError(f"{dense.imported} does not exist: give a file that faiss has written")


def _write_bm25(corpus: Path, passages: Sequence[Passage], about: dict[str, Any], size: int, folder: Path) -> None:
    of_fields, weights = fields(about["title_weight"])
    try:
        Shards.save(map(of_fields, passages), weights, about["k1"], about["b"], folder, size)
    except ValueError as error:
        raise InputError(f"{corpus} has not one word: there is nothing to search") from error


def _write_vectors(
    passages: Sequence[Passage], dense: Dense, file: Path, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Write an index of vectors; what it is, with its recall where the true vectors are there to compare with."""
    vectors.the_library()  # before hours of encoding
    encoder = encoders.SentenceEncoder(dense.encoder, dense.query_prefix, dense.passage_prefix)
    raw = file.with_name("raw.npy")
    exact: vectors.Vectors | None
    if dense.imported is None:
        kind = dense.index or ("flat" if len(passages) <= EXACT else "ivf-sq8")
        encoded = _encoded(passages, encoder, raw, tell)
        vectors.make(kind, encoded, file)
        index, exact = vectors.VectorIndex(file), encoded
    else:
        _bring(dense.imported, file)
        index = vectors.VectorIndex(file)
        _check_imported(dense.imported, index, passages, encoder)
        exact = index.vectors()
    recall = None
    if exact is not None:
        step = -(-len(passages) // _QUERIES)
        queries = [beginning(passage.text, _QUERY_WORDS) for passage in passages[::step]]
        recall = vectors.recall(index, exact, encoder.queries(queries))
        tell(_recalled(index.kind, recall, len(queries)))
    raw.unlink(missing_ok=True)
    return {"encoder": encoder.about, "vectors": index.kind, "recall": recall, "hash": digest(file)}


def _encoded(
    passages: Sequence[Passage], encoder: encoders.Encoder, file: Path, tell: Callable[[str], None]
) -> vectors.Vectors:
    """The vectors of all passages, in a file: (N, D)."""
    shape = (len(passages), encoder.about["dimension"])
    found = np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=shape)
    for start in range(0, len(passages), CHUNK):
        found[start : start + CHUNK] = encoder.passages(passages[start : start + CHUNK])
        tell(f"{min(start + CHUNK, len(passages))} of {len(passages)} passages are encoded")
    return np.asarray(found)


def _bring(source: Path, file: Path) -> None:
    """A file of tens of gigabytes under a second name, or a copy where the file system is another."""
    try:
        os.link(source.resolve(), file)
    except OSError:
        shutil.copyfile(source, file)


def _check_imported(
    source: Path, index: vectors.VectorIndex, passages: Sequence[Passage], encoder: encoders.Encoder
) -> None:
    """Raises InputError where vectors are not those of these passages by this encoder."""
    if index.size != len(passages):
        raise InputError(
            f"{source} has {index.size} vectors, and the corpus {len(passages)} passages: give the corpus that it was "
            "made of"
        )
    if index.dimension != encoder.about["dimension"]:
        raise InputError(
            f"{source} has vectors of {index.dimension} numbers, and the encoder makes {encoder.about['dimension']}: "
            "give the encoder that it was made with"
        )
    numbers = list(range(0, len(passages), -(-len(passages) // _SAMPLE)))
    own = encoder.passages([passages[number] for number in numbers])
    stored = index.at(numbers)
    cosines = (own * stored).sum(axis=1) / np.linalg.norm(stored, axis=1).clip(1e-12)
    if (cosine := float(np.median(cosines))) < ALIKE:
        raise InputError(
            f"the vectors of {source} are not those of the corpus's passages by the encoder (their cosine is "
            f"{cosine:.2f}): give the corpus and the encoder that they were made with, and its --passage-prefix"
        )


def _recalled(kind: str, recall: dict[str, float], queries: int) -> str:
    shares = ", ".join(f"recall@{k} {share:.3f}" for k, share in recall.items())
    said = f"{kind}: {shares} against comparing every vector, on {queries} queries"
    if min(recall.values()) < LOW:
        said += f"; this is below {LOW}: --index hnsw finds more at more memory, flat all"
    return said
