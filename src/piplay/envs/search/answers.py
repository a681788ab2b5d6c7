"""What a search service answered, kept on disk: a run that goes on finds again what it found before."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from piplay.envs.search.cache import cache_folder
from piplay.envs.search.question import Passage
from piplay.errors import InputError
from piplay.files import from_json


class Answers:
    """The passages of queries that were put to one index, by query and ``k``."""

    def __init__(self, index: str) -> None:
        """``index`` is the fingerprint of the index. Raises InputError where the cache cannot be written."""
        self._file = cache_folder() / "searches" / f"{index}.sqlite"
        self._lock = Lock()  # tools may answer in several threads
        with self._at_work():
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._kept = sqlite3.connect(self._file, timeout=60, check_same_thread=False)
            with self._kept:
                self._kept.execute(
                    "CREATE TABLE IF NOT EXISTS answers (k INTEGER, query TEXT, passages TEXT, PRIMARY KEY (k, query)) "
                    "WITHOUT ROWID"
                )

    @property
    def file(self) -> Path:
        """Where they are kept."""
        return self._file

    def of(self, queries: Sequence[str], k: int) -> dict[str, list[Passage]]:
        """Those that are known of these queries."""
        found = {}
        with self._at_work():
            for query in queries:
                row = self._kept.execute(
                    "SELECT passages FROM answers WHERE k = ? AND query = ?", (k, query)
                ).fetchone()
                if row is not None:
                    found[query] = [Passage(*fields) for fields in from_json(row[0])]
        return found

    def keep(self, found: Mapping[str, Sequence[Passage]], k: int) -> None:
        """Write answers down; one that is known stays as it is."""
        rows = [
            (k, query, json.dumps([[p.id, p.title, p.text] for p in passages])) for query, passages in found.items()
        ]
        with self._at_work(), self._kept:
            self._kept.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?, ?)", rows)

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        try:
            with self._lock:
                yield
        except (OSError, sqlite3.Error, ValueError, TypeError) as error:
            raise InputError(
                f"{self._file} cannot be used ({error}): remove it where it is damaged, or set XDG_CACHE_HOME to a "
                "folder that can be written"
            ) from error
