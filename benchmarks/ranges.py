"""The range of every number of some runs, phase by phase: what docs/metrics.md calls healthy.

    python benchmarks/ranges.py runs/seed-0 runs/seed-1

A line has a number's 10th and 90th percentile over the steps of all runs, and its mean in the first and in the last
iteration.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from piplay.training.listeners.trackers import numbers


def main(runs: list[Path]) -> None:
    found: dict[str, dict[str, list[tuple[int, float]]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            for name, value in numbers(row).items():
                found[row["phase"]][name].append((row["iteration"], value))
    for phase, names in found.items():
        print(f"\n{phase:28} {'p10':>9} {'p90':>9} {'first':>9} {'last':>9}")
        for name, told in sorted(names.items()):
            iteration, value = np.array(told).T
            ends = [value[iteration == m].mean() for m in (iteration.min(), iteration.max())]
            low, high = np.percentile(value, [10, 90])
            print(f"{name:28} {low:9.3g} {high:9.3g} {ends[0]:9.3g} {ends[1]:9.3g}")


if __name__ == "__main__":
    main([Path(run) for run in sys.argv[1:]])
