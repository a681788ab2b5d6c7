"""piplay: data-free self-play that trains deep-search agents, after π-Play (arXiv 2604.14054).

run = piplay.train("smoke")                # or a recipe of your own, with settings: seed=1, ...
run = piplay.Run.open("runs/smoke-1")      # run.metrics, run.tasks, run.rollouts: pyarrow tables
agent = piplay.load_agent("runs/smoke-1")
agent.ask("Name the river of the capital of Serarbran.")
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from piplay.agent import Agent, Reply, load_agent
    from piplay.api import resume, train
    from piplay.errors import InputError
    from piplay.training.run_directory import Run

    __version__: str

__all__ = ["Agent", "InputError", "Reply", "Run", "load_agent", "resume", "train"]

# Read when torch is loaded: a thread that waits for others sleeps. Spinning, two of them slow each other, and whoever
# else works on their cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_PLACES = {
    "Agent": "piplay.agent",
    "InputError": "piplay.errors",
    "Reply": "piplay.agent",
    "Run": "piplay.training.run_directory",
    "load_agent": "piplay.agent",
    "resume": "piplay.api",
    "train": "piplay.api",
}


def __getattr__(name: str) -> Any:
    # torch and transformers take seconds to import: nothing is imported before it is asked for.
    if name == "__version__":
        return import_module("piplay.version").current_version()
    if name not in _PLACES:
        raise AttributeError(f"module 'piplay' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
