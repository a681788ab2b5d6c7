"""Breaks runs in every way that storage and people do, and says what came of them.

Operations are failed for real: a small library (failing.c) stands before the C library's ``open``, ``write``,
``rename``, ``fsync`` and others, so that Python, safetensors (Rust) and Arrow (C++) meet the same errors as on a broken
disk. Nothing of the package is replaced. A child process is forked for each command from one that has imported
everything, so that hundreds of runs are affordable.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq

HERE = Path(__file__).parent
Outcome = Literal["same bits", "refused", "traceback", "other results", "litter", "lost"]
GOOD: tuple[Outcome, ...] = ("same bits", "refused")

RECIPE = """\
name = "toy"
iterations = 1
checkpoint_every = 1
limits = { turns = 2, turn_tokens = 6, tokens = 1400 }
engine = { threads = 1, slots = 6 }
sources.seed_passages = { kind = "pi_play:SeedPassages", hop_odds = [1] }
evaluation = { kind = "pi_play", per_hop = 1, teacher_every = 2, teacher_tasks = 1 }
report = { grid = 1 }
policies.examiner = { lr = 1e-3 }
policies.student = { lr = 1e-3 }
policies.teacher = { follows = "student", tau = 0.2 }

[[phases]]
name = "examine"
game = "toys.games:PaidExamine"
tasks = "seed_passages"
steps = 2
episodes = 2
seats = { examiner = "examiner", student = "student" }
learn.examiner = {}
options = { probes = 1, gates = [] }

[[phases]]
name = "write"
game = "toys.games:PaidExamine"
tasks = "seed_passages"
writes = 2
steps = 2
episodes = 2
seats = { examiner = "examiner" }
options = { probes = 0, gates = [] }

[[phases]]
name = "study"
game = "toys.games:PaidStudy"
tasks = "written"
steps = 3
episodes = 1
seats = { student = "student" }
learn.student.losses.pg = {}
learn.student.losses.distill = { weight = 0.5, policy = "teacher", top_k = 8 }
options = { rollouts = 2 }
"""
"""Every kind of phase and of file, as short as can be."""


def build(folder: Path) -> Path:
    """The library of failing.c, compiled."""
    library = folder / "failing.so"
    command = ["gcc", "-O1", "-shared", "-fPIC", "-o", str(library), str(HERE / "failing.c"), "-ldl"]
    subprocess.run(command, check=True)
    return library


@dataclass(frozen=True, slots=True)
class Result:
    """What a command came to."""

    code: int
    """Below 0: the signal that ended it."""
    out: str
    err: str
    seconds: float

    @property
    def clean(self) -> bool:
        """Whether what went wrong is at most one sentence, and the exit code says so."""
        told = [line for line in self.err.splitlines() if line.startswith("piplay: ")]
        if "Traceback" in self.err or "Traceback" in self.out or self.code not in (0, 2, 3, -9):
            return False
        return self.code in (0, -9) or len(told) == 1


class Player:
    """Plays commands, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = os.pathsep.join([str(HERE), str(HERE.parent), *sys.path])
        environment = os.environ | {
            "PYTHONPATH": path,
            "TOKENIZERS_PARALLELISM": "false",
            "OMP_NUM_THREADS": "1",
            "LD_PRELOAD": str(build(folder)),
        }
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "player.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=folder,
        )

    def __call__(self, *words: str | Path, **job: Any) -> Result:
        """Play one command; ``job``: see player.py."""
        assert self._process.stdin
        assert self._process.stdout
        files = {name: str(self.folder / f"std{name}") for name in ("out", "err")}
        # The harness' own method is not the package's.
        trusted = ["--trust"] if words[0] in ("resume", "report", "ask") else []
        self._process.stdin.write(json.dumps({"words": [*map(str, words), *trusted], **files, **job}) + "\n")
        self._process.stdin.flush()
        told = json.loads(self._process.stdout.readline())
        return Result(told["code"], told["out"], told["err"], told["seconds"])

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def content(run: Path) -> dict[str, Any]:
    """What a run has come to, file by file: times, hashes of what has times in it and the machine aside."""
    found: dict[str, Any] = {}
    for path in sorted(path for path in run.rglob("*") if path.is_file()):
        name = path.relative_to(run).as_posix()
        if path.suffix == ".parquet":
            found[name] = pq.read_table(path).to_pylist()
        elif name == "metrics.jsonl":
            rows = [json.loads(line) for line in path.read_text().splitlines()]
            found[name] = [{key: value for key, value in row.items() if key != "seconds"} for row in rows]
        elif path.name in ("summary.json", "state.json"):
            tree = json.loads(path.read_text())
            found[name] = {key: value for key, value in tree.items() if key not in ("seconds", "wall_seconds")}
        elif name == "report.html" or path.name in ("lock", "manifest.json", "machine.json"):
            found[name] = None  # with times in them, or about the machine: there or not
        else:
            found[name] = path.read_bytes()
    return found


def operations(log: Path, run: Path) -> list[str]:
    """What ``failing.c`` wrote down, as ``write checkpoints/N/state.json``: numbers and random names aside."""
    lines = [line.replace(f"{run}", "").replace(" /", " ") for line in log.read_text().splitlines()]
    return [re.sub(r"\.tmp\w+", ".tmp", re.sub(r"\b\d+\b", "N", line)) for line in lines]


@dataclass(frozen=True, slots=True)
class Life:
    """What came of a run that was broken again and again."""

    outcome: Outcome
    happened: list[str]
    """The operations that failed, ``kill`` for a kill from outside."""
    told: str


class Lab:
    """A toy recipe, a run of it that nothing happened to, and ways of breaking others."""

    def __init__(self, folder: Path, recipe: Path, words: tuple[str, ...] = ()) -> None:
        """``words``: settings besides."""
        self.folder, self.recipe, self.words = folder, recipe, words
        self.bare = recipe.stem == "bare"
        self.player = Player(folder)
        whole = self.train(folder / "whole", root=str(folder / "whole"), trace=str(folder / "operations"))
        assert whole.code == 0, whole.err
        self.seconds = whole.seconds
        self.wanted = content(folder / "whole")
        self.operations = operations(folder / "operations", folder / "whole")

    def train(self, run: Path, **job: Any) -> Result:
        return self.player("train", self.recipe, *self.words, "--run-dir", run, **job)

    def go_on(self, run: Path, **job: Any) -> Result:
        """What a person does next: begin, resume, or make the report of a complete run."""
        if (run / "summary.json").exists():
            return self.player("report", run, **job)
        if (run / "config.json").exists():
            return self.player("resume", run, **job)
        return self.train(run, **job)

    def judge(self, run: Path, *results: Result) -> Outcome:
        """What came of a run after these commands, of which the last is what a person is left with."""
        if not all(result.clean for result in results):
            return "traceback"
        if results[-1].code != 0:
            return "refused"
        found = content(run)
        if found == self.wanted:
            return "same bits"
        more = found.keys() - self.wanted.keys()
        if more and {name: found[name] for name in self.wanted.keys() & found.keys()} == self.wanted:
            return "litter"
        return "other results"

    def life(self, breaks: Iterator[dict[str, Any]], most: int) -> Life:
        """A run that is broken again and again as it goes on, and at last left alone.

        Args:
            breaks: how, for each command: what a job of player.py takes, but for ``root`` and ``trace``.
            most: how often, unless it is complete before.
        """
        run, log = self.folder / "run", self.folder / "failed"
        shutil.rmtree(run, ignore_errors=True)
        happened: list[str] = []
        for number, job in zip(range(most), breaks, strict=False):
            if (run / "report.html").exists():
                break
            log.unlink(missing_ok=True)
            where = {"root": str(run), "trace": str(log)} if "at" in job else {}
            result = self.go_on(run, **job, **where)
            failed = operations(log, run) if log.exists() else ["kill"] if result.code == -9 else []
            happened += failed[:1] or [f"limit {job['limit']}" for _ in range("limit" in job)]
            told = f"{number} {job} {failed[:1]}: {result.code} {result.err}"
            if not result.clean:
                return Life("traceback", happened, told)
        last = self.go_on(run)
        if last.code == 0 and not (run / "report.html").exists():
            last = self.go_on(run)
        outcome = self.judge(run, last)
        # Nothing was damaged: there is no reason to refuse anything.
        found = content(run)
        other = sorted(name for name in found.keys() | self.wanted.keys() if found.get(name) != self.wanted.get(name))
        return Life("lost" if outcome == "refused" else outcome, happened, f"{last.code} {last.err} {other}")

    def interrupted(self) -> Path:
        """A run that was killed in its last phase, with two checkpoints and what was logged behind them."""
        run = self.folder / "interrupted"
        shutil.rmtree(run, ignore_errors=True)
        last = max(i for i, operation in enumerate(self.operations) if "rollouts/" in operation)
        broken = self.train(run, root=str(run), at=last)
        assert broken.code == -9
        return run

    def damaged(self, template: Path, file: str, spoil: Spoil) -> tuple[Outcome, str]:
        """A copy of a run with one damaged file, resumed."""
        run = self.folder / "run"
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(template, run)
        spoil.apply(run / file)
        last = self.player("resume", run)
        if last.code == 0 and not (run / "report.html").exists():
            self.player("report", run)
        return self.judge(run, last), f"{last.code} {last.err.strip()}"

    def asked(self, template: Path, file: str, spoil: Spoil, *words: str) -> tuple[Outcome, str]:
        """A copy of a complete run with one damaged file, asked or reported: as before, or something is said."""
        run = self.folder / "run"
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(template, run)
        before = self.player(words[0], run, *words[1:])
        page = (run / "report.html").read_text()
        spoil.apply(run / file)
        after = self.player(words[0], run, *words[1:])
        told = f"{after.code} {after.err.strip()}"
        if not after.clean:
            return "traceback", told
        if after.code:
            return "refused", told
        same = after.out == before.out and (words[0] != "report" or (run / "report.html").read_text() == page)
        said = "piplay: " in after.err or str(run / file) in after.out
        return ("same bits" if same else "refused" if said else "other results"), told

    def close(self) -> None:
        self.player.close()


@dataclass(frozen=True, slots=True)
class Spoil:
    """How a file is damaged."""

    how: Literal["flipped", "cut", "emptied", "removed", "zeroed", "grown"]
    place: float
    """Where, as a share of the file."""

    def apply(self, file: Path) -> None:
        raw = file.read_bytes()
        at = min(int(self.place * len(raw)), len(raw) - 1)
        match self.how:
            case "removed":
                file.unlink()
                return
            case "flipped":
                changed = raw[:at] + bytes([raw[at] ^ (1 << (at % 8))]) + raw[at + 1 :] if raw else b"x"
            case "zeroed":
                changed = raw[:at] + bytes(len(raw[at : at + 512])) + raw[at + 512 :]
            case "cut":
                changed = raw[:at]
            case "grown":
                changed = raw + raw[at:]
            case "emptied":
                changed = b""
        file.write_bytes(changed)


def damages(run: Path, seed: int) -> Iterator[tuple[str, Spoil]]:
    """Files of a run with damages, without end: each file in each way once, then places by the seed."""
    rng = random.Random(seed)
    files = sorted(path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file())
    files = [name for name in files if name not in ("lock", "report.html")]
    ways: list[Any] = ["flipped", "cut", "emptied", "removed", "zeroed", "grown"]
    first = [(name, how) for name in files for how in ways]
    rng.shuffle(first)
    while True:
        for name, how in first:
            yield name, Spoil(how, rng.random())
        first = [(name, how) for name, how in first if how in ("flipped", "flipped", "zeroed", "cut")]


def toy_lab(folder: Path) -> Lab:
    """A lab on a random model and a small world."""
    from toys.models import toy_model

    from piplay.envs.world.generate import encyclopedia
    from piplay.envs.world.store import write_world

    write_world(folder / "world", encyclopedia(3, 100), 3, "made for tests", per_hop=2)
    model = toy_model("qwen3", folder / "model")
    recipe = folder / "toy.toml"
    place = f'environment = {{ kind = "search", world = "{folder / "world"}" }}'
    recipe.write_text(f'model = "{model}"\n{place}\n{RECIPE}', encoding="utf-8")
    return Lab(folder, recipe)


def bare_lab(folder: Path) -> Lab:
    """A lab on a method without a model (bare.py)."""
    import bare
    from toys.models import toy_model

    model = toy_model("base", folder / "model")
    recipe = folder / "bare.toml"
    recipe.write_text(f'model = "{model}"\nchat = "tags"\n{bare.RECIPE}', encoding="utf-8")
    return Lab(folder, recipe)


def smoke_lab(folder: Path) -> Lab:
    """A lab on the package's own recipe ``smoke``."""
    return Lab(folder, Path("smoke"), ("--engine.threads", "1"))


def new_folder() -> Path:
    """In memory, where there is room: nothing here is about a disk's own failures, and syncs are many."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 2**30
    return Path(tempfile.mkdtemp(prefix="piplay-faults-", dir=memory if roomy else None))
