"""The run on disk: settings, metrics, rollouts, tasks, checkpoints; resumes to the bit.

    piplay.json       which piplay made it: schema of the directory, version, commit where known
    config.json       the resolved settings
    machine.json      what it is played on, and with how many threads; written again when it resumes
    metrics.jsonl     one row a step; seconds live under "seconds"
    rollouts/         one parquet file a step, one row a trajectory
    tasks/            one parquet file a written task set, and one of a self-generated evaluation set
    checkpoints/N/    everything needed to go on; the last two are kept
    snapshots/M/      the agent's policy after iteration M, 0 the base, as Hugging Face folders
    summary.json      recipe, seed, wall seconds, evaluations
    final/POLICY/     the policies at the end, as Hugging Face folders
    grid.json, examples.json, report.html    what is played once more at the end, and the page about it (report/)
    tensorboard/, wandb/, wandb-id   what trackers keep, where the settings name them

A checkpoint is written beside its place and renamed, so it is whole or absent. What was logged after the last one is
cut away when the run resumes, and played again.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from piplay.config import Config, validated
from piplay.errors import InputError
from piplay.training.machine import commit
from piplay.training.state import SCHEMA, RunState, read_state, task_of, task_tree
from piplay.types import Episode, ScoredTrajectory, Task
from piplay.version import current_version

KEPT_CHECKPOINTS = 2
FOLDERS = ("rollouts", "tasks", "checkpoints")


class Run:
    """One run directory."""

    def __init__(self, folder: Path, config: Config) -> None:
        self.folder, self.config = folder, config

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @classmethod
    def create(cls, folder: Path, config: Config) -> Run:
        """A new run in a directory that does not exist yet."""
        cls.vacant(folder)
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise InputError(f"the run directory {folder} cannot be made: {error.strerror}") from error
        for name in FOLDERS:
            (folder / name).mkdir()
        run = cls(folder, config)
        made_by = {"schema": SCHEMA, "version": current_version(), "commit": commit()}
        run.write("piplay.json", json.dumps(made_by, indent=2) + "\n")
        run.write("config.json", config.model_dump_json(indent=2) + "\n")
        return run

    @staticmethod
    def vacant(folder: Path) -> None:
        """Raises ``InputError`` where the directory exists: nothing is overwritten."""
        if folder.exists():
            raise InputError(
                f"the run directory {folder} already exists: go on with `piplay resume {folder}` or name another"
            )

    @classmethod
    def open(cls, folder: str | Path) -> Run:
        """A run that exists. Raises ``InputError`` where there is none or its settings cannot be read."""
        folder = Path(folder)
        file = folder / "config.json"
        if not file.is_file():
            raise InputError(f"{folder} is no run directory: it has no config.json")
        for name in FOLDERS:
            if not (folder / name).is_dir():
                raise InputError(f"{folder} is no complete run directory: it has no folder {name}")
        _check_schema(folder)
        try:
            tree = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"{file} is damaged ({error}): the run cannot be resumed") from error
        return cls(folder, validated(tree, str(file)))

    def resume(self, load: Callable[[Path], None]) -> RunState:
        """The last committed state, its weights loaded, and what was logged after it cut away; a new state if none.

        Raises ``InputError`` where the checkpoint is damaged.
        """
        shutil.rmtree(self.folder / "checkpoints" / "new", ignore_errors=True)
        state = self.state()
        if state.commits:
            load(self.folder / "checkpoints" / str(state.commits))
        self._cut(state.done)
        return state

    def state(self) -> RunState:
        """The last committed state; a new one if there is none. Raises ``InputError`` where it is damaged."""
        numbers = self._checkpoints()
        return read_state(self.folder / "checkpoints" / str(numbers[-1]) / "state.json") if numbers else RunState()

    def _checkpoints(self) -> list[int]:
        return sorted(int(path.name) for path in (self.folder / "checkpoints").iterdir() if path.name.isdigit())

    def commit(self, state: RunState, save: Callable[[Path], None]) -> None:
        """Make everything up to here permanent."""
        state.commits += 1
        new = self.folder / "checkpoints" / "new"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        save(new)
        if (self.folder / "metrics.jsonl").exists():
            _sync(self.folder / "metrics.jsonl")
        for name in ("rollouts", "tasks"):
            _sync(self.folder / name)
        _replace(new / "state.json", json.dumps(state.tree()) + "\n")
        for path in new.iterdir():
            _sync(path)
        new.rename(new.parent / str(state.commits))
        _sync(new.parent)
        for number in self._checkpoints()[:-KEPT_CHECKPOINTS]:
            shutil.rmtree(new.parent / str(number))

    def log(self, row: Mapping[str, Any]) -> None:
        """Append one row to the metrics."""
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def rows(self) -> list[dict[str, Any]]:
        """All rows that were logged."""
        file = self.folder / "metrics.jsonl"
        rows: list[dict[str, Any]] = []
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else ():
            # A line that was being written when the process died is not JSON, and is the last.
            try:
                row = json.loads(line)
            except ValueError:
                break
            if not isinstance(row, dict):
                break
            rows.append(row)
        return rows

    @property
    def metrics(self) -> pa.Table:
        """All rows that were logged, with every column that any of them has."""
        rows = self.rows()
        names = list(dict.fromkeys(name for row in rows for name in row))
        return pa.table({name: pa.array([row.get(name) for row in rows]) for name in names})

    @property
    def rollouts(self) -> pa.Table:
        """Every trajectory of every step, in order."""
        return _joined([pq.read_table(path) for path in sorted((self.folder / "rollouts").glob("*.parquet"))])

    def column_kinds(self) -> dict[str, str]:
        """What the columns of the rollouts so far hold, of those that hold texts or numbers: see ``Columns``."""
        kinds: dict[str, str] = {}
        for path in sorted((self.folder / "rollouts").glob("*.parquet")):
            for column in pq.read_schema(path):
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
            table = pq.read_table(path)
            tables.append(table.append_column("set", pa.array([path.stem] * table.num_rows)))
        return _joined(tables)

    @property
    def summary(self) -> dict[str, Any] | None:
        """What came of the run; None while it is not complete."""
        return json.loads((self.folder / "summary.json").read_text(encoding="utf-8")) if self.finished else None

    def checkpoint(self) -> Path | None:
        """The folder of the last checkpoint, or None where there is none yet."""
        numbers = self._checkpoints()
        return self.folder / "checkpoints" / str(numbers[-1]) if numbers else None

    def save_episodes(self, number: int, episodes: Sequence[Episode]) -> None:
        """One row a trajectory."""
        rows = [_row(episode, scored) for episode in episodes for scored in episode.trajectories]
        _write_parquet(rows, self.folder / "rollouts" / f"{number:06d}.parquet")

    def save_tasks(self, name: str, tasks: Sequence[Task]) -> None:
        """A written task set, with the passage each started from and the path by which it was made."""
        _write_parquet([task_tree(task) for task in tasks], self.folder / "tasks" / f"{name}.parquet")

    def task_sets(self) -> dict[str, list[Task]]:
        """The written task sets by name, first iteration first."""
        files = sorted((self.folder / "tasks").glob("m*.parquet"), key=lambda path: (_iteration(path.stem), path.stem))
        return {path.stem: [task_of(row) for row in pq.read_table(path).to_pylist()] for path in files}

    def snapshot(self, iteration: int) -> Path:
        """Where the agent's policy after an iteration lies; 0 is before the first."""
        return self.folder / "snapshots" / str(iteration)

    def final(self, policy: str) -> Path:
        """Where a policy lies at the end."""
        return self.folder / "final" / policy

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write the summary, last of all."""
        self.write("summary.json", json.dumps(summary, indent=2) + "\n")

    @property
    def finished(self) -> bool:
        """Whether the run was played to its end."""
        return (self.folder / "summary.json").exists()

    def write(self, name: str, text: str) -> None:
        """Write a file of the run, whole or not at all."""
        _replace(self.folder / name, text)

    def _cut(self, done: int) -> None:
        kept = [row for row in self.rows() if row["n"] <= done]
        if [row["n"] for row in kept] != list(range(1, done + 1)):
            raise InputError(
                f"{self.folder / 'metrics.jsonl'} is damaged: it lacks some of the {done} steps; restore it, or "
                "begin again"
            )
        if (self.folder / "metrics.jsonl").exists():
            self.write("metrics.jsonl", "".join(json.dumps(row) + "\n" for row in kept))
        for path in (self.folder / "rollouts").iterdir():
            if not path.stem.isdigit() or int(path.stem) > done:
                path.unlink()


def _check_schema(folder: Path) -> None:
    """Raises ``InputError`` where another piplay wrote the run in a form that this one does not read."""
    file = folder / "piplay.json"
    if not file.is_file():
        raise InputError(f"the run {folder} was made by piplay 0.1, which this one does not read: use that one for it")
    try:
        made_by = json.loads(file.read_text(encoding="utf-8"))
        schema, version = int(made_by["schema"]), str(made_by["version"])
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{file} is damaged ({error}): restore it, or train again") from error
    if schema != SCHEMA:
        raise InputError(
            f"the run {folder} was made by piplay {version} in schema {schema}, and this one reads schema {SCHEMA}: "
            "use that piplay for it"
        )


def _row(episode: Episode, scored: ScoredTrajectory) -> dict[str, Any]:
    """A trajectory as it is kept: what is known of every one, and what its task and its game tell."""
    trajectory, task = scored.trajectory, next(iter(episode.written), episode.task)
    return {
        "key": "/".join(map(str, trajectory.key)),
        "role": trajectory.role,
        "policy": str(trajectory.policy),
        "version": trajectory.version,
        "task": task.id,
        **task.row(),
        **episode.facts,
        "reward": scored.reward,
        "stop": str(trajectory.stop),
        "answer": trajectory.answer,
        "calls": [json.dumps({"name": use.call.name, "arguments": use.call.arguments}) for use in trajectory.uses],
        "turns": [turn.text for turn in trajectory.turns],
        "prompt_len": trajectory.prompt_len,
        "ids": trajectory.ids_T,
        "owner": trajectory.owner_T,
        "logprobs": trajectory.logprobs_T,
    }


def _iteration(name: str) -> int:
    """The number in the name of a task set, as in ``m3-write``."""
    return int(name[1:].partition("-")[0])


def _write_parquet(rows: list[dict[str, Any]], path: Path) -> None:
    new = path.with_suffix(".new")
    pq.write_table(pa.Table.from_pylist(rows), new, compression="zstd")
    _sync(new)
    os.replace(new, path)


def _joined(tables: list[pa.Table]) -> pa.Table:
    """Tables as one. A column of nothing but empty lists has no type of its own and takes that of the others."""
    return pa.concat_tables(tables, promote_options="permissive") if tables else pa.table({})


def _replace(path: Path, text: str) -> None:
    new = path.with_name(path.name + ".new")
    new.write_text(text, encoding="utf-8")
    _sync(new)
    os.replace(new, path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
