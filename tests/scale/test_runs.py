"""Whole runs from the command line (SCALE 9)."""

import json
from pathlib import Path

import pytest

from piplay.cli.main import main

QUICK = ["--engine.threads", "1", "--report.grid", "0", "--seed", "0"]


@pytest.mark.parametrize("rank", [0, 8])
def test_a_run_completes_and_begins_as_the_local_engine_does(rank: int, tmp_path: Path, measured) -> None:
    rows = {}
    for kind in ("local", "vllm"):
        folder = tmp_path / kind
        options = [*QUICK, "--engine.kind", kind, "--engine.lora.rank", str(rank), "--run-dir", str(folder)]
        assert main(["train", "smoke", *options]) == 0
        rows[kind] = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert (folder / "report.html").is_file()
    first, expected = rows["vllm"][0], rows["local"][0]
    named = [name for name in expected if "reward" in name or "gate/" in name]
    same = sum(first[name] == expected[name] for name in named)
    what = f"smoke with {'adapters' if rank else 'whole weights'}"
    measured(f"{what}: rewards and gates of the first step as local's, of {len(named)}", same, f"{len(named)}")
    most = max(value for row in rows["vllm"] for name, value in row.items() if name.endswith("logprob_diff_max"))
    measured(f"{what}: largest logprob_diff_max", most, "at most 1e-3")
    assert len(rows["vllm"]) == len(rows["local"])
    assert {name: first[name] for name in named} == {name: expected[name] for name in named}
    assert most <= 1e-3
