"""Where episodes are played: one call from tasks to episodes."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from piplay.chat.base import Chat
from piplay.config import Limits
from piplay.engine.protocol import Engine
from piplay.envs.search.searcher import Searcher
from piplay.rollout.context import Context, Want
from piplay.rollout.drive import drive
from piplay.types import Episode, Key, PolicyRef, Task

Story = Callable[[Task, Context], Coroutine[Want, Any, Episode]]
"""How an episode goes: a game's ``play``."""


@dataclass(frozen=True, slots=True)
class Stage:
    """The machinery that all episodes share."""

    engine: Engine
    chat: Chat
    searcher: Searcher
    limits: Limits
    top_k: int
    """Passages that one search returns."""
    prompts: Mapping[str, str] = field(default_factory=dict)
    """See ``Context``."""

    def play(
        self, story: Story, key: Key, tasks: Sequence[Task], seats: Mapping[str, str], temperature: float
    ) -> list[Episode]:
        """One episode a task, all of them at once and in order; the i-th draws under the key ``(*key, i)``.

        ``seats`` maps a role to the name of its policy.
        """
        policies = {role: PolicyRef(policy) for role, policy in seats.items()}
        episodes = [
            story(task, Context((*key, i), self.chat, policies, self.limits, temperature, self.prompts))
            for i, task in enumerate(tasks)
        ]
        return drive(episodes, self.engine, self.searcher, self.top_k)
