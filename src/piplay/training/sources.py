"""The task source that every run has: what its phases write."""

from __future__ import annotations

from collections.abc import Sequence

from piplay.streams import stream
from piplay.training.state import task_of, task_tree
from piplay.types import Episode, Key, State, Task


class WrittenSource:
    """Tasks that an earlier phase wrote, every one once before any twice."""

    def __init__(self, state: State, seed: int) -> None:
        self._state, self._seed = state, seed
        self.tasks: list[Task] = [task_of(tree) for tree in state.get("tasks", ())]
        """The task set that the last writing phase left."""

    def draw(self, key: Key, count: int) -> list[Task]:
        """See ``TaskSource.draw``. Each round through the set has an order of its own."""
        *phase, step = key
        assert isinstance(step, int)
        chosen = []
        for place in range(step * count, (step + 1) * count):
            order = stream(self._seed, (*phase, "order", place // len(self.tasks))).permutation(len(self.tasks))
            chosen.append(self.tasks[order[place % len(self.tasks)]])
        return chosen

    def note(self, episodes: Sequence[Episode]) -> None:
        """Nothing to learn."""

    @property
    def waiting(self) -> int:
        """How many tasks the phase that is writing has written."""
        return len(self._state.get("waiting", ()))

    def add(self, tasks: Sequence[Task]) -> None:
        """Keep what the phase that is writing wrote."""
        self._state.setdefault("waiting", []).extend(map(task_tree, tasks))

    def hand_over(self, most: int) -> list[Task]:
        """What was written, at most so many, becomes the task set."""
        self._state["tasks"], self._state["waiting"] = self._state.get("waiting", [])[:most], []
        self.tasks = [task_of(tree) for tree in self._state["tasks"]]
        return self.tasks
