"""Where episodes are played: one call from tasks to episodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from piplay.border.play import told
from piplay.chat.base import Chat
from piplay.config import Config
from piplay.engine.protocol import Engine
from piplay.rollout.context import Context, Request
from piplay.rollout.driver import drive
from piplay.rollout.tools import Tool, ToolsFailed
from piplay.settings import Limits
from piplay.types import Episode, Key, PolicyRef, Task

AnyTask = TypeVar("AnyTask", bound=Task)
Play = Callable[[AnyTask, Context], Coroutine[Request, Any, Episode]]
"""How an episode goes: a game's ``play``."""
Seats = Mapping[str, PolicyRef]
"""Role to who plays it."""


@dataclass(frozen=True, slots=True)
class Stage:
    """The machinery that all episodes share."""

    engine: Engine
    chat: Chat
    tools: Mapping[str, Tool]
    limits: Limits
    prompts: Mapping[str, str] = field(default_factory=dict)
    """See ``Context``."""
    seed: int = 0
    """The run's."""
    ended: Callable[[], None] | None = None
    """Told of each episode that it is over."""

    @classmethod
    def of(cls, config: Config, engine: Engine, chat: Chat, tools: Mapping[str, Tool]) -> Stage:
        """A run's."""
        return cls(engine, chat, tools, config.limits, config.prompts, config.seed)

    def context(self, key: Key, seats: Seats, temperature: float, batch: Sequence[Task] = ()) -> Context:
        """What an episode of that key may ask for; ``batch``: the tasks that are played at once."""
        return Context(key, self.chat, seats, self.limits, temperature, self.prompts, self.seed, batch)

    def play(
        self,
        play: Play[AnyTask],
        key: Key,
        tasks: Sequence[AnyTask],
        seats: Mapping[str, str] | Sequence[Seats],
        temperature: float,
        check: Callable[[Episode], None] | None = None,
        tolerated: float = 0.0,
    ) -> list[Episode]:
        """One episode a task, all of them at once and in order; the i-th draws under the key ``(*key, i)``.

        ``seats`` maps a role to the name of its live policy, for all episodes; or says for each who is seated.
        ``check`` is shown each episode as soon as it is over. Raises ``InputError`` for what is no episode, and
        ``ToolsFailed`` where tools ended a larger share of the trajectories than is ``tolerated``: their game would
        count as played what was not.
        """
        if isinstance(seats, Mapping):
            seats = [{role: PolicyRef(policy) for role, policy in seats.items()}] * len(tasks)

        def over(episode: Episode) -> None:
            if check is not None:
                check(episode)
            if self.ended is not None:
                self.ended()

        episodes = [
            told(play, task, self.context((*key, i), seated, temperature, tasks), over)
            for i, (task, seated) in enumerate(zip(tasks, seats, strict=True))
        ]
        played = drive(episodes, self.engine, self.tools)
        _check_tools(played, tolerated)
        return played


def _check_tools(episodes: Sequence[Episode], tolerated: float) -> None:
    trajectories = [scored.trajectory for episode in episodes for scored in episode.trajectories]
    failures = [one.failure for one in trajectories if one.failure is not None]
    if len(failures) > tolerated * len(trajectories):
        commonest, _ = Counter(failure.reason for failure in failures).most_common(1)[0]
        first = next(failure for failure in failures if failure.reason == commonest)
        raise ToolsFailed(
            f"the tool {first.call.name} failed in {len(failures)} of {len(trajectories)} trajectories ({commonest})",
            first.call,
        )
