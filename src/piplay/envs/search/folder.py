"""An index in a folder: passages, BM25 index, and ``index.json``, which says what it was made of."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from piplay.envs.search.bm25 import K1, TITLE_WEIGHT, B, BM25Searcher, IndexSearcher, fields
from piplay.envs.search.corpus import open_passages, read_corpus, write_passages
from piplay.envs.search.index import FORMULA
from piplay.envs.search.question import Passage
from piplay.envs.search.shards import Shards, shard_size
from piplay.errors import InputError
from piplay.files import storing, write_folder
from piplay.version import current_version

SCHEMA = 2
"""Of ``index.json``."""
ABOUT = "index.json"


@dataclass(frozen=True, slots=True)
class SearchIndex:
    """What is searched."""

    searcher: IndexSearcher
    about: Mapping[str, Any]
    """What ``index.json`` says; ``index`` is the fingerprint of all that decides what a query finds."""


def build(
    corpus: Path,
    out: Path,
    title_weight: float | None = None,
    words: int = 50,
    strict: bool = False,
    shards: int | None = None,
) -> SearchIndex:
    """Index a corpus into a new folder, whole or not at all; the folder needs nothing outside it.

    Args:
        corpus: see ``read_corpus``.
        out: the folder.
        title_weight: see ``BM25Searcher``; by default what a run takes, see ``usual_weight``.
        words: of a passage, where documents are cut.
        strict: whether what cannot be read of the corpus is refused.
        shards: parts that are made one after the other; what is found does not depend on them. By default as many as
            keep each at 1,000,000 passages at most.

    Raises InputError where the corpus cannot be read, has not one word, or the folder exists or cannot be written.
    """
    if out.exists():
        raise InputError(f"{out} exists already: name a new folder or remove it")
    if shards is not None and shards < 1:
        raise InputError(f"--shards is {shards}: give at least 1")
    passages, about = _read(corpus, title_weight, words, strict)

    def write(new: Path) -> None:
        write_passages(passages, new)
        (new / "bm25").mkdir()
        of_fields, weights = fields(about["title_weight"])
        try:
            size = shard_size(len(passages), shards)
            Shards.save(map(of_fields, passages), weights, about["k1"], about["b"], new / "bm25", size)
        except ValueError as error:
            raise InputError(f"{corpus} has not one word: there is nothing to search") from error
        whole = about | {"versions": _versions(), "made_of": str(corpus.absolute())}
        (new / ABOUT).write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")

    with storing(out, "name a folder that can"):
        write_folder(out, write)
    return open_index(out)


def open_index(path: Path, words: int = 50, strict: bool = False) -> SearchIndex:
    """The index in a folder; of a corpus one that is made now, and of a large one kept in the cache.

    Raises InputError where neither is there, or the folder is damaged.
    """
    if not (path / ABOUT).is_file():
        passages, about = _read(path, None, words, strict)
        searcher = BM25Searcher(passages, title_weight=about["title_weight"], k1=about["k1"], b=about["b"])
        return SearchIndex(searcher, {**about, "versions": _versions()})
    try:
        about = json.loads((path / ABOUT).read_text(encoding="utf-8"))
        schema, made_by = about["schema"], about["versions"]["piplay"]
        if (schema, about["format"]) != (SCHEMA, FORMULA):
            raise InputError(
                f"{path} was made by piplay {made_by}, whose indexes this one does not read: build it again"
            )
        if about["index"] != _fingerprint(about):
            raise ValueError(f"{ABOUT} is not what was written")
        found = open_passages(path, about["content"])
        index = Shards.load(path / "bm25")
        if not len(found) == about["passages"] == index.size:
            raise ValueError(f"it has not the {about['passages']} passages that {ABOUT} says")
    except (OSError, ValueError, TypeError, KeyError, EOFError) as error:
        raise InputError(f"the index {path} is damaged ({error}): build it again") from error
    return SearchIndex(IndexSearcher(found, index), about)


def usual_weight(corpus: Path) -> float | None:
    """What a word in a title counts where a run searches this: in a world, title and text are one field."""
    return None if (corpus / "world.json").is_file() else TITLE_WEIGHT


def _read(
    corpus: Path, title_weight: float | None, words: int, strict: bool
) -> tuple[Sequence[Passage], dict[str, Any]]:
    """The passages, and what their index is."""
    if words < 1:
        raise InputError(f"--passage-words is {words}: give at least 1")
    if title_weight is not None and not 0 < title_weight < float("inf"):
        raise InputError(f"--title-weight is {title_weight}: give a number above 0")
    passages = read_corpus(corpus, words, strict)
    content = blake2b(digest_size=16)
    for passage in passages:
        content.update(json.dumps([passage.id, passage.title, passage.text]).encode())
    about = {
        "schema": SCHEMA,
        "kind": "bm25",
        "format": FORMULA,
        "content": content.hexdigest(),
        "passages": len(passages),
        "title_weight": title_weight or usual_weight(corpus),
        "k1": K1,
        "b": B,
    }
    return passages, {"index": _fingerprint(about), **about}


def _fingerprint(about: Mapping[str, Any]) -> str:
    """Equal for equal passages in the same order under the same formula, wherever and whenever they were indexed."""
    decides = {name: about[name] for name in ("kind", "format", "content", "title_weight", "k1", "b")}
    return blake2b(json.dumps(decides, sort_keys=True).encode(), digest_size=16).hexdigest()


def _versions() -> dict[str, str]:
    return {"piplay": current_version(), "python": platform.python_version(), "numpy": np.__version__}
