"""The folder of an evaluation of sets: what it was asked for, and every answer as it comes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from piplay.envs.search.question import Question
from piplay.errors import InputError
from piplay.files import from_json, put
from piplay.types import Json, StopReason

PLAN, ANSWERS = "plan.json", "records.jsonl"
Place = tuple[str, str, int]
"""An arm, a set, and a question's number in it."""
Row = Mapping[str, Json]


class Answers:
    """What has been answered so far, and a file that grows by each answer.

    A line that a kill cut short counts for nothing. Of two lines of one question the later counts.
    """

    def __init__(self, out: Path, plan: Mapping[str, Json]) -> None:
        """Make the folder, or go on with it. Raises ``InputError`` where it is another evaluation's, or no folder."""
        self._file = out / ANSWERS
        self.rows: dict[Place, Row] = {}
        try:
            out.mkdir(parents=True, exist_ok=True)
            if (out / PLAN).is_file():
                _check_same(out, read_plan(out), plan)
            elif any(out.iterdir()):
                raise InputError(f"{out} exists already and is no evaluation of sets: name a new folder.")
            else:
                put(out / PLAN, f"{json.dumps(plan, indent=1, ensure_ascii=False)}\n".encode())
            self._read()
        except OSError as error:
            raise InputError(f"{out} cannot be written ({error.strerror}): name a folder that can.") from error

    def add(self, row: Row) -> None:
        """Note one answer."""
        self.rows[_place(row)] = row
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")

    def are_there(self, places: Iterable[Place]) -> bool:
        """Whether all of these questions are answered, and none without an answer of the tool."""
        rows = [self.rows.get(place) for place in places]
        return all(row is not None and row["stop"] != StopReason.TOOL_FAILED for row in rows)

    def close(self, places: Sequence[Place]) -> None:
        """Write the answers of these questions once each, in this order."""
        lines = [json.dumps(self.rows[place], ensure_ascii=False) + "\n" for place in places]
        put(self._file, "".join(lines).encode())

    def _read(self) -> None:
        if not self._file.is_file():
            return
        data = self._file.read_bytes()
        whole, end, _ = data.rpartition(b"\n")
        if len(whole) + len(end) < len(data):  # else the next line would go on with what was cut
            with self._file.open("r+b") as file:
                file.truncate(len(whole) + len(end))
        for line in whole.splitlines():
            try:
                row = from_json(line)
                self.rows[_place(row)] = row
            except (ValueError, KeyError, TypeError):
                continue  # damaged: it is answered once more


def read_plan(out: Path) -> dict[str, Json]:
    """What an evaluation was asked for. Raises ``InputError`` where there is none."""
    try:
        plan = from_json((out / PLAN).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{out} holds no evaluation of sets that can be gone on with: it has no {PLAN}.") from error
    if not isinstance(plan, dict) or not isinstance(plan.get("settings"), dict):
        raise InputError(f"{out / PLAN} is damaged: begin again in a new folder.")
    return plan


def digest(value: Json) -> str:
    """A short name of a value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def digest_of(tasks: Sequence[Question]) -> str:
    """A short name of questions with their golds."""
    return digest([[task.id, task.question, list(task.answers)] for task in tasks])


def stamp(path: Path) -> str:
    """A short name of what lies at a path: names, sizes and times of its files, which are not read."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    known = [(file, file.stat()) for file in files if file.is_file()]
    return digest([[str(file.relative_to(path)), found.st_size, found.st_mtime_ns] for file, found in known])


def _place(row: Row) -> Place:
    return row["arm"], row["set"], row["place"]


def _check_same(out: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Raises ``InputError`` with the first thing that is otherwise."""
    before, now = _flat(old), _flat(json.loads(json.dumps(new)))
    for key in {**before, **now}:
        if before.get(key) != now.get(key):
            raise InputError(
                f"{out} is another evaluation: its {key} was {before.get(key)}, and now is {now.get(key)}: name a new "
                "folder by --out, or remove this one"
            )


def _flat(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Settings, digests and stamps by name."""
    return {f"{part} {name}": value for part, values in plan.items() for name, value in values.items()}
