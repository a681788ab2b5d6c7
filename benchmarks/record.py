"""Keeps what a benchmark measured: results/NAME.json and results/NAME.md, with command, machine and date."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from piplay.run.machine import machine

RESULTS = Path(__file__).parent / "results"


def record(name: str, command: str, rows: Sequence[Mapping[str, Any]], notes: str) -> None:
    """Write and print the rows, which have the same columns."""
    place = {
        "command": command,
        "machine": ", ".join(f"{name} {value}" for name, value in machine().items()),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "notes": notes,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(place | {"rows": list(rows)}, indent=2) + "\n", encoding="utf-8")
    lines = [f"{key}: {value}  " for key, value in place.items() if value]
    lines += ["", f"| {' | '.join(rows[0])} |", f"|{'---|' * len(rows[0])}"]
    lines += [f"| {' | '.join(str(value) for value in row.values())} |" for row in rows]
    text = "\n".join([f"# {name}", "", *lines, ""])
    (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")
    print(text)
