"""What the page shows of a teacher's privilege: a chart for what was measured, none for what was not."""

import json
import shutil
from pathlib import Path

from piplay.report.page import page
from piplay.report.privilege import privilege
from piplay.report.read import read
from piplay.training.run_directory import Run


def test_what_was_measured_has_a_chart(toy_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(toy_run, folder)
    before = len(privilege(read(Run.open(folder))))
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    for row in rows:
        if row["phase"] == "study" and row["step"] != 2:
            row |= {f"privilege/utility/{z}": 0.125 for z in ("true", "foreign", "none")}
            row |= {"privilege/auroc": 0.875, "privilege/kl/query": 0.375, "privilege/tail": 0.0625}
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    record = read(Run.open(folder))
    charts = privilege(record)
    assert len(charts) == before + 3
    text = page(record)
    assert "What the path is worth to the teacher" in text
    assert "foreign, step" in text
    assert "query, step" in text
    assert "AUROC" in text
    assert "privilege/tail in metrics.jsonl" in text, "what has no chart of its own is among the game's own numbers"


def test_every_study_says_how_it_answers(toy_run: Path) -> None:
    text = "".join(privilege(read(Run.open(toy_run))))
    assert "Names before they were seen" in text
    assert "pass@k" in text
    assert "What the path is worth to the teacher" not in text
