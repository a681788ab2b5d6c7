"""Benchmark files: what they hold comes back as tasks, and what is wrong with one is said with its place."""

import bz2
import gzip
import json
import lzma
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from piplay.envs.search.benchmarks import first_of_each_hop, read_benchmark
from piplay.envs.search.question import Question
from piplay.errors import InputError, InputWarning
from piplay.recipes import load_config
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
        (searched(question=None, prompt=[{"role": "user", "content": "Do.\nAsk."}]), 'no "Question:" in "prompt"'),
        (
            searched(question=None, prompt=[{"role": "user", "content": "Question: \n"}]),
            'no question behind "Question:"',
        ),
        (searched(question="  ", prompt=None), "has no question"),
        (searched(question=7, prompt=None), "has no question"),
        (searched(reward_model={"ground_truth": {"target": []}}, golden_answers=[""]), "has no gold answer in any of"),
        ({"id": 1, "question": "Where?"}, "has no gold answer in any of id, question"),
        ({"id": 1, "question": "", "golden_answers": ["a"]}, "has no question"),
        ({"id": 1, "question": "Where?", "golden_answers": []}, "has no gold answer"),
        ({"id": 1, "question": "Where \ud800?", "golden_answers": ["a"]}, "half of a surrogate pair"),
        (["Where?"], "is no JSON object"),
    ],
)
def test_what_cannot_be_read_is_skipped_and_counted_or_refused(tmp_path: Path, row: object, said: str) -> None:
    good = {"id": 0, "question": "Who?", "golden_answers": ["a"]}
    file = jsonl(tmp_path / "test.jsonl", good, row, good)
    with pytest.warns(InputWarning, match="1 of 3 questions is skipped: line 2 .*" + said):
        assert len(read_benchmark(file)) == 2
    with pytest.raises(InputError, match="test.jsonl, line 2 .*" + said):
        read_benchmark(file, strict=True)
    with pytest.raises(InputError, match="holds no questions that can be read: line 1 .*" + said):
        read_benchmark(jsonl(tmp_path / "bad.jsonl", row))
    if isinstance(row, dict) and "surrogate" not in said:
        with pytest.raises(InputError, match="holds no questions that can be read: row 1 .*" + said):
            read_benchmark(parquet(tmp_path / "bad.parquet", row))


@pytest.mark.parametrize(
    ("golds", "read"),
    [
        ({"answers": [1994, 1994.0, 2.5]}, ("1994", "2.5")),
        ({"answer": "Oum"}, ("Oum",)),
        ({"answer": '["Oum", "Mount Oum"]'}, ("Oum", "Mount Oum")),
        ({"answer": "['Oum', 'Mount Oum']"}, ("Oum", "Mount Oum")),
        ({"answer": "[sic"}, ("[sic",)),
        ({"answer": True}, ("yes",)),
        ({"Answer": "Oum", "answer_aliases": ["Mt Oum"]}, ("Oum", "Mt Oum")),
        ({"answer": {"value": "Oum", "aliases": ["Oum", "Mt Oum"], "type": "name"}}, ("Oum", "Mt Oum")),
        ({"answers": {"text": ["Oum", "Oum"], "answer_start": [3, 9]}}, ("Oum",)),
        ({"output": [{"answer": "Oum", "provenance": []}, {"provenance": []}]}, ("Oum",)),
        ({"possible_answers": '["Oum", "Ouum"]'}, ("Oum", "Ouum")),
        ({"reward_model": {"ground_truth": "Oum"}, "answer": "no"}, ("Oum",)),
        ({"reward_model": {"ground_truth": ["Oum", ""]}}, ("Oum",)),
        ({"reward_model": {"ground_truth": {"target": '["Oum", "Ouum"]'}}}, ("Oum", "Ouum")),
        ({"reward_spec": {"method": "rule", "ground_truth": {"target": ["Oum"]}}}, ("Oum",)),
        ({"extra_info": {"answer": "Oum", "index": 3}}, ("Oum",)),
        ({"golden_answers": [None, "Oum"]}, ("Oum",)),
    ],
)
@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_golds_as_others_write_them(tmp_path: Path, golds: dict[str, Any], read: tuple[str, ...], ending: str) -> None:
    if ending == "parquet" and isinstance(golds.get("answers"), list):
        golds = {"answers": [float(gold) for gold in golds["answers"]]}
    make = jsonl if ending == "jsonl" else parquet
    [task] = read_benchmark(make(tmp_path / f"b.{ending}", {"query": "Which mountain?"} | golds))
    assert (task.question, task.answers) == ("Which mountain?", read)


@pytest.mark.parametrize(
    ("prompt", "question"),
    [
        ("Question: where is Bor?\n\nThink step by step, then <answer>answer</answer>.", "where is Bor?"),
        ("Question: where is Bor? Think step by step.", "where is Bor?"),
        ("Question: where is Bor?\nThink step by step.", "where is Bor?"),
        ("Question: where is Bor? <think>", "where is Bor?"),
        ("Search first. Question: name the river of Bor\n", "name the river of Bor"),
        ("Question: It lies far.\nWhich town is it?\n\nAnswer:", "It lies far.\nWhich town is it?"),
        ('Question: who said "why?" first', 'who said "why?" first'),
        ("where is Bor?", "where is Bor?"),
    ],
)
def test_a_question_in_a_prompt(tmp_path: Path, prompt: str, question: str) -> None:
    messages = [{"role": "system", "content": "You search.\nQuestion: not this"}, {"role": "user", "content": prompt}]
    for number, said in enumerate((prompt, messages, json.dumps(messages))):
        row = {"prompt": said, "reward_spec": {"ground_truth": "Tamsin"}}
        assert read_benchmark(jsonl(tmp_path / f"{number}.jsonl", row))[0].question == question


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("b.json", '[{"id": "x", "question": "Who?", "answer": "Oum"}]'),
        ("b.json", '{"version": 1, "data": [{"id": "x", "question": "Who?", "answer": "Oum"}]}'),
        ("b.json", '{"x": {"question": "Who?", "answer": "Oum"}}'),
        ("b.json", '{"id": "x", "question": "Who?", "answer": "Oum"}\n{"question": "", "answer": "y"}\n'),
        ("b.csv", '\ufeffID,Question,Answer\nx,"Who?",Oum\n'),
        ("b.csv", 'id;question;answer\nx;"Who?";Oum\n'),
        ("b.tsv", "id\tquestion\tanswer\nx\tWho?\tOum\n"),
    ],
)
@pytest.mark.filterwarnings("ignore::piplay.errors.InputWarning")
@pytest.mark.parametrize("pack", [None, gzip, bz2, lzma])
def test_other_formats_packed_or_not(tmp_path: Path, name: str, content: str, pack: Any) -> None:
    ending = {None: "", gzip: ".gz", bz2: ".bz2", lzma: ".xz"}[pack]
    raw = content.encode()
    (tmp_path / f"{name}{ending}").write_bytes(pack.compress(raw) if pack else raw)
    assert read_benchmark(tmp_path / f"{name}{ending}") == [Published("x", 0, "Who?", ("Oum",))]


def test_a_row_is_counted_from_one(tmp_path: Path) -> None:
    with pytest.warns(InputWarning, match="1 of 2 questions is skipped: row 2 has no question"):
        read_benchmark(parquet(tmp_path / "test.parquet", searched(), searched(question=" ", prompt=None)))


def test_files_that_are_no_benchmark(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no benchmark file"):
        read_benchmark(tmp_path / "nowhere.jsonl")
    with pytest.raises(InputError, match="is no file of a kind that is known"):
        read_benchmark(jsonl(tmp_path / "test.docx"))
    with pytest.raises(InputError, match="holds no questions"):
        read_benchmark(jsonl(tmp_path / "empty.jsonl"))
    pq.write_table(pa.Table.from_pylist([searched()]).slice(0, 0), tmp_path / "empty.parquet")
    with pytest.raises(InputError, match="holds no questions"):
        read_benchmark(tmp_path / "empty.parquet")
    with pytest.raises(InputError, match="no column that is known, but wer, was"):
        read_benchmark(parquet(tmp_path / "odd.parquet", {"wer": ["a"], "was": 1}))
    (tmp_path / "odd.csv").write_text("wer,was\n1,2\n")
    with pytest.raises(InputError, match="no column that is known, but wer, was"):
        read_benchmark(tmp_path / "odd.csv")
    (tmp_path / "cut.parquet").write_bytes(parquet(tmp_path / "whole.parquet", searched()).read_bytes()[:90])
    with pytest.raises(InputError, match=r"cut\.parquet cannot be read as parquet") as caught:
        read_benchmark(tmp_path / "cut.parquet")
    assert "\n" not in str(caught.value)
