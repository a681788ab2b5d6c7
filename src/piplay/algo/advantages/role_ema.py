"""Role-conditioned advantage estimation (RAE of SPIRAL, arXiv 2506.24119)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from piplay.algo.advantages.group import numbered
from piplay.types import Floats, ScoredTrajectory, State


@dataclass(frozen=True, slots=True)
class RoleEmaAdvantage:
    """A = R − b, then b ← α b + (1 − α) R, in the order of the episodes; b starts at 0.

    Each baseline key has a b of its own (``ScoredTrajectory.baseline``, or the role). The trajectories of one group are
    one game, and b learns of a game once, by its mean reward, however many moves it had: a game whose every move is a
    trajectory gives all moves of a role the episode as their group.
    """

    state: State
    """b by baseline key, written as JSON."""
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.95
    """α."""
    update_first: bool = False
    """Whether b learns of a game before its advantage is taken, as in the paper's algorithm 1; the authors' code, which
    is the default, takes the old b."""

    def __call__(self, scored: Sequence[ScoredTrajectory]) -> Floats:
        keys = [one.baseline or (one.trajectory.role,) for one in scored]
        # With the key, two roles of one episode are two games.
        game_N, size_G = numbered([(json.dumps(key), *one.group) for key, one in zip(keys, scored, strict=True)])
        mean_G = np.bincount(game_N, [one.reward for one in scored]) / size_G
        baseline_G: dict[int, float] = {}
        for game, key in zip(game_N.tolist(), keys, strict=True):
            if game not in baseline_G:
                name = json.dumps(key)
                old = float(self.state.get(name, 0.0))
                self.state[name] = self.decay * old + (1 - self.decay) * float(mean_G[game])
                baseline_G[game] = self.state[name] if self.update_first else old
        return np.array(
            [one.reward - baseline_G[game] for one, game in zip(scored, game_N.tolist(), strict=True)], np.float32
        )
