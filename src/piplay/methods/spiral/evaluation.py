"""SPIRAL's evaluation, exact: the policy's own probabilities of every legal move wherever a seat may have to move."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import NonNegativeInt, PositiveInt

from piplay.config import Config
from piplay.envs.table.average import member, mixture
from piplay.envs.table.environment import TableEnvironment
from piplay.envs.table.model_policy import ModelPolicy, read_policy
from piplay.envs.table.solve import Policy, exploitability, information_sets, uniform, win_rates
from piplay.errors import InputError
from piplay.protocols import Environment, Evaluation, Place, TaskSource
from piplay.rollout.stage import Stage
from piplay.types import PolicyRef, State


class SpiralEvaluation(Evaluation):
    """Exploitability of ``config.agent`` and of its time average; its win rates against random moves."""

    def __init__(
        self,
        environment: Environment,
        state: State,
        config: Config,
        *,
        every: NonNegativeInt = 0,
        window: PositiveInt = 40,
    ) -> None:
        """Raises ``InputError`` where there is no table.

        Args:
            environment: has to be a table.
            state: the policies that the average is of.
            config: the run's settings.
            every: measure after every so many steps of a phase too; 0: never. Not for tables as large as tic-tac-toe.
            window: the average is of the last so many policies that were measured since the phase began.
        """
        if not isinstance(environment, TableEnvironment):
            raise InputError("the evaluation spiral needs a table: take the environment table")
        self._table, self._state, self._agent, self._every = environment.table, state, config.agent, every
        self._window = window
        self._decisions = information_sets(environment.table)

    def cost(self) -> int:
        """None is played; but scoring reads as much as writing one turn at every view."""
        return len(self._decisions)

    def measure(self, stage: Stage, iteration: int) -> dict[str, Any]:
        """Exploitability, win rate of each seat against random moves, distances from uniform play, illegal mass."""
        played = self._read(stage)
        row = self._numbers(played)
        for seat, role in enumerate(self._table.seats):
            policies = [played.policy if number == seat else uniform for number in range(len(self._table.seats))]
            row[f"{role}_beats_random"] = win_rates(self._table, policies)[seat]
        return row

    def after_step(self, stage: Stage, place: Place, sources: Mapping[str, TaskSource]) -> dict[str, float]:
        """Exploitability of the policy after the step, and of the average of such policies."""
        if place.step == 0:
            self._state["members"] = []
        if not self._every or not (place.last or (place.step + 1) % self._every == 0):
            return {}
        played = self._read(stage)
        members = [*self._state.get("members", ()), member(self._table, played.policy)]
        self._state["members"] = members[-self._window :]
        return {f"policy/{name}": number for name, number in self._numbers(played).items()}

    def _read(self, stage: Stage) -> ModelPolicy:
        return read_policy(stage, PolicyRef(self._agent), self._table, self._decisions)

    def _numbers(self, played: ModelPolicy) -> dict[str, float]:
        row = {
            "exploitability": exploitability(self._table, [played.policy] * len(self._table.seats)),
            "from_uniform": self._from_uniform(played.policy),
            "illegal": float(np.mean(list(played.illegal.values()))),
        }
        if self._state.get("members"):
            average = mixture(self._state["members"])
            row["average_exploitability"] = exploitability(self._table, [average] * len(self._table.seats))
            row["average_from_uniform"] = self._from_uniform(average)
        return row

    def _from_uniform(self, policy: Policy) -> float:
        """The total variation from uniform play, averaged over information sets."""
        distances = [
            sum(abs(share - 1 / len(at.legal)) for share in policy(at.view, at.legal, at.seat)) / 2
            for at in self._decisions
        ]
        return float(np.mean(distances))
