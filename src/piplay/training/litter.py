"""What a process leaves in a run's directory that died while it wrote: known by its name, removed by the next one."""

from __future__ import annotations

import re
from pathlib import Path

from piplay.files import NEW, remove
from piplay.training.lock import LOCK

FOLDERS = ("rollouts", "tasks", "checkpoints")
"""Those that every run has from its start."""
WRITTEN = re.compile(
    r"(piplay|config|machine|summary|manifest|grid|examples)\.json|metrics\.jsonl|report\.html"
    r"|rollouts/\d+\.parquet|tasks/[\w-]+\.parquet|checkpoints/\d+|snapshots/\d+|final/[\w-]+"
)
"""What a run writes under another name until it is whole; anything else is somebody's own."""


def sweep(run: Path) -> None:
    """Remove what was being written and is no one's any more: only the holder of the run's lock may."""
    parents = (run, *(run / name for name in (*FOLDERS, "snapshots", "final")))
    for path in (path for parent in parents for path in parent.glob(f"*{NEW}")):
        if WRITTEN.fullmatch(path.relative_to(run).as_posix().removesuffix(NEW)):
            remove(path)


def only_begun(folder: Path) -> bool:
    """Whether a directory holds nothing, or no more than a run has before its settings are written."""
    return folder.is_dir() and all(map(_of_the_start, folder.iterdir()))


def _of_the_start(path: Path) -> bool:
    if path.name in FOLDERS:
        return path.is_dir() and not any(path.iterdir())
    return path.name in (LOCK, "piplay.json", f"piplay.json{NEW}", f"config.json{NEW}")
