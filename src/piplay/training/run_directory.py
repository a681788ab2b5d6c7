"""The run on disk: settings, metrics, rollouts, tasks, checkpoints; resumes to the bit.

    piplay.json       which piplay made it: schema of the directory, version, commit where known; hashes of the settings
                      and of what the run reads (model, world, corpus)
    config.json       the resolved settings
    machine.json      what it is played on, and where it went on otherwise (machine.py)
    metrics.jsonl     one row a step; seconds live under "seconds"
    rollouts/         one parquet file a step, one row a trajectory
    tasks/            one parquet file a written task set, and one of a self-generated evaluation set
    checkpoints/N/    everything needed to go on, with a manifest of hashes; the last two are kept (checkpoints.py)
    snapshots/M/      the agent's policy after iteration M, 0 the base, as Hugging Face folders
    summary.json      recipe, seed, wall seconds, evaluations, alarms
    manifest.json     at the end: the hash of every file above but those that only tell
    final/POLICY/     the policies at the end, as Hugging Face folders, with how they are asked (agent.json)
    grid.json, examples.json, report.html    what is played once more at the end, and the page about it (report/)
    tensorboard/, wandb/, wandb-id, trackio-id   what trackers keep, where the settings name them
    lock              held by the one process that writes (lock.py)

What is written has another name until it is whole. What was logged after the checkpoint that is gone on from is cut
away when the run resumes, and played again. Files of others in these folders stay.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from piplay.config import Config
from piplay.errors import InputError
from piplay.files import digest, from_json, put, remove, storing, sync, write_folder, write_whole
from piplay.recipes import validated
from piplay.training.checkpoints import MANIFEST, Checkpoint, Checkpoints, difference
from piplay.training.litter import FOLDERS, only_begun, sweep
from piplay.training.machine import commit
from piplay.training.state import SCHEMA, RunState, task_of, task_tree
from piplay.training.tables import joined, read_table, row_of
from piplay.types import Episode, Task
from piplay.version import current_version

SETTINGS = ("piplay.json", "config.json")
METRICS = "metrics.jsonl"
AGENT = "agent.json"
"""In a final policy's folder: how it is asked (``agent_file.py``)."""


class Run:
    """One run directory."""

    def __init__(self, folder: Path, config: Config) -> None:
        self.folder, self.config = folder, config
        self._checkpoints = Checkpoints(folder, config)
        self._hashes: dict[str, str] = {}
        """Of what is written once: settings, rollouts, task sets, snapshots, final policies."""
        self._metrics = hashlib.sha256()
        """Of the rows so far."""

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @classmethod
    def create(cls, folder: Path, config: Config, sources: Mapping[str, str] | None = None) -> Run:
        """A new run in a directory that holds none yet.

        ``sources``: by name the hashes of what it reads. The settings are written last: without them it is no run, and
        the next one takes the directory.
        """
        cls.vacant(folder)
        run = cls(folder, config)
        settings = config.model_dump_json(indent=2) + "\n"
        made_by = {"schema": SCHEMA, "version": current_version(), "commit": commit()}
        made_by |= {"settings": hashlib.sha256(settings.encode()).hexdigest(), "sources": dict(sources or {})}
        with run.storing("name another place, or make room or make it writable"):
            for name in FOLDERS:
                (folder / name).mkdir(parents=True, exist_ok=True)
        run.write("piplay.json", json.dumps(made_by, indent=2) + "\n")
        run.write("config.json", settings)
        run._hashes = {name: digest(folder / name) for name in SETTINGS}
        return run

    @staticmethod
    def vacant(folder: Path) -> None:
        """Raises ``InputError`` where something is in the directory: nothing is overwritten.

        What a process left that died before it wrote the settings is nothing.
        """
        with storing(folder, "name another place"):
            if folder.exists() and not only_begun(folder):
                raise InputError(
                    f"the run directory {folder} already exists: go on with `piplay resume {folder}` or name another"
                )

    @classmethod
    def open(cls, folder: str | Path) -> Run:
        """A run that exists. Raises ``InputError`` where there is none or its settings cannot be read."""
        folder = Path(folder)
        file = folder / "config.json"
        if not file.is_file():
            begun = only_begun(folder) and (folder / "piplay.json").is_file()
            then = (
                f", it was interrupted before it began: `piplay train … --run-dir {folder}` begins it" if begun else ""
            )
            raise InputError(f"{folder} is no run directory: it has no config.json{then}")
        for name in FOLDERS:
            if not (folder / name).is_dir():
                raise InputError(f"{folder} is no complete run directory: it has no folder {name}")
        settings = _made_by(folder)["settings"]
        if why := difference(file, settings):
            raise InputError(f"{file} {why}: restore it, or train again; a run keeps the settings that it began with")
        return cls(folder, validated(from_json(file.read_text(encoding="utf-8")), str(file)))

    @property
    def sources(self) -> dict[str, str]:
        """By name the hashes of what the run read when it began."""
        return dict(_made_by(self.folder)["sources"])

    def storing(self, remedy: str = "") -> AbstractContextManager[None]:
        """See ``files.storing``: of this run, which has its last checkpoint whatever happens."""
        again = f"make room or make it writable, then go on from the last checkpoint with `piplay resume {self.folder}`"
        return storing(self.folder, remedy or again)

    def resume(self, load: Callable[[Path], None], say: Callable[[str], None] = lambda sentence: None) -> RunState:
        """The newest state that is whole, its weights loaded, what was logged after it cut away; a new state if none.

        ``say`` is told what was found damaged. Raises ``InputError`` where no checkpoint is whole, or something that
        all of them need is damaged.
        """
        with self.storing():
            sweep(self.folder)
            found, problems = self._checkpoints.newest(self._check)
            for problem in problems:
                say(f"{problem}: going on from the one before")
            if found is None and self.rows():
                say("there is no checkpoint yet: the run begins again from its first step")
            if found is not None:
                load(found.folder)
            state = found.state if found else RunState()
            self._cut(state.done)
            self._checkpoints.prune(state.commits)
            settings = {name: digest(self.folder / name) for name in SETTINGS}
            self._hashes = {name: value for name, value in found.run.items() if name != METRICS} if found else settings
        return state

    def state(self) -> RunState:
        """The newest state that is whole; a new one if there is none. Raises ``InputError`` where all are damaged."""
        with self.storing():
            found, _ = self._checkpoints.newest()
        return found.state if found else RunState()

    def checkpoint(self) -> Path | None:
        """The folder of the newest checkpoint that is whole, or None where there is none yet."""
        with self.storing():
            found, _ = self._checkpoints.newest()
        return found.folder if found else None

    def checkpoint_of(self, state: RunState) -> Path | None:
        """The folder of the checkpoint that a state is of; None for a new one."""
        return self.folder / "checkpoints" / str(state.commits) if state.commits else None

    def _check(self, found: Checkpoint) -> None:
        """Raises ``InputError`` where a file of the run is not what a checkpoint goes on from."""
        for name, value in found.run.items():
            if name == METRICS:
                kept = hashlib.sha256(b"".join(self._lines()[: found.state.done])).hexdigest()
                why = "" if kept == value else f"lacks some of the {found.state.done} steps, or they are other ones"
            else:
                why = difference(self.folder / name, value)
            if why:
                raise InputError(f"{self.folder / name} is damaged: it {why}")

    def commit(self, state: RunState, save: Callable[[Path], None]) -> None:
        """Make everything up to here permanent."""
        with self.storing():
            for name in (METRICS, "rollouts", "tasks"):
                if (self.folder / name).exists():
                    sync(self.folder / name)
            state.commits += 1
            self._checkpoints.write(state, self._hashes | {METRICS: self._metrics.hexdigest()}, save)

    def log(self, row: Mapping[str, Any]) -> None:
        """Append one row to the metrics."""
        line = (json.dumps(row) + "\n").encode()
        with self.storing(), (self.folder / METRICS).open("ab") as file:
            file.write(line)
        self._metrics.update(line)

    def rows(self) -> list[dict[str, Any]]:
        """All rows that were logged."""
        rows: list[dict[str, Any]] = []
        for line in self._lines():
            # A line that was being written when the process died is not JSON, and is the last.
            try:
                row = from_json(line.decode("utf-8", errors="replace"))
            except ValueError:
                break
            if not isinstance(row, dict):
                break
            rows.append(row)
        return rows

    def _lines(self) -> list[bytes]:
        file = self.folder / METRICS
        return file.read_bytes().splitlines(keepends=True) if file.exists() else []

    @property
    def metrics(self) -> pa.Table:
        """All rows that were logged, with every column that any of them has."""
        rows = self.rows()
        names = list(dict.fromkeys(name for row in rows for name in row))
        return pa.table({name: pa.array([row.get(name) for row in rows]) for name in names})

    @property
    def rollouts(self) -> pa.Table:
        """Every trajectory of every step, in order."""
        return joined([read_table(path) for path in sorted((self.folder / "rollouts").glob("*.parquet"))])

    def column_kinds(self) -> dict[str, str]:
        """What the columns of the rollouts so far hold, of those that hold texts or numbers: see ``Columns``."""
        kinds: dict[str, str] = {}
        for path in sorted((self.folder / "rollouts").glob("*.parquet")):
            for column in read_table(path, pq.read_schema):
                if pa.types.is_string(column.type):
                    kinds[column.name] = "text"
                elif pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
                    kinds[column.name] = "number"
        return kinds

    @property
    def tasks(self) -> pa.Table:
        """Every written task; ``set`` is the name of its file."""
        tables = []
        for path in sorted((self.folder / "tasks").glob("*.parquet")):
            table = read_table(path)
            tables.append(table.append_column("set", pa.array([path.stem] * table.num_rows)))
        return joined(tables)

    @property
    def summary(self) -> dict[str, Any] | None:
        """What came of the run; None while it is not complete."""
        return from_json((self.folder / "summary.json").read_text(encoding="utf-8")) if self.finished else None

    def save_episodes(self, number: int, episodes: Sequence[Episode]) -> None:
        """One row a trajectory."""
        rows = [row_of(episode, scored) for episode in episodes for scored in episode.trajectories]
        self._write_parquet(f"rollouts/{number:06d}.parquet", rows)

    def save_tasks(self, name: str, tasks: Sequence[Task]) -> None:
        """A written task set, with the passage each started from and the path by which it was made."""
        self._write_parquet(f"tasks/{name}.parquet", [task_tree(task) for task in tasks])

    def task_sets(self) -> dict[str, list[Task]]:
        """The written task sets by name, first iteration first."""
        files = sorted((self.folder / "tasks").glob("m*.parquet"), key=lambda path: (_iteration(path.stem), path.stem))
        return {path.stem: [task_of(row) for row in read_table(path).to_pylist()] for path in files}

    def snapshot(self, iteration: int) -> Path:
        """Where the agent's policy after an iteration lies; 0 is before the first."""
        return self.folder / "snapshots" / str(iteration)

    def final(self, policy: str) -> Path:
        """Where a policy lies at the end."""
        return self.folder / "final" / policy

    def export(self, folder: Path, write: Callable[[Path], None]) -> None:
        """Let ``write`` fill a folder of the run, a snapshot or a final policy, whole or not at all."""
        with self.storing():
            found = write_folder(folder, write)
        below = folder.relative_to(self.folder).as_posix()
        stale = [name for name in self._hashes if name.startswith(f"{below}/")]
        for name in stale:
            del self._hashes[name]
        self._hashes |= {f"{below}/{name}": value for name, value in found.items()}

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write the summary, last of all."""
        text = json.dumps(summary, indent=2) + "\n"
        self._note({METRICS: self._metrics.hexdigest(), "summary.json": hashlib.sha256(text.encode()).hexdigest()})
        self.write("summary.json", text)

    def write_more(self, name: str, text: str) -> None:
        """Write a file that is made of a finished run."""
        self._hashes = self._manifest()
        self._note({name: hashlib.sha256(text.encode()).hexdigest()})
        self.write(name, text)

    def _note(self, hashes: Mapping[str, str]) -> None:
        self._hashes |= hashes
        self.write(MANIFEST, json.dumps(self._hashes, indent=1) + "\n")

    def _manifest(self) -> dict[str, str]:
        file = self.folder / MANIFEST
        try:
            return {str(name): str(value) for name, value in from_json(file.read_text(encoding="utf-8")).items()}
        except (OSError, ValueError, AttributeError) as error:
            raise InputError(f"{file} cannot be read ({error}): restore it, or train again") from error

    def damage(self, *places: str) -> list[str]:
        """A sentence for each file of a finished run that is not what the run left, of these or below these folders."""
        if not self.finished:
            return []
        try:
            hashes = self._manifest()
        except InputError as error:
            return [f"whether {self.folder} is as the run left it cannot be told: {error}"]
        found = {name: value for name, value in hashes.items() if name.startswith(tuple(places))}
        wrong = {name: difference(self.folder / name, value) for name, value in found.items()}
        return [f"{self.folder / name} {why}: restore it, or train again" for name, why in wrong.items() if why]

    @property
    def finished(self) -> bool:
        """Whether the run was played to its end."""
        return (self.folder / "summary.json").exists()

    def write(self, name: str, text: str) -> None:
        """Write a file of the run, whole or not at all."""
        with self.storing():
            put(self.folder / name, text.encode())

    def _write_parquet(self, name: str, rows: list[dict[str, Any]]) -> None:
        table = pa.Table.from_pylist(rows)
        with self.storing():
            self._hashes[name] = write_whole(
                self.folder / name, lambda new: pq.write_table(table, new, compression="zstd")
            )

    def _cut(self, done: int) -> None:
        """Cut away what was logged after ``done`` steps, of what this run wrote."""
        kept = b"".join(self._lines()[:done])
        self._metrics = hashlib.sha256(kept)
        if (self.folder / METRICS).exists():
            put(self.folder / METRICS, kept)
        for path in (self.folder / "rollouts").iterdir():
            if re.fullmatch(r"\d{6,}\.parquet", path.name, re.ASCII) and int(path.stem) > done:
                remove(path)


def _made_by(folder: Path) -> dict[str, Any]:
    """What ``piplay.json`` says. Raises ``InputError`` where another piplay wrote the run in a form that this one does
    not read.
    """
    file = folder / "piplay.json"
    if not file.is_file():
        raise InputError(f"the run {folder} was made by piplay 0.1, which this one does not read: use that one for it")
    try:
        made_by = from_json(file.read_text(encoding="utf-8"))
        schema, version = int(made_by["schema"]), str(made_by["version"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{file} is damaged ({error}): restore it, or train again") from error
    if schema != SCHEMA:
        raise InputError(
            f"the run {folder} was made by piplay {version} in schema {schema}, and this one reads schema {SCHEMA}: "
            "use that piplay for it"
        )
    if not isinstance(made_by.get("settings"), str) or not isinstance(made_by.get("sources"), dict):
        raise InputError(f"{file} is damaged (it lacks hashes of settings and sources): restore it, or train again")
    return dict(made_by)


def _iteration(name: str) -> int:
    """The number in the name of a task set, as in ``m3-write``."""
    return int(name[1:].partition("-")[0])
