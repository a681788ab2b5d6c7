"""Folders in shared memory: gone with their maker, and never another's."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from piplay.engine import shared
from piplay.engine.shared import SharedFolder

MAKE = """
import sys, time
from pathlib import Path
from piplay.engine import shared
shared.SHARED = Path(sys.argv[1])
held = shared.SharedFolder()
print(held.path, flush=True)
time.sleep(60)
"""


@pytest.mark.slow
def test_a_killed_makers_folder_is_removed_and_a_living_ones_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "SHARED", tmp_path)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", MAKE, str(tmp_path)]
    makers = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    dead, alive = (Path(maker.stdout.readline().strip()) for maker in makers if maker.stdout)
    try:
        os.kill(makers[0].pid, signal.SIGKILL)
        makers[0].wait()
        SharedFolder().remove()
        assert dead.is_dir(), "too young: its maker may be about to hold it"
        old = time.time() - 120
        for folder in (dead, alive):
            os.utime(folder, (old, old))
        mine = SharedFolder()
        assert not dead.exists()
        assert alive.is_dir()
        assert mine.path.is_dir()
        mine.remove()
        mine.remove()
        assert list(tmp_path.iterdir()) == [alive]
    finally:
        for maker in makers:
            maker.kill()
            maker.wait()
