"""``piplay eval`` as a person calls it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from piplay.cli.main import main
from piplay.envs.search.match import normalise
from piplay.envs.search.question import Question
from piplay.envs.world.store import read_world
from piplay.eval.command import lost_golds
from piplay.recipes import load_config
from piplay.rollout.stage import Stage
from piplay.settings import EngineSettings, Limits
from piplay.training.assemble import (
    load_chat,
    load_engine,
    load_environment,
    make_evaluation,
    tiny_base,
    tool_specs,
)
from piplay.training.run_directory import Run

pytestmark = pytest.mark.slow

FEW = ("--engine.threads", "1", "--limit", "2")


def evaluated(*words: str | Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The records and numbers that a command leaves in the folder that is its last word."""
    assert main(["eval", *map(str, words[:-1]), "--out", str(words[-1])]) == 0
    out = Path(words[-1])
    lines = (out / "records.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines], json.loads((out / "eval.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def compared(
    tmp_path_factory: pytest.TempPathFactory, small_world: Path, toy: Callable[[str], Path]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    out = tmp_path_factory.mktemp("eval") / "deep" / "out"
    return evaluated("--world", small_world, *FEW, "--samples", "2", "--against", toy("qwen3"), out)


def test_every_question_has_a_record_a_model(compared: tuple[list[dict[str, Any]], dict[str, Any]]) -> None:
    rows, _ = compared
    assert len(rows) == 2 * 4 * 2
    assert [row["id"] for row in rows[:8]] == [row["id"] for row in rows[8:]]
    assert [row["hops"] for row in rows[:8]] == [1, 1, 2, 2, 3, 3, 4, 4]
    for row in rows:
        assert row["em"] == float(normalise(row["answer"]) in map(normalise, row["golds"]))
        assert len(row["samples"]) == 2
        assert (row["answer"] == "") or row["stop"] == "answered"
    assert len({row["answer"] for row in rows[:8]}) > 1


def test_the_numbers_are_those_of_the_records(compared: tuple[list[dict[str, Any]], dict[str, Any]]) -> None:
    rows, found = compared
    assert (found["settings"]["samples"], found["settings"]["temperature"], found["settings"]["seed"]) == (2, 1.0, 0)
    for model in found["models"]:
        mine = [row for row in rows if row["model"] == model["model"]]
        for group, numbers in model["by_hops"].items():
            members = [row for row in mine if group in ("all", str(row["hops"]))]
            assert numbers["n"] == len(members)
            for name in ("em", "f1", "cover_em"):
                assert numbers[name]["mean"] == pytest.approx(sum(row[name] for row in members) / len(members))
            samples = [sample["em"] for row in members for sample in row["samples"]]
            assert numbers["avg@2"]["mean"] == pytest.approx(sum(samples) / len(samples))
            hit = [any(sample["em"] for sample in row["samples"]) for row in members]
            assert numbers["pass@2"]["mean"] == pytest.approx(sum(hit) / len(hit))
            assert sum(numbers["stops"].values()) == len(members)
    first, second = found["models"]
    for group, row in found["differences"].items():
        expected = first["by_hops"][group]["em"]["mean"] - second["by_hops"][group]["em"]["mean"]
        assert row["em"]["mean"] == pytest.approx(expected)


def test_it_measures_what_a_run_measures_between_phases(
    compared: tuple[list[dict[str, Any]], dict[str, Any]], small_world: Path
) -> None:
    settings = {"world": str(small_world), "engine.threads": "1", "evaluation.per_hop": "2"}
    config = load_config("smoke", settings)
    environment = load_environment(config)
    chat = load_chat(tiny_base(), tools=tool_specs(environment))
    stage = Stage.of(config, load_engine(config), chat, {tool.spec.name: tool for tool in environment.tools})
    row = make_evaluation(config, environment, {}).measure(stage, 0)
    em, counts = row["em_by_hops"], row["n_by_hops"]
    numbers = compared[1]["models"][0]["by_hops"]
    assert {group: row["em"]["mean"] for group, row in numbers.items() if group != "all"} == em
    assert {group: row["n"] for group, row in numbers.items() if group != "all"} == counts


def test_the_same_command_gives_the_same_answers(
    compared: tuple[list[dict[str, Any]], dict[str, Any]], small_world: Path, tmp_path: Path
) -> None:
    rows, found = evaluated("--world", small_world, *FEW, "--samples", "2", tmp_path)  # an empty folder will do
    assert rows == compared[0][:8]
    assert found["models"] == compared[1]["models"][:1]
    assert "differences" not in found


def test_a_run_directory_means_its_student(
    toy_recipe: Path, small_world: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert (
        main(["train", str(toy_recipe), "--run-dir", str(run), "--iterations", "1", "--evaluation.per_hop", "0"]) == 0
    )
    short = (
        "--world",
        small_world,
        *FEW,
        "--limits.turns",
        "2",
        "--limits.turn-tokens",
        "10",
        "--limits.tokens",
        "1400",
    )
    of_run, _ = evaluated(run, *short, "--against", run / "final" / "student", tmp_path / "out")
    assert [row | {"model": ""} for row in of_run[:8]] == [row | {"model": ""} for row in of_run[8:]]
    told = capfd.readouterr().out
    assert f"EM: {run} − {run / 'final' / 'student'}" in told
    assert "1.0000" in told


def test_a_run_is_measured_as_it_played(toy_recipe: Path, small_world: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = "--iterations 1 --evaluation.per_hop 0 --limits.turn_tokens 7 --environment.top_k 2 --engine.dtype bfloat16"
    assert main(["train", str(toy_recipe), "--run-dir", str(run), *words.split()]) == 0
    rows, found = evaluated(run, "--limit", "2", "--limits.turns", "2", "--against", "base", tmp_path / "out")
    heldout = [question.question for question in read_world(small_world).heldout]
    assert {row["question"] for row in rows} <= set(heldout), "on what it searched"
    assert found["settings"]["world"] == str(small_world)
    limits = Run.open(run).config.limits.model_dump()
    first, second = (model["played"] for model in found["models"])
    assert first == limits | {
        "turns": 2, "turn_tokens": 7, "top_k": 2, "dtype": "bfloat16", "device": "cpu", "threads": 1,
    }  # fmt: skip
    assert second == Limits().model_dump() | {
        "turns": 2, "top_k": 1, "dtype": "float32", "device": "cpu", "threads": EngineSettings().threads,
    }  # fmt: skip
    assert {row["stop"] for row in rows[:8]} == {"turn_tokens"}
    assert "answered" in {row["stop"] for row in rows[8:]}


def test_a_run_is_measured_with_its_own_searcher(
    recipe_on: Callable[[str, Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And on passages that are cut as its own were."""
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("word " * 120, encoding="utf-8")
    (tmp_path / "q.jsonl").write_text(
        '{"id": "q", "question": "What?", "golden_answers": ["word"]}\n', encoding="utf-8"
    )
    (tmp_path / "mysearch.py").write_text(
        "from pathlib import Path\n"
        "class Mine:\n"
        "    def __init__(self, passages):\n"
        "        Path('seen').write_text(str([len(passage.text.split()) for passage in passages]))\n"
        "    def search(self, queries, k):\n"
        "        return [[] for _ in queries]\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    settings = {"searcher": "mysearch:Mine", "environment.passage_words": 100}
    run = Run.create(tmp_path / "run", load_config(recipe_on("corpus", tmp_path / "notes"), settings))
    shutil.copytree(run.config.model, run.final("student"))
    assert main(["eval", "run", "--bench", "q.jsonl", "--trust"]) == 0
    assert (tmp_path / "seen").read_text() == "[100, 20]"


def test_a_run_on_a_corpus_needs_questions(
    recipe_on: Callable[[str, Path], Path], towns: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    Run.create(run, load_config(recipe_on("corpus", towns), {}))
    assert main(["eval", str(run)]) == 2
    assert "on a corpus, needs questions with known answers: give --bench FILE" in capfd.readouterr().err


def test_a_benchmark_of_other_peoples_making(
    towns: Path, tmp_path: Path, toy: Callable[[str], Path], capfd: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"data_source": "nq", "question": f"Where is town {i}?", "reward_model": {"ground_truth": {"target": ["R"]}}}
        for i in range(3)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "test.parquet")
    short = ("--limits.turns", "2", "--limits.turn-tokens", "10", "--limits.tokens", "1400")
    records, found = evaluated(
        toy("qwen3"), "--bench", tmp_path / "test.parquet", "--corpus", towns, *FEW, *short, tmp_path / "out"
    )
    assert [(row["id"], row["hops"]) for row in records] == [("nq/1", None), ("nq/2", None)]
    assert list(found["models"][0]["by_hops"]) == ["all"]
    told = capfd.readouterr().out
    assert "│  all │ 2 │ 0.00 │ 0.00 to 0.66 │ 0.00 │     0.00 │     0.00 │ turn_tokens 2 │" in told


def test_golds_that_squads_rule_gets_wrong_are_named() -> None:
    tasks = [
        Question(str(i), 1, "?", golds)
        for i, golds in enumerate([("A",), ("The", "x"), ("-5",), ("5", "five"), ("Bor",), ("the Bor",)])
    ]
    never, pairs = lost_golds("b.jsonl", tasks)
    assert "1 of 6 questions" in never
    assert never.endswith(": 0")
    assert '1 times: "-5" and "5"' in pairs
    assert lost_golds("b.jsonl", tasks[4:]) == []
