"""Encoders: queries and passages as vectors of length 1, by a sentence-transformers folder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from piplay.envs.search.neural.models import folder_hash, loaded
from piplay.envs.search.neural.vectors import Vectors
from piplay.envs.search.question import Passage, contents

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

TOKENS = 256
"""Of a text, its prefix included; what is longer is cut. As in Search-R1."""
BATCH = 32
"""Passages that are encoded at once."""
FAMILIES = (
    (re.compile(r"(^|\W)(multilingual-)?e5-(small|base|large)(-v2)?$"), ("query: ", "passage: ")),
    (
        re.compile(r"(^|\W)bge-(small|base|large)-en(-v1\.5)?$"),
        ("Represent this sentence for searching relevant passages: ", ""),
    ),
    (re.compile(r"(^|\W)bge-(small|base|large)-zh(-v1\.5)?$"), ("为这个句子生成表示以用于检索相关文章：", "")),
)
"""Encoders whose folders do not say the prefixes that they were trained with, by name."""


class Encoder(Protocol):
    """Turns text into vectors whose inner products say how well a passage answers a query."""

    @property
    def about(self) -> dict[str, Any]:
        """All that decides the vectors, as JSON, ``dimension`` among it."""
        ...

    def queries(self, queries: Sequence[str]) -> Vectors:
        """(Q, D). A query's vector does not depend on the other queries, to the bit."""
        ...

    def passages(self, passages: Sequence[Passage]) -> Vectors:
        """(N, D)."""
        ...


class SentenceEncoder:
    """An ``Encoder`` by sentence-transformers, with the folder's own modules and pooling, normalised."""

    def __init__(self, folder: Path, query_prefix: str | None = None, passage_prefix: str | None = None) -> None:
        """Load an encoder.

        Args:
            folder: as sentence-transformers saves one, or a Hugging Face model's (then tokens are averaged).
            query_prefix: what stands before each query; by default the folder's own prompt, else that of the family
                (E5, BGE) by the folder's name, else nothing.
            passage_prefix: the same before each passage, which is its ``contents``, title and text.

        Raises:
            InputError: sentence-transformers is not installed, or there is no such encoder.
        """
        self._model: SentenceTransformer = loaded("SentenceTransformer", folder, "encoder")
        self._model.max_seq_length = min(self._model.max_seq_length or TOKENS, TOKENS)
        usual = prefixes(folder.resolve().name, self._model.prompts)
        self._query = usual[0] if query_prefix is None else query_prefix
        self._passage = usual[1] if passage_prefix is None else passage_prefix
        self._hash = folder_hash(folder)

    @property
    def about(self) -> dict[str, Any]:
        """See ``Encoder.about``."""
        pooling = [module.pooling_mode for module in self._model if hasattr(module, "pooling_mode")]
        return {
            "hash": self._hash,
            "dimension": int(self._model.get_embedding_dimension() or 0),
            "pooling": "+".join(map(str, pooling)) or "the model's own",
            "tokens": self._model.max_seq_length,
            "query_prefix": self._query,
            "passage_prefix": self._passage,
        }

    def queries(self, queries: Sequence[str]) -> Vectors:
        """See ``Encoder.queries``. One at a time: in a batch, its shape decides the last bits."""
        return self._encoded([self._query + query for query in queries], 1)

    def passages(self, passages: Sequence[Passage]) -> Vectors:
        """See ``Encoder.passages``."""
        return self._encoded([self._passage + text_of(passage) for passage in passages], BATCH)

    def _encoded(self, texts: list[str], batch: int) -> Vectors:
        # An empty prompt: sentence-transformers would else put the folder's default one before each text.
        found = self._model.encode(
            texts, prompt="", batch_size=batch, normalize_embeddings=True, show_progress_bar=False
        )
        return np.asarray(found, dtype=np.float32).reshape(len(texts), -1)


def text_of(passage: Passage) -> str:
    """What is encoded of a passage: its ``contents``, or its text where it has no title."""
    return contents(passage) if passage.title else passage.text


def prefixes(name: str, prompts: dict[str, str]) -> tuple[str, str]:
    """What stands before queries and passages for an encoder of this name, whose folder says ``prompts``."""
    of_kind: dict[Literal["query", "passage"], str] = {
        "query": prompts.get("query") or "",
        "passage": prompts.get("document") or prompts.get("passage") or "",
    }
    if any(of_kind.values()):
        return of_kind["query"], of_kind["passage"]
    return next((usual for family, usual in FAMILIES if family.search(name.lower())), ("", ""))
