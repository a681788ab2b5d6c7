"""A run without a model: a small game that is right, an engine that writes by a script, and the loop over them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from toys.scripted import ScriptedEngine, says

from piplay.chat.base import Chat
from piplay.config import Config
from piplay.engine.protocol import Generate, Usage
from piplay.protocols import Game
from piplay.rollout.context import Context
from piplay.training.loop import Loop
from piplay.training.run_directory import Run
from piplay.types import Episode, Key, PolicyRef, Sample, ScoredTrajectory, Task, ToolCall, ToolResult, ToolSpec

ADD = ToolSpec(
    "add",
    "Adds.",
    {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    },
)


class Add:
    """Adds."""

    spec = ADD

    def answer(self, calls: Sequence[ToolCall]) -> list[ToolResult]:
        return [ToolResult(str(call.arguments["a"] + call.arguments["b"])) for call in calls]


class Sums:
    """An environment with one tool and nothing else."""

    tools, heldout, audit = (Add(),), (), None

    def describe(self) -> str:
        return "sums"


class Rounds:
    """As many tasks as are asked for."""

    def draw(self, key: Key, count: int) -> list[Task]:
        return [Task("/".join(map(str, (*key, i)))) for i in range(count)]

    def note(self, episodes: Sequence[Episode]) -> None: ...


class Guess(Game):
    """One turn of one role."""

    roles: Sequence[str] = ("guesser",)
    headline: ClassVar[Mapping[str, str]] = {"guesser/reward": "reward"}

    async def play(self, task: Task, context: Context) -> Episode:
        line = context.open("guesser", "Guess.", "A number?")
        await line.say()
        played = ScoredTrajectory(await line.close(), ("all",), 1.0)
        return Episode(context.key, task, (played,), facts={"secret": 3.0})


class IdleEngine(ScriptedEngine):
    """Writes by a script, and learns nothing."""

    @classmethod
    def start(cls, *given: Any, seed: int) -> IdleEngine:
        raise AssertionError("tests make it themselves")

    def usage(self) -> Usage:
        return Usage()

    def train(self, policy: str, samples: Sequence[Sample], losses: Any, lr: float | None = None) -> dict[str, float]:
        return {"loss": 0.5, "tokens": float(len(samples))}

    def score(self, policy: PolicyRef, samples: Sequence[Sample], view: str = "") -> list[Any]:
        return [np.zeros(len(sample.ids_T), np.float32) for sample in samples]

    def read(self, policy: PolicyRef, samples: Sequence[Sample], losses: Any) -> list[Any]:
        return [{} for _ in samples]

    def snapshot(self, policy: str, name: str) -> PolicyRef:
        return PolicyRef(policy, name)

    def forget(self, snapshot: PolicyRef) -> None: ...
    def save(self, folder: Path) -> None: ...
    def load(self, folder: Path) -> None: ...
    def export(self, policy: str, folder: Path) -> None: ...


class Heard:
    """A listener that keeps rows and messages."""

    def __init__(self) -> None:
        self.rows: list[Mapping[str, Any]] = []
        self.messages: list[str] = []

    def began(self, *told: object) -> None: ...
    def phase(self, *told: object) -> None: ...
    def measuring(self, *told: object) -> None: ...
    def evaluated(self, *told: object) -> None: ...
    def close(self, failed: bool) -> None: ...

    def step(self, row: Mapping[str, Any]) -> None:
        self.rows.append(row)

    def message(self, sentence: str) -> None:
        self.messages.append(sentence)


def settings(game: str, source: str = "border_helpers:Rounds", **changes: Any) -> Config:
    """Two steps of two episodes of a game; ``changes`` are of its phase, or of the run where the phase has none."""
    phase = {
        "name": "play",
        "game": game,
        "tasks": "rounds",
        "steps": 2,
        "episodes": 2,
        "seats": {"guesser": "guesser"},
        "learn": {"guesser": {}},
    }
    run = {"limits": {"tokens": 400, "turn_tokens": 64}} | {
        name: changes.pop(name) for name in list(changes) if name in Config.model_fields and name != "phases"
    }
    tree = {
        "name": "own",
        "iterations": 1,
        "sources": {"rounds": source},
        "policies": {"guesser": {}},
        "phases": [phase | changes],
    }
    return Config.model_validate(tree | run)


def loop_of(
    config: Config,
    chat: Chat,
    folder: Path,
    environment: Any = None,
    script: Callable[[Generate], str] = lambda request: says("4"),
) -> Loop:
    """The loop of a run, new or begun."""
    run = Run.open(folder) if folder.exists() else Run.create(folder, config)
    return Loop(run, environment or Sums(), IdleEngine(chat, script), chat, Heard())
