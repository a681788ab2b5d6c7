"""A tool that fails, hangs or dies: what can be had is had, to the bit; else the run waits, ends, goes on."""

from __future__ import annotations

import json
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

import pyarrow.parquet as pq
import pytest
from toys import searchers
from toys.searchers import CALLS, PLAN, hang

from piplay.cli.main import main
from piplay.envs.search.tool import SearchTool, search
from piplay.errors import InputError
from piplay.rollout.answers import TRIES, answers
from piplay.rollout.tools import ToolError, ToolTimeoutError
from piplay.types import ToolCall, ToolResult


class Planned:
    """A searcher of nothing that does first what it is told for a query."""

    def __init__(self, act: Callable[[str], None]) -> None:
        self.act = act
        self.asked: list[str] = []

    def search(self, queries: Sequence[str], k: int) -> list[list[Any]]:
        self.asked += queries
        for query in queries:
            self.act(query)
        return [[] for _ in queries]


def ask(act: Callable[[str], None], *queries: str, timeout: float = 0.2) -> tuple[list[Any], list[str]]:
    searcher = Planned(act)
    tool = SearchTool(searcher, timeout=timeout)
    return answers({"search": tool}, [search(query) for query in queries]), searcher.asked


def raising(error: Exception, at: str = "bad") -> Callable[[str], None]:
    def act(query: str) -> None:
        if query == at:
            raise error

    return act


@pytest.mark.parametrize(
    "error",
    [
        ToolError("down"),
        ConnectionRefusedError(111, "refused"),
        TimeoutError("slow"),
        URLError("no route"),
        HTTPError("http://x", 503, "busy", {}, None),  # type: ignore[arg-type]
    ],
)
def test_one_bad_call_fails_one(error: Exception) -> None:
    found, asked = ask(raising(error), "a", "bad", "b")
    assert [type(one) for one in found] == [ToolResult, ToolError, ToolResult]
    assert asked.count("bad") == 1 + TRIES
    assert str(error).split(" ")[-1].strip(">") in str(found[1])


@pytest.mark.parametrize("error", [ValueError("mine"), FileNotFoundError(2, "none", "index.bin"), KeyError("k")])
def test_an_error_of_the_code_itself_ends_the_run_in_a_sentence(error: Exception) -> None:
    with pytest.raises(InputError, match=rf"{type(error).__name__}.*test_tools_that_die.py, line \d+"):
        ask(raising(error), "bad")


@pytest.mark.parametrize("place", ["main", "thread"])
def test_a_hang_is_cut_short_and_costs_only_what_hangs(place: str) -> None:
    found: list[Any] = []

    def work() -> None:
        found.extend(ask(lambda query: hang() if query == "bad" else None, "a", "bad", "b")[0])

    began = time.monotonic()
    if place == "main":
        work()
    else:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(30)
    assert [type(one) for one in found] == [ToolResult, ToolTimeoutError, ToolResult]
    assert "no answer in 0.2 s" in str(found[1])
    assert time.monotonic() - began < 10


@pytest.mark.slow
def test_a_dead_server_is_not_asked_call_by_call() -> None:
    found, asked = ask(lambda query: hang(), *map(str, range(50)))
    assert all(isinstance(one, ToolTimeoutError) for one in found)
    assert len(asked) <= 50 + 5


@pytest.mark.slow
def test_somebody_elses_alarm_still_rings() -> None:
    rung: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: rung.append(number))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        ask(lambda query: None, "a")
        time.sleep(1)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert rung == [signal.SIGALRM]


def test_a_call_of_no_search_is_not_hurried() -> None:
    class Slow:
        spec = SearchTool(Planned(lambda query: None)).spec

        def answer(self, calls: Sequence[ToolCall]) -> list[ToolResult]:
            time.sleep(0.3)
            return [ToolResult("done") for _ in calls]

    assert answers({"slow": Slow()}, [ToolCall("slow", {})])[0].text == "done"  # type: ignore[union-attr]


SMALL = ["train", "smoke", "--environment.searcher", "toys.searchers:PlannedSearcher"] + [
    f"--{setting}"
    for setting in (
        "engine.threads=1",
        "environment.timeout=1.0",
        "report.grid=0",
        "evaluation.per_hop=1",
        "phases.examine.steps=1",
        "phases.examine.episodes=3",
        "phases.examine.options.probes=2",
        "phases.write.writes=2",
        "phases.write.episodes=4",
        "phases.study.steps=2",
        "phases.study.episodes=1",
        "phases.study.options.rollouts=2",
    )
]
"""The method on the tiny base, which does search, in some seconds."""


@pytest.fixture(autouse=True)
def _no_plan() -> Iterator[None]:
    yield
    PLAN.clear()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    PLAN.clear()
    assert main([*SMALL, "--run-dir", str(folder)]) == 0
    assert sum(CALLS) > 50
    return folder


def results(run: Path) -> dict[str, Any]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {
        "rows": [{name: value for name, value in row.items() if name != "seconds"} for row in rows],
        "rollouts": [pq.read_table(path).to_pylist() for path in sorted((run / "rollouts").iterdir())],
        "tasks": [pq.read_table(path).to_pylist() for path in sorted((run / "tasks").iterdir())],
        "final": {path.name: path.read_bytes() for path in sorted((run / "final").glob("*/*.safetensors"))},
        "eval": json.loads((run / "summary.json").read_text())["eval"],
    }


@pytest.mark.long
def test_a_searcher_that_fails_now_and_then_and_hangs_once_changes_no_bit(whole: Path, tmp_path: Path) -> None:
    rng = random.Random(5)
    failed = []

    def fail(number: int, queries: Sequence[str]) -> None:
        if number == 7:
            hang()
        if rng.random() < 0.05 * len(queries):
            failed.append(number)
            raise ToolError("a bad moment")

    PLAN.append(fail)
    assert main([*SMALL, "--run-dir", str(tmp_path / "run")]) == 0
    assert len(failed) > 3
    assert results(tmp_path / "run") == results(whole)


@pytest.mark.slow
@pytest.mark.parametrize("dies_at", [pytest.param(0, marks=pytest.mark.long), 12])
def test_a_dead_searcher_ends_the_run_with_3_and_it_goes_on_to_the_same_bits(
    whole: Path, tmp_path: Path, dies_at: int, capfd: pytest.CaptureFixture[str]
) -> None:
    def dead(number: int, queries: Sequence[str]) -> None:
        if number >= dies_at:
            raise ConnectionRefusedError(111, "Connection refused")

    PLAN.append(dead)
    folder = tmp_path / "run"
    assert main([*SMALL, "--environment.patience", "0.5", "--run-dir", str(folder)]) == 3
    told = capfd.readouterr()
    sentence = told.err.strip()
    assert "the tool search failed in" in sentence
    assert "ConnectionRefusedError: [Errno 111] Connection refused" in sentence
    assert sentence.endswith(f"`piplay resume {folder}`")
    assert "\n" not in sentence
    assert "waiting for it, at most 0.5 s" in told.out
    assert not (folder / "summary.json").exists()
    PLAN.clear()
    assert main(["resume", str(folder), "--trust"]) == 0
    assert results(folder) == results(whole)


@pytest.mark.long
def test_a_searcher_that_comes_back_in_time_is_waited_for(whole: Path, tmp_path: Path) -> None:
    back = [0.0]

    def away(number: int, queries: Sequence[str]) -> None:
        if number >= 9 and not back[0]:
            back[0] = time.monotonic() + 2
        if back[0] > time.monotonic():
            raise ConnectionRefusedError(111, "Connection refused")

    PLAN.append(away)
    assert main([*SMALL, "--environment.patience", "60", "--run-dir", str(tmp_path / "run")]) == 0
    assert results(tmp_path / "run") == results(whole)
    shutil.rmtree(tmp_path / "run")


def test_the_planned_searcher_is_the_usual_one() -> None:
    assert issubclass(searchers.PlannedSearcher, searchers.BM25Searcher)
