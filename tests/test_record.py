"""What a benchmark leaves behind."""

import importlib.util
import json
from pathlib import Path

import pytest

FILE = Path(__file__).parent.parent / "benchmarks" / "record.py"


def test_results_are_written_in_full_and_as_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("record", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "RESULTS", tmp_path / "results")
    rows = [{"case": "a", "passages": 12000, "seconds": 1.23456}, {"case": "b", "passages": 7, "seconds": 4321.9}]
    module.record("speed", "python benchmarks/speed.py", rows, "Slower is worse.")
    found = json.loads((tmp_path / "results" / "speed.json").read_text(encoding="utf-8"))
    assert found["rows"] == rows
    assert found["command"] == "python benchmarks/speed.py"
    assert found["machine"]["cores"].isdigit()
    page = (tmp_path / "results" / "speed.md").read_text(encoding="utf-8")
    assert "| case | passages | seconds |\n| --- | ---: | ---: |\n| a | 12,000 | 1.23 |\n| b | 7 | 4,322 |\n" in page
    assert page.endswith("\nSlower is worse.\n")
