"""Where a benchmark's numbers go: benchmarks/results/NAME.json and NAME.md, with command, machine and date."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
LIBRARIES = ("torch", "transformers", "numpy")


def record(name: str, command: str, rows: Sequence[Mapping[str, object]], notes: str = "") -> None:
    """Write one benchmark's results, in place of what its last run wrote.

    Args:
        name: the files' name, without an ending.
        command: what a reader types to measure it again.
        rows: one measured case each, with the same keys, units in their names ("build_s"). Numbers are written to
            three significant digits in the table and in full in the JSON.
        notes: Markdown under the table: what is compared with what, and what the numbers leave out.
    """
    found = {"command": command, "machine": machine(), "date": date.today().isoformat(), "rows": list(rows)}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(found | {"notes": notes}, indent=1) + "\n", encoding="utf-8")
    about = ", ".join(f"{key} {value}" for key, value in machine().items())
    parts = [f"# {name}", f"`{command}`, {found['date']}. Machine: {about}.", table(rows), notes.strip()]
    (RESULTS / f"{name}.md").write_text("\n\n".join(filter(None, parts)) + "\n", encoding="utf-8")


def machine() -> dict[str, str]:
    """What the numbers depend on, without the machine's name."""
    return {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "python": platform.python_version(),
        **{library: version(library) for library in LIBRARIES},
    }


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """The rows as a Markdown table."""
    if not rows:
        return ""
    names = list(rows[0])
    lines = [names, ["---:" if isinstance(rows[0][name], int | float) else "---" for name in names]]
    lines += [[_cell(row[name]) for name in names] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
