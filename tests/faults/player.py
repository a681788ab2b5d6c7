"""Runs commands of piplay that fail at a file operation, are killed, or meet a limit: a process of its own.

It reads one job a line from standard input, as JSON, forks a child that has everything imported already, and prints
what came of it. Started with ``failing.so`` in LD_PRELOAD, whose ``arm`` each child calls for itself.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

import piplay.api
import piplay.cli.commands
import piplay.report.replay  # noqa: F401
from piplay.cli.main import main


def child(job: dict[str, Any]) -> None:
    """What a job wants, in a forked process; never returns."""
    code = 70
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(job[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    try:
        if "limit" in job:
            resource.setrlimit(resource.RLIMIT_FSIZE, (job["limit"], job["limit"]))
        if "root" in job:
            arm = ctypes.CDLL(os.environ["LD_PRELOAD"]).arm
            numbers = [
                ctypes.c_long(job.get("at", -1)),
                job.get("errno", 0),
                job.get("lasting", 0),
                job.get("reads", 0),
            ]
            arm(job["root"].encode(), *numbers, job.get("trace", "").encode())
        code = main(job["words"])
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def play(job: dict[str, Any]) -> dict[str, Any]:
    """A job's exit code, or the number of the signal below 0, and its seconds."""
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        child(job)
    end = began + job.get("kill_after", 600.0)
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
            break
        time.sleep(0.002)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    out, err = (Path(job[name]).read_text(errors="replace") for name in ("out", "err"))
    return {"code": code, "seconds": round(time.monotonic() - began, 3), "out": out, "err": err}


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(play(json.loads(line))), flush=True)
