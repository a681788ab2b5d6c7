"""A method without a model, whose whole run takes a tenth of a second: what it writes follows from its weights.

So hundreds of broken runs are affordable, and each that comes to other weights, rollouts or tasks shows. Everything
around it, the loop, the run's directory, checkpoints, parquet and safetensors, is the package's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from safetensors.numpy import load_file, save_file

from piplay.engine.protocol import Generate, Generated, Usage
from piplay.protocols import Environment, Evaluation, Game
from piplay.rollout.context import Context
from piplay.rollout.stage import Stage
from piplay.settings import EngineSettings, Policy
from piplay.streams import stream
from piplay.types import Episode, Key, PolicyRef, Sample, ScoredTrajectory, State, Task

RECIPE = """\
name = "bare"
iterations = 1
checkpoint_every = 1
limits = { turns = 1, turn_tokens = 8, tokens = 400 }
engine = { kind = "bare:BareEngine", threads = 1 }
environment = "bare:Nothing"
evaluation = "bare:Sum"
sources.rounds = "bare:Rounds"
policies.player = { lr = 0.1 }
policies.shadow = { follows = "player", tau = 0.2 }

[[phases]]
name = "ask"
game = "bare:Ask"
tasks = "rounds"
steps = 2
episodes = 3
writes = 4
seats = { player = "player" }

[[phases]]
name = "learn"
game = "bare:Play"
tasks = "written"
steps = 5
episodes = 3
seats = { player = "player" }
learn.player = { replay = { keep = "positive", size = 4 } }
"""


class BareEngine:
    """Draws ids by a hash of its weights, and moves its weights by what was drawn and rewarded."""

    deterministic = True

    def __init__(self, policies: Mapping[str, Policy], seed: int) -> None:
        self._policies, self._seed = policies, seed
        self._weights = {name: stream(seed, ("weights", name)).normal(size=2000) for name in policies}
        self._moments = {name: np.zeros(2000) for name in policies}
        self._open: list[Generate] = []

    @classmethod
    def start(cls, model: Path, policies: Mapping[str, Policy], settings: EngineSettings, *, seed: int) -> BareEngine:
        return cls(policies, seed)

    def submit(self, request: Generate) -> None:
        self._open.append(request)

    def ready(self, pause: Callable[[], bool] | None = None) -> list[Generated]:
        asked, self._open = self._open, []
        return [self._write(request) for request in asked]

    def _write(self, request: Generate) -> Generated:
        weights = self._weights[request.policy.name]
        drawn = stream(self._seed, (*request.key, weights.tobytes().hex()))
        ids = drawn.integers(5, 250, size=request.max_new)
        return Generated(request.key, ids, drawn.uniform(-3, 0, len(ids)).astype(np.float32), closed=False, version=0)

    def close(self, session: Key) -> None: ...

    def usage(self) -> Usage:
        return Usage()

    def train(
        self, policy: str, samples: Sequence[Sample], losses: Mapping[str, Any], lr: float | None = None
    ) -> dict[str, float]:
        gradient = np.zeros(2000)
        for sample in samples:
            gradient[sample.ids_T % 2000] += sample.reward * float(sum(term.sum() for term in sample.terms.values()))
        self._moments[policy] = 0.9 * self._moments[policy] + gradient
        self._weights[policy] = self._weights[policy] + 0.1 * self._moments[policy]
        for name, other in self._policies.items():
            if other.follows == policy:
                self._weights[name] += other.tau * (self._weights[policy] - self._weights[name])
        return {"loss": float(gradient.sum()), "tokens": float(len(samples)), "grad_norm": 0.5}

    def score(self, policy: PolicyRef, samples: Sequence[Sample], view: str = "") -> list[Any]:
        return [np.zeros(len(sample.ids_T), np.float32) for sample in samples]

    def read(self, policy: PolicyRef, samples: Sequence[Sample], losses: Any) -> list[Any]:
        return [{} for _ in samples]

    def snapshot(self, policy: str, name: str) -> PolicyRef:
        return PolicyRef(policy, name)

    def forget(self, snapshot: PolicyRef) -> None: ...

    def save(self, folder: Path) -> None:
        for name, weights in self._weights.items():
            save_file({"weights": weights, "moments": self._moments[name]}, folder / f"{name}.safetensors")

    def load(self, folder: Path) -> None:
        for name in self._weights:
            stored = load_file(folder / f"{name}.safetensors")
            self._weights[name], self._moments[name] = stored["weights"], stored["moments"]

    def export(self, policy: str, folder: Path) -> None:
        save_file({"weights": self._weights[policy]}, folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps({"policy": policy}), encoding="utf-8")


class Nothing:
    """An environment without anything."""

    tools, heldout, audit = (), (), None

    def describe(self) -> str:
        return "nothing"


class Rounds:
    """As many tasks as are asked for."""

    def draw(self, key: Key, count: int) -> list[Task]:
        return [Task("/".join(map(str, (*key, i)))) for i in range(count)]

    def note(self, episodes: Sequence[Episode]) -> None: ...


@dataclass(frozen=True, slots=True)
class Riddle(Task):
    """What was written for it."""

    kind: ClassVar[str] = "riddle"
    text: str = ""

    def row(self) -> dict[str, Any]:
        return {"text": self.text}


async def _turn(task: Task, context: Context) -> tuple[ScoredTrajectory, str]:
    line = context.open("player", "Say a number.", task.id)
    await line.say()
    trajectory = await line.close()
    written = "-".join(map(str, trajectory.ids_T[trajectory.prompt_len :].tolist()))
    return ScoredTrajectory(trajectory, ("all",), float(trajectory.ids_T.sum() % 7) / 7), written


class Ask(Game):
    """Each episode writes a riddle."""

    roles: Sequence[str] = ("player",)

    def __init__(self, state: State) -> None:
        self._state = state

    async def play(self, task: Task, context: Context) -> Episode:
        scored, written = await _turn(task, context)
        return Episode(context.key, task, (scored,), (Riddle(written, text=written),))

    def finalize_batch(self, episodes: Sequence[Episode]) -> list[Episode]:
        self._state["asked"] = self._state.get("asked", 0) + len(episodes)
        return list(episodes)


class Play(Game):
    """Each episode is rewarded by what its ids add up to."""

    roles: Sequence[str] = ("player",)

    async def play(self, task: Task, context: Context) -> Episode:
        scored, _ = await _turn(task, context)
        return Episode(context.key, task, (scored,), facts={"length": float(len(scored.trajectory.ids_T))})


class Sum(Evaluation):
    """The mean reward of some rounds."""

    exports = ("player",)

    def __init__(self, environment: Environment) -> None: ...

    def measure(self, stage: Stage, iteration: int) -> dict[str, Any]:
        tasks = Rounds().draw(("evaluate", iteration), 2)
        played = stage.play(Play().play, ("evaluate", iteration), tasks, {"player": "player"}, 1.0)
        return {"mean": float(np.mean([episode.trajectories[0].reward for episode in played]))}
