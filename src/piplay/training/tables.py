"""What a run keeps as parquet: a row a trajectory, and tables read back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from piplay.errors import InputError, in_a_line
from piplay.types import Episode, ScoredTrajectory


def row_of(episode: Episode, scored: ScoredTrajectory) -> dict[str, Any]:
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
        "failure": trajectory.failure.reason if trajectory.failure else "",
        "answer": trajectory.answer,
        "calls": [json.dumps({"name": use.call.name, "arguments": use.call.arguments}) for use in trajectory.uses],
        "turns": [turn.text for turn in trajectory.turns],
        "prompt_len": trajectory.prompt_len,
        "ids": trajectory.ids_T,
        "owner": trajectory.owner_T,
        "logprobs": trajectory.logprobs_T,
    }


def read_table(path: Path, read: Callable[[Path], Any] = pq.read_table) -> Any:
    """A parquet file, or of it what ``read`` reads. Raises ``InputError`` where it is damaged."""
    try:
        return read(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} is damaged ({in_a_line(error)}): restore it, or train again") from error


def joined(tables: list[pa.Table]) -> pa.Table:
    """Tables as one. A column of nothing but empty lists has no type of its own and takes that of the others."""
    return pa.concat_tables(tables, promote_options="permissive") if tables else pa.table({})
