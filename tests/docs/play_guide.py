"""Plays a guide as its reader would: a program of its own, which forks a child for each command.

    python play_guide.py OUT GUIDE...

Each guide has a folder of its own in OUT. A block with a file's name (``python look.py``) becomes that file; of a block
``sh`` each line is a command. ``sh track`` needs the trackers' libraries; ``sh fetch`` needs a network and is left out.
``piplay`` and ``python FILE`` run in a fork of this process, which has imported what takes long; other commands in
bash. A line of JSON tells how each ended.
"""

import importlib.util
import json
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
import transformers  # noqa: F401

import piplay.training.assemble
import piplay.training.loop  # noqa: F401
from piplay.cli.main import main


def blocks(guide: Path) -> Iterator[tuple[str, str]]:
    """What stands behind the fences, and what they hold."""
    text = guide.read_text(encoding="utf-8")
    yield from re.findall(r"^```(\S[^\n]*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def wanted(info: str) -> bool:
    """Whether the commands of a block are run here."""
    tracked = all(importlib.util.find_spec(name) for name in ("tensorboard", "wandb"))
    return info == "sh" or (info == "sh track" and tracked)


def play(command: str, log: Path) -> int:
    """The exit code of a command, whose output goes to ``log``."""
    words = shlex.split(command)
    settings = {}
    while re.match(r"\w+=", words[0]):
        name, _, value = words.pop(0).partition("=")
        settings[name] = value
    file = words[1] if words[0] == "python" and words[1].endswith(".py") else ""
    if words[0] != "piplay" and not file:
        with log.open("w") as out:
            return subprocess.run(["bash", "-euc", command], stdout=out, stderr=out, check=False).returncode
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 70
    try:
        with log.open("w") as out:
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
        os.environ.update(settings)
        sys.path[:0] = [str(Path(path).resolve()) for path in settings.get("PYTHONPATH", "").split(":") if path]
        if file:
            sys.argv = words[1:]
            runpy.run_path(file, run_name="__main__")
            code = 0
        else:
            code = main(words[1:])
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    # The guides' runs are too small for two threads, and a machine of tests may have one core.
    torch.set_num_threads(1)
    torch.set_num_threads = lambda number: None
    out, *guides = map(Path, sys.argv[1:])
    for guide in guides:
        folder = (out / guide.stem).resolve()
        folder.mkdir(parents=True)
        os.chdir(folder)
        for info, text in blocks(guide):
            language, _, name = info.partition(" ")
            if language == "sh" and wanted(info):
                for number, command in enumerate(text.replace("\\\n", " ").splitlines()):
                    log = Path(f".log-{number}")
                    done = {
                        "guide": guide.stem,
                        "command": command,
                        "code": play(command, log),
                        "said": log.read_text(),
                    }
                    print(json.dumps(done), flush=True)
                    log.unlink()
            elif language != "sh" and name:
                Path(name).parent.mkdir(parents=True, exist_ok=True)
                Path(name).write_text(text, encoding="utf-8")
