"""Sets in the published layouts, and what is said where they are missing."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from piplay.envs.search.question import Question
from piplay.errors import InputError
from piplay.eval.sets.catalogue import SETS, has_several, read_grouped, read_named, sample, set_name
from piplay.eval.sets.figures import PUBLISHED


def lines(count: int) -> str:
    rows = [
        {"id": f"test_{i}", "question": f"q{i}?", "golden_answers": [f"a{i}"], "metadata": {}} for i in range(count)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_flashrags_layout(tmp_path: Path) -> None:
    for place in ("nq/test.jsonl", "2wikimultihopqa/dev.jsonl", "squad/dev.jsonl", "fanoutqa/dev.jsonl"):
        (tmp_path / place).parent.mkdir()
        (tmp_path / place).write_text(lines(3), encoding="utf-8")
    (tmp_path / "nq" / "dev.jsonl").write_text(lines(9), encoding="utf-8")
    (tmp_path / "musique").mkdir()
    (tmp_path / "musique" / "dev.jsonl.gz").write_bytes(gzip.compress(lines(4).encode()))
    names = ["2wiki", "nq", "musique", "squad", "fanoutqa"]
    sets = read_named(names, tmp_path, strict=True)
    assert list(sets) == names
    assert [len(tasks) for tasks in sets.values()] == [3, 3, 4, 3, 3]
    assert all(task.published for tasks in sets.values() for task in tasks)


def test_what_is_missing_is_fetched_by_one_command(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        read_named(list(SETS), tmp_path / "data", strict=False)
    said = str(refused.value)
    command = said.split("`")[1].split()
    assert command[:2] == ["hf", "download"]
    assert command[3:10] == [
        "nq/test.jsonl", "triviaqa/test.jsonl", "popqa/test.jsonl", "hotpotqa/dev.jsonl", "2wikimultihopqa/dev.jsonl",
        "musique/dev.jsonl", "bamboogle/test.jsonl",
    ]  # fmt: skip
    assert command[-4:] == ["--repo-type", "dataset", "--local-dir", str(tmp_path / "data")]
    assert "fanoutqa/dev.jsonl" in said
    assert "the package fanoutqa" in said
    with pytest.raises(InputError, match=r"no set 'hotpot' \(did you mean 'hotpotqa'\?\)"):
        read_named(["hotpot"], tmp_path, strict=False)


def test_a_file_of_several_sets_is_grouped_by_its_source(tmp_path: Path) -> None:
    sources = ["searchR1_nq", "searchR1_hotpotqa", "searchR1_nq", "2wikimultihopqa", "openai/own"]
    rows = [
        {"data_source": source, "prompt": [{"role": "user", "content": f"Answer. Question: q{i}?\n"}],
         "reward_model": {"style": "rule", "ground_truth": {"target": [f"a{i}"]}}, "extra_info": {"index": i}}
        for i, source in enumerate(sources)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "test.parquet")
    sets = read_grouped(tmp_path / "test.parquet", strict=True)
    assert {name: [task.question for task in tasks] for name, tasks in sets.items()} == {
        "nq": ["q0?", "q2?"], "hotpotqa": ["q1?"], "2wiki": ["q3?"], "openai/own": ["q4?"],
    }  # fmt: skip
    assert has_several(tmp_path / "test.parquet")
    (tmp_path / "mine.jsonl").write_text(lines(2), encoding="utf-8")
    assert not has_several(tmp_path / "mine.jsonl")
    assert list(read_grouped(tmp_path / "mine.jsonl", strict=True)) == ["mine"]
    assert not has_several(tmp_path / "nowhere.jsonl")


def test_a_sample_is_fixed_and_grows() -> None:
    tasks = [Question(str(i)) for i in range(50)]
    few, more = (sample(tasks, "nq", count, 0) for count in (5, 20))
    assert [int(task.id) for task in more] == sorted(int(task.id) for task in more)
    assert few == sample(tasks, "nq", 5, 0)
    assert set(few) < set(more)
    assert len(few) == 5
    assert few != sample(tasks, "nq", 5, 1)
    assert few != sample(tasks, "popqa", 5, 0)
    assert sample(tasks, "nq", None, 0) == sample(tasks, "nq", 50, 0) == tasks


def test_names() -> None:
    assert [set_name(name) for name in ("NQ", " searchR1_2wikimultihopqa", "2wiki", "mine")] == [
        "nq", "2wiki", "2wiki", "mine",
    ]  # fmt: skip
    assert sum(known.count for name, known in SETS.items() if name != "fanoutqa") == 51_713


def test_published_rows_have_the_means_that_are_published_with_them() -> None:
    seven = [name for name in SETS if name != "fanoutqa"]
    means = [row.macro([*seven, "fanoutqa"]) for row in PUBLISHED["search-r1"]]
    assert [round(mean or 0, 3) for mean in means] == [0.304, 0.431, 0.303, 0.325]
    assert PUBLISHED["search-r1"][0].macro(["fanoutqa"]) is None
