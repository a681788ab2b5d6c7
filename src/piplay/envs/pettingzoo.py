"""PettingZoo's environments of several agents (arXiv 2009.14471): each agent is a role."""

from __future__ import annotations

from typing import Any

from piplay.envs.gym.environment import TextEnvironment
from piplay.registry import resolve


class PettingzooEnvironment(TextEnvironment):
    """An AEC environment; ``make`` is ``module:function``, such as ``pettingzoo.classic.tictactoe_v3:env``."""

    def new(self) -> Any:
        """See ``TextEnvironment.new``."""
        return resolve(self._make, "environment", "piplay.envs")(**self._options)
