"""The checkpoints of a run: each whole or absent, with a manifest by which damage to it or to the run is found.

``checkpoints/N/manifest.json`` has the SHA-256 of every other file of the checkpoint (``files``) and of what of the run
it goes on from (``run``): settings, the rows so far, rollouts, task sets, snapshots.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from piplay.config import Config
from piplay.errors import InputError
from piplay.files import digest, files_below, from_json, remove, write_folder
from piplay.training.state import RunState, read_state

KEPT = 2
"""Checkpoints that are kept: where the newest is damaged the one before is gone on from."""
MANIFEST = "manifest.json"

Hashes = Mapping[str, str]
"""SHA-256 by path."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One that was found whole."""

    folder: Path
    state: RunState
    run: Hashes
    """Of the run's files, by their paths below it; of ``metrics.jsonl`` as far as the rows of this checkpoint."""


class Checkpoints:
    """Those of one run."""

    def __init__(self, run: Path, config: Config) -> None:
        self._run, self._config = run, config
        self._folder = run / "checkpoints"

    def numbers(self) -> list[int]:
        """Of all that there are, whole or not, first to last."""
        names = (path.name for path in self._folder.iterdir())
        return sorted(int(name) for name in names if re.fullmatch(r"[1-9]\d{0,17}", name, re.ASCII))

    def newest(self, check: Callable[[Checkpoint], None] = lambda found: None) -> tuple[Checkpoint | None, list[str]]:
        """The newest that is whole, or None where there is none at all; and what is wrong with those after it.

        Args:
            check: what has to hold besides; raises ``InputError`` where it does not.

        Raises:
            InputError: there are checkpoints, and none that is whole: the first problem of the newest.
        """
        problems: list[str] = []
        for number in reversed(self.numbers()):
            try:
                found = self._read(number)
                check(found)
            except InputError as error:
                problems.append(str(error))
            else:
                return found, problems
        if problems:
            raise InputError(
                f"{problems[0]}, and there is no checkpoint before it that is whole: restore it, or train again"
            )
        return None, []

    def write(self, state: RunState, run: Hashes, save: Callable[[Path], None]) -> None:
        """Make the checkpoint of a state, then remove those that are no longer kept.

        Args:
            run: see ``Checkpoint.run``.
            save: writes what else a checkpoint holds.
        """

        def fill(folder: Path) -> None:
            save(folder)
            (folder / "state.json").write_text(json.dumps(state.tree()) + "\n", encoding="utf-8")
            files = {file.relative_to(folder).as_posix(): digest(file) for file in files_below(folder)}
            (folder / MANIFEST).write_text(json.dumps({"files": files, "run": dict(run)}) + "\n", encoding="utf-8")

        write_folder(self._folder / str(state.commits), fill)
        self.prune(state.commits)

    def prune(self, newest: int) -> None:
        """Remove those that are no longer kept beside the newest."""
        for number in self.numbers():
            if number <= newest - KEPT:
                remove(self._folder / str(number))

    def _read(self, number: int) -> Checkpoint:
        """Raises ``InputError`` where it is damaged."""
        folder = self._folder / str(number)
        try:
            tree = from_json((folder / MANIFEST).read_text(encoding="utf-8"))
            files, run = ({str(name): str(value) for name, value in tree[key].items()} for key in ("files", "run"))
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(f"the checkpoint {folder} is damaged ({MANIFEST} cannot be read: {error})") from error
        for name, value in files.items():
            if why := difference(folder / name, value):
                raise InputError(f"the checkpoint {folder} is damaged ({name} {why})")
        state = read_state(folder / "state.json", self._config)
        if state.commits != number:
            raise InputError(f"the checkpoint {folder} is damaged (it is of the number {state.commits})")
        return Checkpoint(folder, state, run)


def difference(file: Path, wanted: str) -> str:
    """What is wrong with a file that had this hash; empty where it still has."""
    try:
        return "" if digest(file) == wanted else "is not what was written"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
