"""Environments of others in text. The common form is PettingZoo's turn order (AEC, arXiv 2009.14471): the agent whose
turn it is looks (``last``) and moves (``step``). A Gymnasium environment is one with a single agent, ``player``.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from pydantic import Field

from piplay.errors import InputError, first_line
from piplay.protocols import Audit, Environment
from piplay.registry import check_import, resolve
from piplay.rollout.tools import Tool
from piplay.streams import stream
from piplay.types import Episode, Json, Key, Task


@dataclass(frozen=True, slots=True)
class Start(Task):
    """An environment and the seed that it is reset with: all of its chance."""

    kind: ClassVar[str] = "start"
    world: TextEnvironment = field(repr=False)
    seed: int

    def row(self) -> dict[str, Json]:
        """See ``Task.row``."""
        return {"seed": self.seed}


class TextEnvironment(ABC):
    """What is common to both libraries: observations as text, moves as words, and what is hidden."""

    tools: Sequence[Tool] = ()
    audit: Audit | None = None

    def __init__(
        self,
        *,
        make: str,
        options: Mapping[str, Json] | None = None,
        actions: tuple[str, ...] = (),
        observe: str = "",
        hidden: str = "",
        heldout: Annotated[int, Field(ge=0)] = 100,
    ) -> None:
        """Play one environment, a new copy of it each time.

        Args:
            make: which.
            options: what its maker takes, such as ``{ render_mode = "ansi" }``.
            actions: the word of each action, by number; by default its number.
            observe: ``module:function`` from an observation to text; by default a text as it is, else the ANSI picture.
            hidden: ``module:function`` from an environment just reset to what is hidden from who plays; by default the
                ``hidden`` of the info that comes with a player's first observation, if any.
            heldout: the seeds 0, 1, … up to here are kept for evaluation.

        Raises:
            InputError: there is no such environment, or its actions are not a number each.
        """
        self._make, self._options = make, dict(options or {})
        self._observe = resolve(observe, "function", "piplay.envs.gym") if observe else None
        self._hidden = resolve(hidden, "function", "piplay.envs.gym") if hidden else None
        env = self.new()
        for agent in env.possible_agents:
            count = getattr(env.action_space(agent), "n", None)
            if count is None:
                raise InputError(f"{make}: the actions of {agent} are no numbers 0, 1, …: wrap it, so that they are")
            if len(actions) not in (0, count):
                raise InputError(f"{make}: {agent} has {count} actions, and {len(actions)} have words: give one each")
        self.agents, self.actions = tuple(env.possible_agents), actions
        self.first_seed = heldout
        """The first that is not kept for evaluation."""
        self.heldout = [Start(f"heldout/{seed}", self, seed) for seed in range(heldout)]

    @abstractmethod
    def new(self) -> Any:
        """A copy of the environment, in PettingZoo's turn order."""

    def describe(self) -> str:
        """See ``Environment.describe``."""
        return f"{self._make} for {', '.join(self.agents)}"

    def text(self, env: Any, observation: Any) -> str:
        """What the agent whose turn it is reads. Raises ``InputError`` where nothing says how to write it."""
        if isinstance(observation, Mapping) and "observation" in observation:
            observation = observation["observation"]
        if self._observe is not None:
            return str(self._observe(observation))
        if isinstance(observation, str):
            return observation
        if getattr(env, "render_mode", None) != "ansi":
            raise InputError(f"{self._make} shows no text: set environment.observe, or options.render_mode to ansi")
        # What is coloured, such as where the player stands, is shown in brackets.
        return re.sub(r"\x1b\[[\d;]+m", "[", re.sub(r"\x1b\[0?m", "]", env.render())).strip()

    def moves(self, env: Any, observation: Any, info: Mapping[str, Any]) -> dict[str, Any]:
        """The legal actions of the agent whose turn it is, by their words."""
        mask = info.get("action_mask", observation.get("action_mask") if isinstance(observation, Mapping) else None)
        space = env.action_space(env.agent_selection)
        first = int(getattr(space, "start", 0))
        numbers = range(first, first + int(space.n))
        words = self.actions or tuple(map(str, numbers))
        legal = [True] * len(numbers) if mask is None else mask
        return {word: number for word, number, yes in zip(words, numbers, legal, strict=True) if yes}

    def secret(self, env: Any, info: Mapping[str, Any]) -> str:
        """What is hidden from the agent whose turn it is; empty for nothing."""
        return str(self._hidden(env.unwrapped) if self._hidden else info.get("hidden", ""))


class GymEnvironment(TextEnvironment):
    """An environment of Gymnasium; ``make`` is its id, such as ``FrozenLake-v1``, or ``module:id``."""

    def new(self) -> Any:
        """See ``TextEnvironment.new``."""
        try:
            import gymnasium
        except ImportError as error:
            raise InputError("the environment gym needs Gymnasium: pip install 'piplay[envs]'") from error
        module, colon, _ = self._make.partition(":")
        if colon:
            check_import(module, self._make, "environment", "piplay.envs.gym")
        try:
            return Alone(gymnasium.make(self._make, **self._options))
        except Exception as error:  # an environment of others raises whatever it likes
            raise InputError(f"Gymnasium cannot make {self._make!r}: {first_line(error)}") from error


class Alone:
    """A Gymnasium environment in PettingZoo's turn order."""

    possible_agents = ("player",)
    agent_selection = "player"

    def __init__(self, env: Any) -> None:
        self.unwrapped, self.render_mode, self.render = env.unwrapped, env.render_mode, env.render
        self.agents: list[str] = []
        self._env = env

    def action_space(self, agent: str) -> Any:
        """The space of actions."""
        return self._env.action_space

    def reset(self, seed: int) -> None:
        """Begin."""
        observation, info = self._env.reset(seed=seed)
        self.agents, self._last = ["player"], (observation, 0.0, False, False, info)

    def last(self) -> tuple[Any, float, bool, bool, Mapping[str, Any]]:
        """Observation, reward since the last move, whether it ended, whether it was cut off, info."""
        return self._last

    def step(self, action: Any) -> None:
        """Move; after the end, with None, leave."""
        if action is None:
            self.agents = []
        else:
            self._last = self._env.step(action)


class Starts:
    """A ``TaskSource``: seeds, none of them held out."""

    def __init__(self, environment: Environment, seed: int) -> None:
        if not isinstance(environment, TextEnvironment):
            raise InputError("the source gym:Starts needs seeds: take the environment gym or pettingzoo")
        self._world, self._seed = environment, seed

    def draw(self, key: Key, count: int) -> list[Start]:
        """See ``TaskSource.draw``."""
        seeds = stream(self._seed, (*key, "starts")).integers(self._world.first_seed, 2**31, count)
        return [Start("/".join(map(str, (*key, i))), self._world, int(seed)) for i, seed in enumerate(seeds)]

    def note(self, episodes: Sequence[Episode]) -> None:
        """Nothing to learn."""
