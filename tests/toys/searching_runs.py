"""Small runs that search, and what of them has to be equal."""

from pathlib import Path
from typing import Any

from piplay.training.run_directory import Run

SMALL = (
    "--phases.examine.steps 1 --phases.examine.episodes 4 --phases.write.steps 2 --phases.write.writes 4 "
    "--phases.write.episodes 8 --phases.study.steps 1 --phases.study.episodes 4 --evaluation.per_hop 2 --report.grid 0 "
    "--engine.threads 1"
)


def timeless(run: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in Run.open(run).rows()]


def bits(run: Path) -> dict[str, bytes]:
    files = [*run.glob("final/*/model.safetensors"), *run.glob("rollouts/*.parquet"), *run.glob("tasks/*.parquet")]
    return {str(file.relative_to(run)): file.read_bytes() for file in sorted(files)}
