"""An encoder and a reranker without a model: vectors and scores from words alone, behind the package's own seams."""

import json
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from piplay.envs.search.question import Passage
from piplay.envs.search.words import tokenize

DIMENSION = 24


class WordEncoder:
    """A text's vector is the sum of random ones, one a word and seed, normalised."""

    def __init__(self, folder: Path, query_prefix: str | None = None, passage_prefix: str | None = None) -> None:
        self._seed = json.loads((folder / "config.json").read_text())["seed"]
        self._query, self._passage = query_prefix or "", passage_prefix or ""

    @property
    def about(self) -> dict[str, Any]:
        prefixes = {"query_prefix": self._query, "passage_prefix": self._passage}
        return {"hash": f"{self._seed}", "dimension": DIMENSION, "pooling": "sum", "tokens": 256, **prefixes}

    def queries(self, queries: Sequence[str]) -> npt.NDArray[np.float32]:
        return self._encoded([self._query + query for query in queries])

    def passages(self, passages: Sequence[Passage]) -> npt.NDArray[np.float32]:
        return self._encoded([f"{self._passage}{passage.title} {passage.text}" for passage in passages])

    def _encoded(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        found = np.zeros((len(texts), DIMENSION))
        for row, text in zip(found, texts, strict=True):
            for word in tokenize(text) or ["nothing"]:
                number = int.from_bytes(blake2b(f"{self._seed} {word}".encode(), digest_size=4).digest())
                row += np.random.default_rng(number).standard_normal(DIMENSION)
        return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


class LengthReranker:
    """Prefers short passages."""

    def __init__(self, folder: Path) -> None:
        self.about = {"hash": folder.name, "candidates": 10}

    def scores(self, query: str, passages: Sequence[Passage]) -> list[float]:
        return [-float(len(passage.text)) for passage in passages]


def encoder(folder: Path, seed: int = 0) -> Path:
    """Write an encoder's folder."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"seed": seed}))
    return folder


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put both where the package looks for models."""
    monkeypatch.setattr("piplay.envs.search.neural.encoder.SentenceEncoder", WordEncoder)
    monkeypatch.setattr("piplay.envs.search.neural.rerank.CrossEncoderReranker", LengthReranker)
    monkeypatch.setattr("piplay.envs.search.build._LIBRARIES", ("torch", "transformers"))
