"""What a run was played on: that and the settings decide its bits."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

LIBRARIES = ("transformers", "tokenizers", "numpy")


def machine() -> dict[str, str | int]:
    """Processor, cores that this process may use, system, and the versions of Python and of what computes.

    Torch's own word for its version says for which device it was built, which its package's may not.
    """
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    versions = {"torch": str(torch.__version__)} | {name: version(name) for name in LIBRARIES}
    system, python = platform.platform(terse=True), platform.python_version()
    return {"processor": _processor(), "cores": cores, "system": system, "python": python, **versions}


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def commit() -> str | None:
    """The commit of the source tree that is running; None where there is none or git is not there."""
    here = Path(__file__).resolve().parent
    if shutil.which("git") is None:
        return None
    asked = subprocess.run(["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    # An installed package may lie inside somebody's own repository: its commit says nothing of ours.
    tracked = subprocess.run(
        ["git", "-C", str(here), "ls-files", "--error-unmatch", __file__], capture_output=True, check=False
    )
    return asked.stdout.strip() if asked.returncode == tracked.returncode == 0 else None
