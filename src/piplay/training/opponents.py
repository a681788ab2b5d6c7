"""Opponent pools: earlier selves to play against, and who is seated in an episode (SPIRAL, arXiv 2506.24119; leagues
as in VGC-Bench, arXiv 2506.10326).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import permutations

import numpy as np

from piplay.algo.nash import Doubles
from piplay.algo.win_matrix import WinMatrix
from piplay.engine.protocol import Trainer
from piplay.rollout.stage import Seats
from piplay.settings import Opponents, Phase
from piplay.streams import pick, stream
from piplay.types import Episode, Key, PolicyRef, State

Matches = Callable[[Key, Sequence[Seats]], Sequence[Episode]]
"""Plays one episode for each seating."""


class OpponentPools:
    """A pool of snapshots for each policy that learns in a phase with opponents."""

    def __init__(
        self, phase: Phase, settings: Opponents, states: dict[str, State], trainer: Trainer, seed: int
    ) -> None:
        """``states``: by policy, what checkpoints keep: how many steps were begun and which was the last, which
        snapshots there are, and what they won from each other."""
        self._phase, self._settings, self._trainer, self._seed = phase, settings, trainer, seed
        learning = {phase.seats[role] for role in phase.learn}
        self._contested = [role for role, policy in phase.seats.items() if policy in learning]
        """The roles that a snapshot may play."""
        self._states = {policy: states.setdefault(policy, _empty()) for policy in sorted(learning)}

    def refresh(self, key: Key, play: Matches) -> None:
        """Called before each step: take a snapshot where one is due, and let it meet the others where that counts."""
        for policy, state in self._states.items():
            if state.get("step") == list(key):  # of a checkpoint that was saved before the step could be played
                continue
            if state["steps"] % self._settings.every == 0:
                self._take(policy, state, key, play)
            state["steps"], state["step"] = state["steps"] + 1, list(key)

    def seat(self, key: Key, count: int) -> list[Seats]:
        """Who plays each of so many episodes: of the roles that learn one is live, the others are snapshots."""
        seatings: list[Seats] = []
        for i in range(count):
            rng = stream(self._seed, (*key, i, "seats"))
            live = pick(rng, list(self._phase.learn))
            seats = {role: PolicyRef(policy) for role, policy in self._phase.seats.items()}
            for role in self._contested:
                if role != live:
                    seats[role] = self._draw(self._phase.seats[role], rng)
            seatings.append(seats)
        return seatings

    def _draw(self, policy: str, rng: np.random.Generator) -> PolicyRef:
        names = self._states[policy]["snapshots"]
        match self._settings.draw:
            case "latest":
                name = names[-1]
            case "uniform":
                name = pick(rng, names)
            case "nash":
                name = names[int(rng.choice(len(names), p=self.mixture(policy)))]
        return PolicyRef(policy, name)

    def mixture(self, policy: str) -> Doubles:
        """The equilibrium over a policy's snapshots, oldest first, by what they won from each other."""
        state = self._states[policy]
        return WinMatrix.from_state(state["won"]).mixture(state["snapshots"])

    def _take(self, policy: str, state: State, key: Key, play: Matches) -> None:
        name = f"{self._phase.name}-{state['taken']}"
        self._trainer.snapshot(policy, name)
        state["taken"] += 1
        state["snapshots"].append(name)
        while len(state["snapshots"]) > self._settings.size:
            oldest = state["snapshots"].pop(0)
            self._trainer.forget(PolicyRef(policy, oldest))
            state["won"] = WinMatrix.from_state(state["won"]).keep(state["snapshots"]).state()
        if self._settings.draw == "nash":
            self._meet(policy, state, name, key, play)

    def _meet(self, policy: str, state: State, name: str, key: Key, play: Matches) -> None:
        """The new snapshot plays each of the others from every seat."""
        others = [other for other in state["snapshots"] if other != name]
        plain = {role: PolicyRef(policy) for role, policy in self._phase.seats.items()}
        seatings: list[Seats] = []
        pairs: list[tuple[str, str]] = []
        for other in others:
            for number in range(self._settings.matches):
                one, two = list(permutations((name, other)))[number % 2]
                first, *rest = self._contested
                seats = plain | {first: PolicyRef(policy, one)} | {role: PolicyRef(policy, two) for role in rest}
                seatings.append(seats)
                pairs.append((one, two))
        if not seatings:
            return
        matrix = WinMatrix.from_state(state["won"])
        for (one, two), episode in zip(pairs, play((*key, "matches", policy), seatings), strict=True):
            gain = _reward(episode, self._contested[0]) - _reward(episode, self._contested[-1])
            matrix = matrix.record(one, two, gain / 2)
        state["won"] = matrix.state()


def _reward(episode: Episode, role: str) -> float:
    """What a role won: every trajectory of it has the game's outcome."""
    return next((one.reward for one in episode.trajectories if one.trajectory.role == role), 0.0)


def _empty() -> State:
    return {"steps": 0, "taken": 0, "snapshots": [], "won": []}
