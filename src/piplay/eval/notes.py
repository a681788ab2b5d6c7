"""``records.jsonl``: every answer of an evaluation by hops."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from piplay.envs.search.question import Question
from piplay.eval.scores import Record
from piplay.files import put


class Notes:
    """``records.jsonl``: every answer as it comes, and at the end in the order of the questions.

    Where several samples are drawn, a question's line is first written with its greedy answer alone, then with all.
    """

    def __init__(self, out: Path | None, tasks: Sequence[Question]) -> None:
        """Write nothing where ``out`` is None."""
        self._path = out / "records.jsonl" if out is not None else None
        self._place = {id(task): place for place, task in enumerate(tasks)}
        self._lines: dict[str, dict[int, str]] = {}

    def add(self, model: str, record: Record) -> None:
        """Note one answered question."""
        if self._path is not None:
            line = json.dumps(record.row(model), ensure_ascii=False) + "\n"
            self._lines.setdefault(model, {})[self._place[id(record.task)]] = line
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line)

    def close(self) -> int:
        """Write each answer once, in order; how many there are."""
        if self._path is None:
            return 0
        lines = [line for answered in self._lines.values() for _, line in sorted(answered.items())]
        put(self._path, "".join(lines).encode())
        return len(lines)
