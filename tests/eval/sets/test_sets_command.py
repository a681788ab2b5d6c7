"""``piplay eval`` on sets as a person calls it: numbers, kills, failing tools and bad input."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from scipy import stats
from toys.judges import Endpoint, sensible

from piplay.cli.commands import Eval
from piplay.cli.main import main
from piplay.envs.search.bm25 import BM25Searcher
from piplay.envs.world.store import read_world
from piplay.errors import Unavailable
from piplay.eval.sets.command import _check_tool, is_of_sets
from piplay.rollout.tools import ToolError

pytestmark = pytest.mark.slow

SMALL = ("--engine.threads", "1", "--limits.turn-tokens", "8", "--baselines", "closed-book,one-search")


def rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "records.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sets about the towns, in FlashRAG's layout."""
    folder = tmp_path_factory.mktemp("bench")
    for place, count in (("nq/test.jsonl", 4), ("2wikimultihopqa/dev.jsonl", 6)):
        file = folder / place
        file.parent.mkdir()
        lines = [{"id": f"q{i}", "question": f"town {i}", "golden_answers": [f"R{i}"]} for i in range(count)]
        file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def words(bench: Path, towns: Path, toy: Callable[[str], Path]) -> list[str]:
    """A command without its folder."""
    names = ["--bench", "nq,2wiki", "--bench-dir", str(bench), "--corpus", str(towns), "--protocol", "search-r1"]
    return ["eval", str(toy("qwen3")), *names, *SMALL]


@pytest.fixture(scope="module")
def whole(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sets") / "whole"
    assert main([*words, "--out", str(out)]) == 0
    return out


def test_the_numbers_are_those_of_the_answers(whole: Path) -> None:
    found = json.loads((whole / "eval.json").read_text(encoding="utf-8"))
    played = rows(whole)
    assert [(row["arm"], row["set"], row["place"]) for row in played] == [
        (arm, name, place)
        for arm in ("agent", "closed-book", "one-search")
        for name, count in (("nq", 4), ("2wiki", 6))
        for place in range(count)
    ]
    for arm, numbers in found["arms"].items():
        for name, count in (("nq", 4), ("2wiki", 6)):
            mine = [row for row in played if (row["arm"], row["set"]) == (arm, name)]
            row = numbers["sets"][name]
            assert row["n"] == len(mine) == count
            for score in ("em", "cover_em", "recall"):
                hits = int(sum(answer[score] for answer in mine))
                known = stats.binomtest(hits, count).proportion_ci(method="wilson")
                assert row[score]["mean"] == pytest.approx(hits / count)
                assert row[score]["interval"] == pytest.approx([known.low, known.high])
            assert row["tokens"] == pytest.approx(sum(answer["tokens"] for answer in mine) / count)
        sets = numbers["sets"].values()
        for score in ("em", "f1", "recall"):
            assert numbers["macro"][score] == pytest.approx(sum(row[score]["mean"] for row in sets) / 2)
            micro = sum(row[score]["mean"] * row["n"] for row in sets) / 10
            assert numbers["micro"][score]["mean"] == pytest.approx(micro)
    one = found["arms"]["one-search"]["micro"]
    assert (one["searches"], one["recall"]["mean"]) == (1, sum(row["recall"] for row in played[20:]) / 10)
    assert found["arms"]["closed-book"]["micro"]["searches"] == 0
    limits = {"turns": 5, "turn_tokens": 8, "tokens": 6144, "top_k": 3}
    assert {name: found["played"][name] for name in limits} == limits


@pytest.mark.long
def test_killed_and_gone_on_with_it_writes_the_same(words: list[str], whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "cut"
    running = subprocess.Popen(
        [sys.executable, "-m", "piplay", *words, "--out", str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while running.poll() is None and not (out / "records.jsonl").is_file():
            time.sleep(0.002)
    finally:
        os.kill(running.pid, signal.SIGKILL)
        assert running.wait() == -signal.SIGKILL
    assert not (out / "eval.json").exists()
    assert main(["eval", "--resume", str(out)]) == 0
    for name in ("eval.json", "records.jsonl", "plan.json"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()


def test_every_cut_of_the_answers_is_made_good(words: list[str], whole: Path, tmp_path: Path) -> None:
    data = (whole / "records.jsonl").read_bytes()
    out = tmp_path / "cut"
    out.mkdir()
    (out / "plan.json").write_bytes((whole / "plan.json").read_bytes())
    (out / "records.jsonl").write_bytes(data[: len(data) * 2 // 3])
    assert main([*words, "--out", str(out)]) == 0
    assert (out / "eval.json").read_bytes() == (whole / "eval.json").read_bytes()


def test_a_judge_stands_beside_the_numbers_and_changes_none(
    words: list[str], whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Asked for once everything is answered, on the evaluation that there is."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    out = Path(shutil.copytree(whole, tmp_path / "whole"))
    with Endpoint(sensible) as endpoint:
        assert main(["eval", "--resume", str(out), "--judge", endpoint.url, "--judge-model", "wise"]) == 0
    mine, theirs = (json.loads((place / "eval.json").read_text()) for place in (out, whole))
    judged = mine.pop("judge")
    assert mine == theirs
    assert judged["agent"]["n"] == 10
    assert "agent: the judge wise calls" in " ".join(capsys.readouterr().out.split())


def test_a_tool_that_fails_is_no_score(
    words: list[str], whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def down(self: BM25Searcher, queries: list[str], k: int) -> list[Any]:
        raise ToolError("the index is down")

    with monkeypatch.context() as patch:
        patch.setattr(BM25Searcher, "search", down)
        assert main([*words, "--out", str(tmp_path / "out")]) == 3
    assert "did not answer in 4 of 10 questions (the index is down)" in capfd.readouterr().err
    assert not (tmp_path / "out" / "eval.json").exists()
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "eval.json").read_bytes() == (whole / "eval.json").read_bytes()


def test_one_failure_of_a_hundred_is_borne() -> None:
    arm: Any = SimpleNamespace(name="agent", tool=SimpleNamespace(reason="down"))
    sets: Any = {"nq": [None] * 100}
    lost: Any = {("agent", "nq", i): {"stop": "tool_failed"} for i in range(2)}
    _check_tool(arm, sets, SimpleNamespace(rows={("agent", "nq", 0): lost["agent", "nq", 0]}))  # type: ignore[arg-type]
    with pytest.raises(Unavailable, match="2 of 100 questions"):
        _check_tool(arm, sets, SimpleNamespace(rows=lost))  # type: ignore[arg-type]


def test_a_model_that_searches_is_told_from_one_that_cannot(
    small_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The tiny base on questions of one hop, as its recipe plays them, in a folder that the command names itself."""
    asked = [question for question in read_world(small_world).heldout if question.hops == 1]
    lines = [{"id": one.id, "question": one.question, "golden_answers": list(one.answers)} for one in asked]
    (tmp_path / "hotpotqa").mkdir()
    (tmp_path / "hotpotqa" / "dev.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    monkeypatch.chdir(tmp_path)
    options = "--bench hotpotqa --bench-dir . --baselines closed-book --compare search-r1 --limit-per-set 6"
    assert main(["eval", "base", "--world", str(small_world), *options.split(), "--engine.threads", "1"]) == 0
    [out] = (tmp_path / "evals").iterdir()
    whole = json.loads((out / "eval.json").read_text(encoding="utf-8"))
    found = whole["arms"]
    assert found["agent"]["macro"]["em"] >= 5 / 6
    assert found["agent"]["micro"]["searches"] == 1
    assert found["closed-book"]["macro"]["em"] <= 1 / 6
    assert [row["em"]["hotpotqa"] for row in whole["published"]] == [0.299, 0.433, 0.284, 0.324]
    said = capfd.readouterr().out
    assert "published, other model or retriever: arXiv 2503.09516" in said
    assert "hotpotqa: 10 questions, where the published split has 7405" in said


def test_which_options_ask_for_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    several = [{"data_source": source, "question": "q?", "answers": ["a"]} for source in ("searchR1_nq", "popqa")]
    Path("both.jsonl").write_text("".join(json.dumps(row) + "\n" for row in several), encoding="utf-8")
    Path("one.jsonl").write_text(json.dumps(several[0]) + "\n", encoding="utf-8")

    def asks(**options: Any) -> bool:
        return is_of_sets(vars(Eval(**options)))

    assert asks(bench="nq")
    assert asks(bench="nq,mine")
    assert asks(bench="both.jsonl")
    assert asks(bench="one.jsonl", baselines="closed-book")
    assert asks(bench="one.jsonl", limit_per_set=3)
    assert not asks(bench="both.jsonl", against="base"), "one number, over questions, as it was"
    assert not asks(bench="one.jsonl")
    assert not asks(bench="nowhere.jsonl")
    assert not asks()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--bench", "nq"], "give their folder by --bench-dir DIR"),
        (["--bench", "nq", "--bench-dir", "nowhere"], "`hf download RUC-NLPIR/FlashRAG_datasets nq/test.jsonl"),
        (["--bench", "nq,hotpot", "--bench-dir", "."], "did you mean 'hotpotqa'?"),
        (["--bench", "a/b.jsonl,nq", "--bench-dir", "."], "there is no benchmark file a/b.jsonl,nq"),
        (
            ["--bench", "nq", "--bench-dir", ".", "--against", "base"],
            "--against is not for sets: give the command once",
        ),
        (["--bench", "nq", "--bench-dir", ".", "--baselines", "open-book"], "--baselines has 'open-book'"),
        (["--bench", "nq", "--protocol", "search-r1", "--prompt", "Be good."], "--prompt is the protocol's own"),
        (["--bench", "nq", "--protocol", "search-r1", "--chat", "native"], "--chat is the protocol's own"),
        (["--protocol", "search-r1"], "a world's questions are no sets"),
        (["--bench", ",", "--bench-dir", "."], "names no set"),
        (["--limit-per-set", "0"], "--limit-per-set is 0"),
        (["--resume", "nowhere"], "has no plan.json"),
        (["--resume", "nowhere", "--seed", "1"], "leave out the seed beside it"),
    ],
)
def test_bad_input_is_one_sentence(
    options: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["eval", "base", *options]) == 2
    said = capfd.readouterr().err
    assert sentence in said
    assert said.startswith("piplay: ")
    assert len(said.splitlines()) == 1
    assert not list(tmp_path.iterdir())
