"""A run's tasks and rollouts as a dataset of the Hub: two parquet files and a card that its viewer reads."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import DatasetCardData

from piplay.errors import InputError
from piplay.publishing.card import UNVERIFIED, origin
from piplay.publishing.hub import make_folder
from piplay.training.run_directory import Run

COLUMNS = {
    "tasks": {
        "set": "the phase of the iteration that wrote it, or what the run was measured by",
        "question": "what the student is asked",
        "answers": "what counts as right",
        "hops": "how many steps the question was asked to take",
        "source": "the passage that the examiner began from",
        "path": "the question's construction path: what was searched, what was found, what was taken from it",
    },
    "rollouts": {
        "key": "iteration, phase, step, task and seat: the same key draws the same tokens",
        "role": "who wrote it",
        "version": "how many updates its policy had seen",
        "turns": "the text, turn by turn; `calls` and `answer`: what was read from it",
        "ids": "token ids, the prompt's first; `owner`: 1 where the model wrote the token",
        "logprobs": "of the written tokens, in nats",
        "reward": "what the role was paid",
        "gate": "which check refused an examiner's question; empty where none did",
    },
}
"""What a reader needs to be told of, by part."""


def write_tasks(run: Run, name: str, license: str | None, folder: Path) -> None:
    """Make the folder of a dataset.

    Args:
        name: ORG/NAME.
        license: as the Hub calls it; None where it is not known.

    Raises:
        InputError: the run is not complete, wrote no tasks, or they were changed since.
    """
    if not run.finished:
        raise InputError(f"{run.folder} is not complete, and will have written more: `piplay resume` it first")
    if damaged := [*run.damage("tasks/"), *run.damage("rollouts/")]:
        raise InputError(f"what was changed since the run is not published as its own: {damaged[0]}")
    tables = {part: table for part, table in (("tasks", run.tasks), ("rollouts", run.rollouts)) if table.num_rows}
    if "tasks" not in tables:
        raise InputError(f"{run.folder} has written no tasks: without --tasks its policy is published")

    def write(new: Path) -> None:
        for part, table in tables.items():
            pq.write_table(table, new / f"{part}.parquet", compression="zstd")
        (new / "README.md").write_text(_card(run, name, license, tables), encoding="utf-8")

    make_folder(folder, write)


def _card(run: Run, name: str, license: str | None, tables: dict[str, pa.Table]) -> str:
    files: list[dict[str, Any]] = [{"config_name": part, "data_files": f"{part}.parquet"} for part in tables]
    files[0]["default"] = True
    data = DatasetCardData(
        pretty_name=name.rpartition("/")[2],
        license=license,
        configs=files,
        task_categories=["question-answering"],
        tags=["piplay", "self-play", "search-agent", "synthetic"],
    )
    what = "Tasks that a language model wrote for itself" + (", and rollouts" if "rollouts" in tables else "")
    parts = [
        f"# {name.rpartition('/')[2]}",
        f"{what} of the run that they were written and tried in: self-play without data by "
        "[piplay](https://github.com/piplay/piplay), an open implementation of π-Play ([arXiv "
        f"2604.14054](https://arxiv.org/abs/2604.14054)). All of it is {UNVERIFIED}: an answer is what the model that "
        "wrote the task took for one. Passages are quoted as the corpus has them, under the corpus' own licence.",
        "## What it holds",
        _sizes(tables),
        *(_columns(part, table) for part, table in tables.items()),
        "## How it was made",
        origin(run),
        "## Use",
        f'```python\nfrom datasets import load_dataset\n\ntasks = load_dataset("{name}", "tasks", split="train")\n```',
    ]
    return f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(parts) + "\n"


def _sizes(tables: dict[str, pa.Table]) -> str:
    sets = Counter(tables["tasks"]["set"].to_pylist())
    roles = Counter(tables["rollouts"]["role"].to_pylist()) if "rollouts" in tables else Counter[Any]()
    lines = [f"| tasks | {name} | {count:,} |" for name, count in sets.items()]
    lines += [f"| rollouts | {name} | {count:,} |" for name, count in roles.items()]
    return "\n".join(["| | | rows |", "|---|---|---|", *lines])


def _columns(part: str, table: pa.Table) -> str:
    lines = [f"- `{name}`: {told}" for name, told in COLUMNS[part].items() if name in table.column_names]
    return "\n".join([f"Of `{part}`:", "", *lines])
