"""Trackers: TensorBoard, Weights & Biases and trackio as listeners of the loop.

They are told what happens and say nothing back.

Every number of a row of metrics.jsonl goes there under its own name, at x = ``n``, the run's step count; those of an
evaluation under ``eval/``, at the step count at which it was made; the settings under the names that change them on the
command line.
"""

from __future__ import annotations

import importlib
import json
import os
import secrets
import shutil
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from piplay.config import Config, flat
from piplay.errors import InputError, in_a_line
from piplay.settings import Phase
from piplay.training.loop import Listener
from piplay.training.run_directory import Run

Rows = Sequence[Mapping[str, Any]]


class Tracker(Listener):
    """Listens to a loop and keeps its numbers somewhere. Nothing is written before the run has begun."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._n = 0

    @staticmethod
    @abstractmethod
    def ready() -> None:
        """Raises ``ImportError`` where the library is not installed, ``InputError`` where it cannot be used."""

    @abstractmethod
    def open(self, rows: Rows, evals: Rows) -> None:
        """Get ready to be told of what follows these steps and evaluations; ``recall`` tells them, where need be."""

    @abstractmethod
    def tell(self, values: Mapping[str, float], n: int, evaluation: bool) -> None:
        """Numbers of step ``n``, or of the evaluation after it."""

    @abstractmethod
    def close(self, failed: bool) -> None: ...

    def recall(self, rows: Rows, evals: Rows, since: int) -> None:
        """Tell a run's past from step ``since`` on, as it was told when it happened."""
        past = [(int(row["n"]), False, row) for row in rows]
        past += [(sum(row["iteration"] <= found["iteration"] for row in rows), True, found) for found in evals]
        for n, evaluation, row in sorted(past, key=lambda told: told[:2]):
            if n >= since:
                self.tell(numbers(row, _questions(row) if evaluation else ""), n, evaluation)

    def began(self, rows: Rows, evals: Rows) -> None:
        self._n = len(rows)
        self.open(rows, evals)

    def phase(self, iteration: int, phase: Phase, done: int, headline: Mapping[str, str]) -> None:
        """Its name is in no chart."""

    def step(self, row: Mapping[str, Any]) -> None:
        self._n = row["n"]
        self.tell(numbers(row), self._n, False)

    def measuring(self, what: str, done: int, of: int) -> None:
        """Nothing to keep."""

    def evaluated(self, row: Mapping[str, Any], sentence: str) -> None:
        self.tell(numbers(row, _questions(row)), self._n, True)

    def message(self, sentence: str) -> None:
        """It is in no chart."""


class TensorBoard(Tracker):
    """Event files in RUN/tensorboard, one a start of the run.

    A resumed run has TensorBoard purge the last step that holds and what was told after it, and tells that one again.
    """

    _writer: Any = None

    @staticmethod
    def ready() -> None:
        importlib.import_module("torch.utils.tensorboard")

    def open(self, rows: Rows, evals: Rows) -> None:
        tensorboard: Any = importlib.import_module("torch.utils.tensorboard")
        self._writer = tensorboard.SummaryWriter(str(self._run.folder / "tensorboard"), purge_step=len(rows))
        told = settings(self._run.config)
        self._writer.add_text("config", "".join(f"    {name} = {value}\n" for name, value in told.items()))
        # ``add_hparams`` would open a second file, and TensorBoard reads no file that is followed by another.
        for summary in tensorboard.summary.hparams(told, {"eval/em": 0.0}):
            self._writer.file_writer.add_summary(summary)
        self.recall(rows, evals, since=len(rows))

    def tell(self, values: Mapping[str, float], n: int, evaluation: bool) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, n)
        # Steps that a checkpoint holds are not told again, so they may not wait in a buffer.
        self._writer.flush()

    def close(self, failed: bool) -> None:
        if self._writer is not None:
            self._writer.close()


class WandB(Tracker):
    """A run of Weights & Biases, with its files in RUN/wandb. RUN/wandb-id names it: a resumed run goes on under it.

    W&B only appends, and what was in its buffers when the run was killed is lost. So a resumed run is told from RUN's
    own files what W&B does not have, and nothing that it has. Offline it has nothing but its file: it is told all,
    and the file before is removed. Its own step is 2n, and 2n + 1 for the evaluation after step n.
    """

    _wandb: Any = None
    _next = 0

    @staticmethod
    def ready() -> None:
        import wandb

        try:
            if wandb.setup().settings.mode not in ("offline", "disabled"):
                wandb.login(verify=False)
        except wandb.Error as error:
            raise _unusable(error) from error

    def open(self, rows: Rows, evals: Rows) -> None:
        import wandb

        folder = self._run.folder
        name = _name(folder / "wandb-id")
        for old in folder.glob(f"wandb/offline-run-*-{name}"):
            shutil.rmtree(old)
        try:
            self._wandb = wandb.init(
                project=os.environ.get("WANDB_PROJECT", "piplay"),
                name=os.environ.get("WANDB_NAME", folder.name),
                id=name,
                resume="allow",
                dir=folder,
                config=settings(self._run.config),
            )
        except wandb.Error as error:
            raise _unusable(error) from error
        self._wandb.define_metric("*", step_metric="n")
        self._next = self._wandb.step
        self.recall(rows, evals, since=0)

    def tell(self, values: Mapping[str, float], n: int, evaluation: bool) -> None:
        step = 2 * n + evaluation
        if step >= self._next:
            self._wandb.log({**values, "n": n}, step=step, commit=True)

    def close(self, failed: bool) -> None:
        if self._wandb is not None:
            self._wandb.finish(exit_code=int(failed))


class Trackio(Tracker):
    """A run of trackio, kept by it on this machine (TRACKIO_DIR). RUN/trackio-id is part of its name.

    What is there of a run that goes on is removed, and told again from RUN's own files. A Space or a server, which
    trackio takes from its own environment variables, keeps what it has, and is told what follows the last checkpoint.
    Its step is n. A name that trackio reserves, such as ``step``, stands under ``row/``.
    """

    _trackio: Any = None

    @staticmethod
    def ready() -> None:
        importlib.import_module("trackio")

    def open(self, rows: Rows, evals: Rows) -> None:
        trackio: Any = importlib.import_module("trackio")
        folder, project = self._run.folder, os.environ.get("TRACKIO_PROJECT", "piplay")
        name = f"{folder.name}-{_name(folder / 'trackio-id')}"
        elsewhere = any(os.environ.get(f"TRACKIO_{place}") for place in ("SPACE_ID", "SERVER_URL"))
        if not elsewhere:
            with suppress(ValueError):  # where nothing was ever told of the project
                for old in [run for run in trackio.Api().runs(project) if run.name == name]:
                    old.delete()
        told = settings(self._run.config)
        self._trackio = trackio.init(project, name=name, config=told, resume="allow", embed=False, auto_log_gpu=False)
        if not elsewhere:
            self.recall(rows, evals, since=0)

    def tell(self, values: Mapping[str, float], n: int, evaluation: bool) -> None:
        named = {f"row/{name}" if name in RESERVED else name: value for name, value in values.items()}
        self._trackio.log(named, step=n)

    def close(self, failed: bool) -> None:
        if self._trackio is not None:
            self._trackio.finish()


RESERVED = ("project", "run", "timestamp", "step", "time", "metrics")
"""What trackio calls columns of its own."""
KINDS: dict[str, type[Tracker]] = {"tensorboard": TensorBoard, "wandb": WandB, "trackio": Trackio}


def check_trackers(names: Sequence[str]) -> None:
    """Raises ``InputError`` where a tracker's library is not installed or cannot be used."""
    for name in names:
        try:
            KINDS[name].ready()
        except ImportError as error:
            extra = "trackio" if name == "trackio" else "track"
            raise InputError(
                f"the tracker {name} cannot be imported ({error}): pip install 'piplay[{extra}]', or leave it out"
            ) from error


def trackers_of(run: Run) -> list[Tracker]:
    """The trackers that a run's settings name."""
    return [KINDS[name](run) for name in run.config.trackers]


def _name(file: Path) -> str:
    """The name that a file keeps for a run; a new one where there is no file yet."""
    name = file.read_text(encoding="utf-8").strip() if file.exists() else ""
    if not name:
        name = secrets.token_hex(4)
        file.write_text(f"{name}\n", encoding="utf-8")
    return name


def _questions(row: Mapping[str, Any]) -> str:
    """What an evaluation's numbers stand under: a run's own questions have a name of their own."""
    return "self_generated" if "questions" in row else "eval"


def numbers(row: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers of a row by name; those of a table in it as ``table/name``."""
    found: dict[str, float] = {}
    for key, value in row.items():
        name = f"{prefix}/{key}" if prefix else key
        if isinstance(value, Mapping):
            found |= numbers(value, name)
        elif isinstance(value, int | float):
            found[name] = value
    return found


def settings(config: Config) -> dict[str, bool | int | float | str]:
    """A run's settings, flat, under the names that change them on the command line; lists as JSON."""
    told = {name: value for name, value in flat(config).items() if value is not None and value != {}}
    return {name: json.dumps(value) if isinstance(value, list) else value for name, value in told.items()}


def _unusable(error: Exception) -> InputError:
    reason = in_a_line(error)
    return InputError(f"W&B cannot be used ({reason}); WANDB_MODE=offline needs neither login nor network")
