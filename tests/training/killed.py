"""Plays runs that die: a program of its own, which forks a child for every run and kills it from within.

    python killed.py RECIPE OUT MOMENT...

For each moment a run in OUT/MOMENT is killed there with SIGKILL, once more when its resumption gets as far as it did
(``+`` in a moment joins several deaths), and then resumed to its end. A moment is ``where@n``: the n-th time it is met.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import piplay.engine.local.policies
import piplay.training.run_directory
from piplay.cli.main import main
from piplay.engine.local.engine import LocalEngine
from piplay.engine.local.policies import Policies
from piplay.training.run_directory import Run

PLACES: dict[str, tuple[Any, str]] = {
    "turn": (LocalEngine, "ready"),
    "update": (LocalEngine, "train"),
    "replace": (os, "replace"),
    "rename": (Path, "rename"),
    "weights": (piplay.engine.local.policies, "save_file"),
    "rollouts": (piplay.training.run_directory.pq, "write_table"),
    "commit": (Run, "commit"),
    "tasks": (Run, "save_tasks"),
    "finish": (Run, "finish"),
    "export": (Policies, "export"),
}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(moment: str) -> None:
    """Make this process kill itself at a moment: before the call, or after it where the place ends in a dash."""
    where, _, number = moment.partition("@")
    left = int(number)
    if where == "half-line":
        log = Run.log

        def half(self: Run, row: dict[str, Any]) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
                    file.write('{"n": 1, "pha')
                die()
            log(self, row)

        Run.log = half  # type: ignore[method-assign]
        return
    owner, name = PLACES[where.removesuffix("-")]
    original: Callable[..., Any] = getattr(owner, name)

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0 and not where.endswith("-"):
            die()
        result = original(*args, **kwargs)
        if left == 0:
            die()
        return result

    setattr(owner, name, counted)


def child(arguments: list[str], moment: str | None, log: Path) -> int:
    """The wait status of a forked process that runs a command."""
    pid = os.fork()
    if pid == 0:
        with log.open("a") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        if moment:
            arm(moment)
        code = 70
        try:
            code = main(arguments)
        finally:
            sys.stdout.flush()
            os._exit(code)
    return os.waitpid(pid, 0)[1]


if __name__ == "__main__":
    recipe, out, *moments = sys.argv[1:]
    for chain in moments:
        folder, log = Path(out) / chain, Path(out) / f"{chain}.log"
        command = ["train", recipe, "--run-dir", str(folder)]
        for moment in [*chain.split("+"), None]:
            status = child(command, moment, log)
            expected = 0 if moment is None else signal.SIGKILL
            if status != expected:
                sys.exit(f"{chain}: {moment} ended with {status}, not {expected}:\n{log.read_text()}")
            command = ["resume", str(folder), "--trust"]
