"""An index in a folder: passages, a BM25 index, vectors or both, and ``index.json``: what it was made of."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from piplay.envs.search.bm25 import K1, TITLE_WEIGHT, B, BM25Searcher, IndexSearcher
from piplay.envs.search.corpus import open_passages, read_corpus
from piplay.envs.search.index import FORMULA
from piplay.envs.search.neural import encoder as encoders
from piplay.envs.search.neural import rerank as rerankers
from piplay.envs.search.neural.dense import DenseSearcher
from piplay.envs.search.neural.hybrid import HybridSearcher
from piplay.envs.search.neural.vectors import VectorIndex
from piplay.envs.search.question import Passage
from piplay.envs.search.searcher import RankedSearcher
from piplay.envs.search.shards import Shards
from piplay.errors import InputError
from piplay.files import from_json
from piplay.version import current_version

SCHEMA = 2
"""Of ``index.json``."""
ABOUT = "index.json"
BM25, VECTORS = "bm25", "vectors.faiss"
"""In an index folder: BM25's index, and that of vectors."""
KINDS = ("bm25", "dense", "hybrid")
_DECIDES = ("kind", "format", "content", "title_weight", "k1", "b", "dense", "dense_weight", "rerank")
_SAMPLE = 1000
"""Passages of an index that are compared with a run's."""


@dataclass(frozen=True, slots=True)
class SearchIndex:
    """What is searched."""

    searcher: RankedSearcher
    about: Mapping[str, Any]
    """What ``index.json`` says; ``index`` is the fingerprint of all that decides what a query finds."""


class FolderSearcher:
    """A ``Searcher`` by an index folder: ``environment.searcher = "folder:FolderSearcher"``."""

    def __init__(
        self,
        passages: Sequence[Passage],
        *,
        path: str,
        index: str | None = None,
        encoder: str | None = None,
        rerank: str | None = None,
    ) -> None:
        """Open an index.

        Args:
            passages: the run's; where there are any, the index has to be of these.
            path: the folder that ``piplay search build`` has made.
            index: the fingerprint that it has to have; a run fills it in when it begins.
            encoder: where the encoder of a dense or hybrid index is now, if no longer where it was.
            rerank: a CrossEncoder's folder that reranks what is found.

        Raises:
            InputError: there is no such index, it is damaged, it is another than the run began with, or it is of other
                passages.
        """
        if not (Path(path) / ABOUT).is_file():
            raise InputError(f"{path} is no index folder: make one with `piplay search build CORPUS --out {path}`")
        opened = open_index(Path(path), encoder=_path(encoder), rerank=_path(rerank))
        self.index = str(opened.about["index"])
        """The fingerprint."""
        if index is not None and index != self.index:
            raise InputError(
                f"{path} is the index {self.index}, and the run began with {index}: it would find other passages; put "
                "that index back, or train again"
            )
        self._searcher, self._path = opened.searcher, path
        if passages:
            _check_same(passages, self._searcher.passages, path)

    def settled(self) -> dict[str, str]:
        """The index that a run begins with, as options: it then goes on with no other, from whatever folder."""
        return {"index": self.index, "path": str(Path(self._path).absolute())}

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """See ``Searcher.search``."""
        return self._searcher.search(queries, k)


def open_index(
    path: Path, words: int = 50, strict: bool = False, encoder: Path | None = None, rerank: Path | None = None
) -> SearchIndex:
    """The index in a folder; of a corpus one by BM25 that is made now, and of a large one kept in the cache.

    Args:
        path: an index folder, or a corpus (see ``read_corpus``).
        words: of a passage, where documents are cut.
        strict: whether what cannot be read of a corpus is refused.
        encoder: where the encoder of an index is now, if no longer where it was.
        rerank: a CrossEncoder's folder that reranks what is found.

    Raises InputError where neither is there, the folder is damaged, or the encoder is not that of the index.
    """
    if (path / ABOUT).is_file():
        opened = _open(path, encoder)
    else:
        passages, about = described(path, None, words, strict)
        searcher = BM25Searcher(passages, title_weight=about["title_weight"], k1=about["k1"], b=about["b"])
        opened = SearchIndex(searcher, {**about, "index": fingerprint(about), "versions": versions()})
    if encoder is not None and "dense" not in opened.about:
        raise InputError(f"{path} is searched by BM25 alone: leave --encoder out, or build an index of --kind dense")
    return opened if rerank is None else _reranked(opened, rerank)


def described(
    corpus: Path, title_weight: float | None, words: int, strict: bool
) -> tuple[Sequence[Passage], dict[str, Any]]:
    """A corpus's passages, and what their index by BM25 is, but for its fingerprint.

    Raises InputError where the corpus cannot be read, or an option is out of range.
    """
    if words < 1:
        raise InputError(f"--passage-words is {words}: give at least 1")
    if title_weight is not None and not 0 < title_weight < float("inf"):
        raise InputError(f"--title-weight is {title_weight}: give a number above 0")
    passages = read_corpus(corpus, words, strict)
    content = blake2b(digest_size=16)
    for passage in passages:
        content.update(json.dumps([passage.id, passage.title, passage.text]).encode())
    return passages, {
        "schema": SCHEMA,
        "kind": "bm25",
        "format": FORMULA,
        "content": content.hexdigest(),
        "passages": len(passages),
        "title_weight": title_weight or usual_weight(corpus),
        "k1": K1,
        "b": B,
    }


def usual_weight(corpus: Path) -> float | None:
    """What a word in a title counts where a run searches this: in a world, title and text are one field."""
    return None if (corpus / "world.json").is_file() else TITLE_WEIGHT


def fingerprint(about: Mapping[str, Any]) -> str:
    """Equal for equal passages in the same order, formula and vectors, wherever and whenever they were indexed."""
    decides = {name: about[name] for name in _DECIDES if name in about}
    return blake2b(json.dumps(decides, sort_keys=True).encode(), digest_size=16).hexdigest()


def versions() -> dict[str, str]:
    """What an index was made with."""
    return {"piplay": current_version(), "python": platform.python_version(), "numpy": np.__version__}


def _open(path: Path, encoder: Path | None) -> SearchIndex:
    try:
        about = from_json((path / ABOUT).read_text(encoding="utf-8"))
        schema, made_by = about["schema"], about["versions"]["piplay"]
        if (schema, about["format"]) != (SCHEMA, FORMULA):
            raise InputError(
                f"{path} was made by piplay {made_by}, whose indexes this one does not read: build it again"
            )
        if about["index"] != fingerprint(about):
            raise ValueError(f"{ABOUT} is not what was written")
        passages = open_passages(path, about["content"])
        lexical = None if about["kind"] == "dense" else Shards.load(path / BM25)
        dense = None if about["kind"] == "bm25" else VectorIndex(path / VECTORS)
        sizes = {len(passages), *(part.size for part in (lexical, dense) if part is not None)}
        if sizes != {about["passages"]}:
            raise ValueError(f"it has not the {about['passages']} passages that {ABOUT} says")
    except (OSError, ValueError, TypeError, KeyError, EOFError) as error:
        raise InputError(f"the index {path} is damaged ({error}): build it again") from error
    by_words = IndexSearcher(passages, lexical)
    if dense is None:
        return SearchIndex(by_words, about)
    by_vectors = DenseSearcher(passages, _encoder_of(path, about, encoder), dense)
    if lexical is None:
        return SearchIndex(by_vectors, about)
    return SearchIndex(HybridSearcher(passages, by_words, by_vectors, about["dense_weight"]), about)


def _encoder_of(path: Path, about: Mapping[str, Any], place: Path | None) -> encoders.Encoder:
    """The encoder that an index was made with; whatever else answers is refused."""
    made_with = about["dense"]["encoder"]
    folder = place or Path(about["encoder"])
    if not folder.is_dir():
        raise InputError(
            f"the encoder of {path} is not at {folder}: put it back, or say where it is with --encoder (in a run "
            "environment.searcher_options.encoder)"
        )
    found = encoders.SentenceEncoder(folder, made_with["query_prefix"], made_with["passage_prefix"])
    if found.about != made_with:
        different = ", ".join(name for name in made_with if found.about.get(name) != made_with[name])
        raise InputError(
            f"the encoder {folder} is not the one that {path} was made with (other: {different}): its vectors would "
            "mean something else; give that encoder, or build the index again"
        )
    return found


def _reranked(opened: SearchIndex, folder: Path) -> SearchIndex:
    reranker = rerankers.CrossEncoderReranker(folder)
    about = {**opened.about, "rerank": reranker.about}
    return SearchIndex(rerankers.RerankingSearcher(opened.searcher, reranker), {**about, "index": fingerprint(about)})


def _path(place: str | None) -> Path | None:
    return None if place is None else Path(place)


def _check_same(passages: Sequence[Passage], indexed: Sequence[Passage], path: str) -> None:
    """Raises InputError where an index is of other passages than a run's."""
    if len(passages) != len(indexed):
        raise InputError(
            f"{path} is an index of {len(indexed)} passages, and the run has {len(passages)}: give the world or corpus "
            f"that it was made of, or --corpus {path}"
        )
    for number in range(0, len(indexed), -(-len(indexed) // _SAMPLE)):
        if passages[number] != indexed[number]:
            raise InputError(
                f"{path} is an index of other passages than the run's (number {number + 1} differs): give the world or "
                f"corpus that it was made of, or --corpus {path}"
            )
