"""What a game is: the story of one episode, and how a batch of them is paid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from piplay.rollout.context import Context
from piplay.types import Episode, Task


class Game(Protocol):
    """A class whose constructor takes the phase's options by name, and the game's memory."""

    @property
    def roles(self) -> Sequence[str]:
        """The roles that write in an episode: each needs a seat."""
        ...

    async def play(self, task: Task, context: Context) -> Episode:
        """The straight-line story of one episode."""
        ...

    def settle(self, episodes: Sequence[Episode]) -> list[Episode]:
        """Decide what only the whole batch can tell, and remember; called once a step, in episode order."""
        ...
