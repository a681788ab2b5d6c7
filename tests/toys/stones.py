"""A small environment of two agents in PettingZoo's turn order: who takes the last of some stones wins.

PettingZoo's own small games need pygame to be imported; this one needs nothing.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import Discrete
from pettingzoo import AECEnv


class Stones(AECEnv[str, dict[str, Any], int | None]):
    """The number of stones is drawn, from 5 to 9; 1, 2 or 3 are taken, as many as there are."""

    metadata: ClassVar = {"name": "stones"}
    render_mode = None

    def __init__(self) -> None:
        self.possible_agents = ["first", "second"]

    def action_space(self, agent: str) -> Discrete:
        return Discrete(3, start=1)

    def reset(self, seed: int | None = None, options: Any = None) -> None:
        self.stones = int(np.random.default_rng(seed).integers(5, 10))
        self.agents, self.agent_selection = list(self.possible_agents), "first"
        self.rewards, self._cumulative_rewards = dict.fromkeys(self.agents, 0.0), dict.fromkeys(self.agents, 0.0)
        self.terminations, self.truncations = dict.fromkeys(self.agents, False), dict.fromkeys(self.agents, False)
        self.infos: dict[str, dict[str, Any]] = {agent: {"hidden": "Leave four."} for agent in self.agents}

    def observe(self, agent: str) -> dict[str, Any]:
        return {"observation": f"Stones: {self.stones}", "action_mask": [n <= self.stones for n in (1, 2, 3)]}

    def step(self, action: int | None) -> None:
        agent = self.agent_selection
        if self.terminations[agent]:
            self._was_dead_step(action)
            return
        assert action is not None
        assert 1 <= action <= self.stones
        other = next(one for one in self.agents if one != agent)
        self.stones -= int(action)
        self._cumulative_rewards[agent] = 0.0
        if self.stones == 0:
            self.rewards = {agent: 1.0, other: -1.0}
            self.terminations = dict.fromkeys(self.agents, True)
        self._accumulate_rewards()
        self.agent_selection = other
