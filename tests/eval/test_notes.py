"""``records.jsonl`` is written as answers come: an interruption keeps what was played."""

import json
from pathlib import Path
from typing import Any

import pytest

from piplay.cli.main import main
from piplay.envs.search.question import Question
from piplay.eval.notes import Notes
from piplay.eval.scores import Answer, Record

ANSWER = Answer("Oum", 1.0, 1.0, 1.0, 1.0, 1.0, (), "answered")


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_answers_stand_there_as_they_come_and_at_the_end_in_order(tmp_path: Path) -> None:
    tasks = [Question(str(i), question=f"{i}?", answers=("Oum",)) for i in range(3)]
    notes = Notes(tmp_path, tasks)
    file = tmp_path / "records.jsonl"
    for count, task in enumerate((tasks[2], tasks[0], tasks[1]), 1):
        notes.add("b", Record(task, ANSWER))
        assert len(rows(file)) == count
    notes.add("a", Record(tasks[1], ANSWER))
    notes.add("b", Record(tasks[2], ANSWER, (ANSWER, ANSWER)))
    assert notes.close() == 4
    assert [(row["model"], row["id"], len(row["samples"])) for row in rows(file)] == [
        ("b", "0", 0), ("b", "1", 0), ("b", "2", 2), ("a", "1", 0),
    ]  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["records.jsonl"]
    assert Notes(None, tasks).close() == 0


@pytest.mark.slow
def test_an_interruption_keeps_what_was_played(
    small_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["eval", "base", "--limit", "5", "--engine.threads", "1", "--world", str(small_world)]
    assert main([*words, "--out", str(tmp_path / "whole")]) == 0
    whole = rows(tmp_path / "whole" / "records.jsonl")
    add = Notes.add

    def interrupted(notes: Notes, model: str, record: Record) -> None:
        add(notes, model, record)
        if record.task.id == whole[6]["id"]:
            raise KeyboardInterrupt

    monkeypatch.setattr(Notes, "add", interrupted)
    capfd.readouterr()
    assert main([*words, "--out", str(tmp_path / "cut")]) == 130
    kept = rows(tmp_path / "cut" / "records.jsonl")
    assert 0 < len(kept) < len(whole) == 20
    assert [row for row in whole if row["id"] in {row["id"] for row in kept}] == kept
    said = capfd.readouterr().err.splitlines()
    assert said == [f"piplay: interrupted; {len(kept)} answers are in {tmp_path}/cut/records.jsonl"]
