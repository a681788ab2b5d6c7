"""Where a run stands, besides its weights, and how it is written down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from piplay.border.code import listed, name_of
from piplay.config import Config
from piplay.errors import InputError
from piplay.types import State, Task

SCHEMA = 3
"""Of run directories: raised when an older piplay could not read a newer one's, or the other way round."""


@dataclass(slots=True)
class RunState:
    """Everything that a checkpoint keeps besides weights."""

    commits: int = 0
    """Checkpoints made."""
    done: int = 0
    """Steps committed, counted over the whole run."""
    phase: int = 0
    """Index into the run's phases, iterations one after the other."""
    step: int = 0
    """Steps done of that phase."""
    recent: list[float] = field(default_factory=list)
    """Of the phase's last steps, the metric that may end it."""
    games: dict[str, State] = field(default_factory=dict)
    """What each phase's game remembers, by the phase's name."""
    sources: dict[str, State] = field(default_factory=dict)
    """What each task source remembers."""
    learners: dict[str, State] = field(default_factory=dict)
    """What advantages remember and how many updates were made, by phase and role."""
    opponents: dict[str, State] = field(default_factory=dict)
    """Snapshots to play against, by policy."""
    snapshots: list[str] = field(default_factory=list)
    """Snapshots that phases took, for losses to ask."""
    evaluation: State = field(default_factory=dict)
    evals: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    """Wall-clock seconds spent so far."""

    def tree(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def read_state(file: Path, config: Config) -> RunState:
    """What a checkpoint's ``state.json`` holds. Raises ``InputError`` where it is damaged or no state of such a run."""
    try:
        state = TypeAdapter(RunState).validate_json(file.read_bytes(), strict=True)
    except OSError as error:
        raise InputError(f"the checkpoint {file.parent} is damaged ({file.name}: {error.strerror})") from error
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        problem = f"{where}: {error.errors()[0]['msg']}".removeprefix(": ")
        raise InputError(f"the checkpoint {file.parent} is damaged ({file.name}: {problem})") from error
    if problem := _inconsistent(state, config):
        raise InputError(f"the checkpoint {file.parent} is damaged ({file.name}: {problem})")
    return state


def _inconsistent(state: RunState, config: Config) -> str:
    """What no run of these settings can have come to; empty for a state that one can."""
    places = len(config.phases) * config.iterations
    if not 0 <= state.phase <= places:
        return f"phase {state.phase} of {places}"
    steps = config.phases[state.phase % len(config.phases)].steps if state.phase < places else 0
    if not 0 <= state.step <= steps:
        return f"step {state.step} of {steps}"
    most = sum(phase.steps for phase in config.phases) * config.iterations
    if not state.step <= state.done <= most:
        return f"{state.done} steps done, {state.step} of them in this phase, {most} in all"
    if len(state.evals) > config.iterations + 1:
        return f"{len(state.evals)} evaluations in {config.iterations} iterations"
    return ""


def task_tree(task: Task) -> dict[str, Any]:
    """A task as JSON has it, with the kind of its class. Raises ``InputError`` where a field of it is no JSON."""
    try:
        fields = TypeAdapter(type(task)).dump_python(task, mode="json")
    except (PydanticUserError, ValueError, TypeError) as error:
        problem = " ".join(str(error).split("\n")[0].split())
        raise InputError(f"a task of {name_of(task)} cannot be written down ({problem}): take plain fields") from error
    _kind(task.kind)
    return {"kind": task.kind, **fields}


def task_of(tree: Mapping[str, Any]) -> Task:
    """The task of such a tree. Raises ``InputError`` where its kind is not known or its fields do not fit."""
    fields = dict(tree)
    kind = _kind(fields.pop("kind", ""))
    try:
        task: Task = TypeAdapter(kind).validate_python(fields)
    except ValidationError as error:
        raise InputError(f"a stored task of kind {kind.kind} is damaged ({error.errors()[0]['msg']})") from error
    return task


def _kind(name: Any) -> type[Task]:
    """The class of the tasks of a kind, of which one that was made twice, as slots are, counts once."""
    known: list[type[Task]] = [Task, *_below(Task)]
    found = {name_of(kind): kind for kind in known if kind.kind == name}
    if not found:
        raise InputError(
            f"a stored task is of kind {name!r}, which is no class that was imported: in Python import its module first"
        )
    if len(found) > 1:
        raise InputError(f"{listed(sorted(found))} are all tasks of kind {name!r}: give each a kind of its own")
    return next(iter(found.values()))


def _below(kind: type[Task]) -> Iterator[type[Task]]:
    for sub in kind.__subclasses__():
        yield sub
        yield from _below(sub)
