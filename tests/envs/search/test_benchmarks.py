"""Benchmark files: what they hold comes back as tasks, and what is wrong with one is said with its place."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from piplay.config import load_config
from piplay.envs.search.benchmarks import first_of_each_hop, read_benchmark
from piplay.envs.search.question import Question
from piplay.errors import InputError
from piplay.training.assemble import load_environment, make_evaluation

PROMPT = "Answer the given question. You can search. Question: is an example. Question: Where is Bor?\n"


def searched(**more: Any) -> dict[str, Any]:
    """A row as Search-R1 writes it, some of its columns changed; None takes one away."""
    row = {
        "id": "test_0",
        "question": "Where is Bor?",
        "golden_answers": ["on the Tamsin", "Tamsin"],
        "data_source": "nq",
        "prompt": [{"role": "user", "content": PROMPT}],
        "ability": "fact-reasoning",
        "reward_model": {"ground_truth": {"target": ["on the Tamsin", "Tamsin"]}, "style": "rule"},
        "extra_info": {"index": 7, "split": "test"},
    }
    return {name: value for name, value in (row | more).items() if value is not None}


def parquet(path: Path, *rows: dict[str, Any]) -> Path:
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def jsonl(path: Path, *lines: object) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


Published = partial(Question, published=True)
BOR = Published("nq/test_0", 0, "Where is Bor?", ("on the Tamsin", "Tamsin"))


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (searched(), BOR),
        (searched(golden_answers=None), BOR),
        (searched(reward_model=None), BOR),
        (searched(question=None), BOR),
        (searched(question=None, prompt=PROMPT), BOR),
        (
            searched(reward_model={"ground_truth": {"target": "Oum"}}),
            Published("nq/test_0", 0, "Where is Bor?", ("Oum",)),
        ),
        (searched(id=None), Published("nq/7", 0, *(BOR.question, BOR.answers))),
        (searched(id=None, extra_info=None, data_source=None), Published("1", 0, *(BOR.question, BOR.answers))),
        (searched(metadata={"hops": 3}), Published("nq/test_0", 3, *(BOR.question, BOR.answers))),
    ],
)
def test_a_search_r1_row(tmp_path: Path, row: dict[str, Any], expected: Question) -> None:
    assert read_benchmark(parquet(tmp_path / "test.parquet", row)) == [expected]


def test_a_flashrag_line(tmp_path: Path) -> None:
    lines = [
        {"id": 3, "question": "Where is Bor?", "golden_answers": ["Tamsin", "the Tamsin"], "metadata": {"hops": 2}},
        {"id": "b", "question": "Who?", "golden_answers": ["Oum"], "metadata": {"type": "bridge"}},
        {"id": "c", "question": "When?", "golden_answers": ["1201"]},
    ]
    assert read_benchmark(jsonl(tmp_path / "test.jsonl", *lines)) == [
        Published("3", 2, "Where is Bor?", ("Tamsin", "the Tamsin")),
        Published("b", 0, "Who?", ("Oum",)),
        Published("c", 0, "When?", ("1201",)),
    ]


def test_a_worlds_own_questions_are_what_a_run_on_it_is_measured_by(small_world: Path) -> None:
    config = load_config("smoke", {"world": str(small_world), "evaluation.per_hop": "7"})
    questions = read_benchmark(small_world / "heldout.jsonl")
    measured = make_evaluation(config, load_environment(config), {}).questions
    assert [replace(task, published=False) for task in first_of_each_hop(questions, 7)] == list(measured)
    assert [task.hops for task in first_of_each_hop(questions[::-1], 2)] == [1, 1, 2, 2, 3, 3, 4, 4]
    assert all(len(task.path) == task.hops for task in questions)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (searched(question=None, prompt=[{"role": "user", "content": "Where?"}]), 'no "Question:" in "prompt"'),
        (searched(question="  "), '"question" must hold text'),
        (searched(question=7), '"question" must hold text'),
        (searched(reward_model={"ground_truth": {"target": []}}), "at least one gold answer"),
        (searched(reward_model={"ground_truth": {"target": ["", "Oum"]}}), "reward_model.ground_truth.target"),
        (searched(reward_model={"ground_truth": "Oum"}, golden_answers=None), '"golden_answers" must hold'),
    ],
)
def test_a_row_that_cannot_be_read(tmp_path: Path, row: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=f"test.parquet, row 1 cannot be read: .*{said}"):
        read_benchmark(parquet(tmp_path / "test.parquet", row))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"id": 1, "question": "Where?"}, '"golden_answers" is missing'),
        ({"id": 1, "question": "", "golden_answers": ["a"]}, '"question" must hold text'),
        ({"id": 1, "question": "Where?", "golden_answers": []}, '"golden_answers" is empty'),
        ({"id": 1, "question": "Where?", "golden_answers": "a"}, '"golden_answers" must be a list'),
        (["Where?"], "no JSON object"),
    ],
)
def test_a_line_that_cannot_be_read(tmp_path: Path, line: object, said: str) -> None:
    good = {"id": 0, "question": "Who?", "golden_answers": ["a"]}
    with pytest.raises(InputError, match=f"test.jsonl, line 2 cannot be read: .*{said}"):
        read_benchmark(jsonl(tmp_path / "test.jsonl", good, line))


def test_a_row_is_counted_from_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="row 2 cannot be read"):
        read_benchmark(parquet(tmp_path / "test.parquet", searched(), searched(question=" ")))


def test_files_that_are_no_benchmark(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no benchmark file"):
        read_benchmark(tmp_path / "nowhere.jsonl")
    with pytest.raises(InputError, match=r"neither a \.jsonl nor a \.parquet"):
        read_benchmark(jsonl(tmp_path / "test.json"))
    with pytest.raises(InputError, match="holds no questions"):
        read_benchmark(jsonl(tmp_path / "empty.jsonl"))
    pq.write_table(pa.Table.from_pylist([searched()]).slice(0, 0), tmp_path / "empty.parquet")
    with pytest.raises(InputError, match="no rows"):
        read_benchmark(tmp_path / "empty.parquet")
    with pytest.raises(InputError, match="no column question or prompt"):
        read_benchmark(parquet(tmp_path / "odd.parquet", {"golden_answers": ["a"]}))
    with pytest.raises(InputError, match="no column reward_model or golden_answers"):
        read_benchmark(parquet(tmp_path / "odd.parquet", {"question": "Where?"}))
    (tmp_path / "cut.parquet").write_bytes(parquet(tmp_path / "whole.parquet", searched()).read_bytes()[:90])
    with pytest.raises(InputError, match=r"cut\.parquet cannot be read as parquet") as caught:
        read_benchmark(tmp_path / "cut.parquet")
    assert "\n" not in str(caught.value)
