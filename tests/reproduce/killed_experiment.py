"""Plays an experiment that dies: a program of its own, which forks a child for each try and kills it from within.

    python killed_experiment.py MOMENT,MOMENT,… COMMAND…

At each moment of ``training/killed.py`` the command is killed once; then it is run to its end.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))

import signal

from killed import child

if __name__ == "__main__":
    moments, *command = sys.argv[1:]
    log = Path(f"{command[command.index('--out') + 1]}.log")
    for moment in [*moments.split(","), None]:
        status = child(command, moment, log)
        if status != (0 if moment is None else signal.SIGKILL):
            sys.exit(f"{moment} ended with {status}:\n{log.read_text()}")
