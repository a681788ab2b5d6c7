"""Questions with gold answers as tasks: a world's own, FlashRAG's JSON Lines, and Search-R1's parquet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from piplay.envs.search.question import Question, Step
from piplay.envs.world.benchmark import ChainQuestion
from piplay.envs.world.store import read_questions
from piplay.errors import InputError

MARK = "Question:"
"""What stands before the question in a Search-R1 prompt."""


def read_benchmark(path: Path) -> list[Question]:
    """The questions of a file, in its order; ``hops`` is 0 where the file does not say.

    - ``.jsonl``, as FlashRAG has it: ``{"id", "question", "golden_answers", "metadata": {"hops"}}`` a line;
    - ``.parquet``, as Search-R1 and verl have it: gold answers in ``reward_model.ground_truth.target``, or else in
      ``golden_answers``; the question in ``question``, or else in ``prompt`` behind its last "Question:". Ids are
      ``data_source/id``, since one file may hold several benchmarks.

    Raises InputError naming the file, the line or row (counted from 1), and what is wrong there.
    """
    if not path.is_file():
        raise InputError(f"there is no benchmark file {path}: give a FlashRAG .jsonl or a Search-R1 .parquet file.")
    match path.suffix.lower():
        case ".jsonl":
            found = [task_of(question) for question in read_questions(path)]
        case ".parquet":
            found = _read_parquet(path)
        case _:
            raise InputError(
                f"{path} is neither a .jsonl nor a .parquet file: give a FlashRAG or a Search-R1 benchmark."
            )
    return [replace(question, published=True) for question in found]


def task_of(question: ChainQuestion) -> Question:
    """A benchmark question as a task, its true path as an examiner would have noted it."""
    path = tuple(Step(step.query, step.query, f"{step.relation}: {step.value}.") for step in question.path)
    return Question(question.id, question.hops or 0, question.question, question.answers, None, path)


def first_of_each_hop(tasks: Sequence[Question], count: int) -> list[Question]:
    """The first ``count`` tasks of each hop count, fewest hops first."""
    chosen: list[Question] = []
    for hops in sorted({task.hops for task in tasks}):
        chosen += [task for task in tasks if task.hops == hops][:count]
    return chosen


def _read_parquet(path: Path) -> list[Question]:
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} cannot be read as parquet: {str(error).splitlines()[0]}") from error
    columns = set(table.column_names)
    for wanted in (("question", "prompt"), ("reward_model", "golden_answers")):
        if not columns.intersection(wanted):
            raise InputError(
                f"{path} has no column {' or '.join(wanted)} (it has {', '.join(table.column_names) or 'none'}): give "
                "a parquet file as Search-R1 makes them."
            )
    if not table.num_rows:
        raise InputError(f"{path} holds no questions: its table has no rows.")
    tasks = []
    for number, row in enumerate(table.to_pylist(), 1):
        try:
            tasks.append(_task(row, number))
        except (TypeError, ValueError) as error:
            raise InputError(f"{path}, row {number} cannot be read: {error}.") from error
    return tasks


def _task(row: Mapping[str, Any], number: int) -> Question:
    question = row["question"] if row.get("question") is not None else _asked(row.get("prompt"))
    if not isinstance(question, str) or not question.strip():
        raise TypeError('"question" must hold text')
    golds, place = _inside(row, "reward_model", "ground_truth", "target"), "reward_model.ground_truth.target"
    if golds is None:
        golds, place = row.get("golden_answers"), "golden_answers"
    golds = [golds] if isinstance(golds, str) else golds
    if not isinstance(golds, list) or not golds or not all(isinstance(gold, str) and gold.strip() for gold in golds):
        raise TypeError(f'"{place}" must hold at least one gold answer, each of them text')
    hops = _inside(row, "metadata", "hops")
    name = next((n for n in (row.get("id"), _inside(row, "extra_info", "index")) if n is not None), number)
    source = row.get("data_source")
    return Question(
        id=str(name) if source is None else f"{source}/{name}",
        hops=hops if isinstance(hops, int) else 0,
        question=question.strip(),
        answers=tuple(golds),
    )


def _asked(prompt: Any) -> str:
    """The question in a prompt: a list of chat messages, or their text."""
    texts = [_inside(message, "content") for message in prompt] if isinstance(prompt, list) else [prompt]
    _, mark, question = "\n".join(text for text in texts if isinstance(text, str)).rpartition(MARK)
    if not mark:
        raise ValueError(f'there is no "question", and no "{MARK}" in "prompt"')
    return question


def _inside(row: Any, *names: str) -> Any:
    """What lies at a path of nested fields; None where there is no such path."""
    for name in names:
        row = row.get(name) if isinstance(row, dict) else None
    return row
