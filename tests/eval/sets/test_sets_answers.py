"""The folder of an evaluation: what a kill can leave behind, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest

from piplay.errors import InputError
from piplay.eval.sets.answers import Answers, read_plan, stamp

PLAN: dict[str, Any] = {"settings": {"seed": 0, "bench": "nq"}, "stamp of": {"model": "a"}}


def row(place: int, **more: Any) -> dict[str, Any]:
    return {"arm": "agent", "set": "nq", "place": place, "stop": "answered", **more}


def test_what_was_cut_is_played_again_and_the_later_line_counts(tmp_path: Path) -> None:
    answers = Answers(tmp_path / "out", PLAN)
    for i in (2, 0, 1):
        answers.add(row(i, answer="é"))
    answers.add(row(0, answer="later"))
    file = tmp_path / "out" / "records.jsonl"
    whole = file.read_bytes()
    damaged = b'{"arm": "agent"}\n[1]\nnull\n\xff\n'
    for cut in range(len(whole) + 1):
        file.write_bytes(damaged + whole[:cut])
        again = Answers(tmp_path / "out", PLAN)
        lines = whole[:cut].splitlines(keepends=True)
        assert len(again.rows) == len({json.loads(line)["place"] for line in lines if line.endswith(b"\n")})
        again.add(row(7))
        assert json.loads(file.read_bytes().splitlines()[-1]) == row(7)
    places = [("agent", "nq", i) for i in range(3)]
    assert again.are_there(places)
    again.close(places)
    kept = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert kept == [row(0, answer="later"), row(1, answer="é"), row(2, answer="é")]


def test_what_the_tool_failed_is_not_there(tmp_path: Path) -> None:
    answers = Answers(tmp_path / "out", PLAN)
    answers.add(row(0))
    answers.add(row(1, stop="tool_failed"))
    assert answers.are_there([("agent", "nq", 0)])
    assert not answers.are_there([("agent", "nq", 0), ("agent", "nq", 1)])
    assert not answers.are_there([("closed-book", "nq", 0)])


def test_another_evaluation_is_refused(tmp_path: Path) -> None:
    Answers(tmp_path / "out", PLAN)
    assert read_plan(tmp_path / "out") == PLAN
    other = PLAN | {"settings": {"seed": 1, "bench": "nq"}}
    with pytest.raises(InputError, match="its settings seed was 0, and now is 1"):
        Answers(tmp_path / "out", other)
    with pytest.raises(InputError, match="its stamp of model was a, and now is b"):
        Answers(tmp_path / "out", PLAN | {"stamp of": {"model": "b"}})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("")
    with pytest.raises(InputError, match="is no evaluation of sets"):
        Answers(tmp_path / "mine", PLAN)
    with pytest.raises(InputError, match=r"has no plan\.json"):
        read_plan(tmp_path / "mine")
    with pytest.raises(InputError, match="name a folder that can"):
        Answers(tmp_path / "mine" / "file", PLAN)
    (tmp_path / "out" / "plan.json").write_text("[]")
    with pytest.raises(InputError, match="is damaged"):
        read_plan(tmp_path / "out")


def test_a_stamp_tells_files_apart(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    before = stamp(tmp_path)
    assert stamp(tmp_path) == before
    (tmp_path / "a").write_text("22")
    assert stamp(tmp_path) != before
    assert stamp(tmp_path / "a") == stamp(tmp_path / "a")
