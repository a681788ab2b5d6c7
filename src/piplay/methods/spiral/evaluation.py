"""SPIRAL's evaluation, exact: the policy's own probabilities of every legal move wherever a seat may have to move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from piplay.config import Config
from piplay.envs.table.average import Average
from piplay.envs.table.base import Table
from piplay.envs.table.environment import TableEnvironment
from piplay.envs.table.solve import InformationSet, exploitability, information_sets, uniform, value
from piplay.errors import InputError
from piplay.protocols import Environment, Evaluation, Place, TaskSource
from piplay.rollout.stage import Stage
from piplay.types import Owner, PolicyRef, Sample, State


class SpiralEvaluation(Evaluation):
    """Exploitability of ``config.agent`` and of its time average; its win rates against random moves."""

    def __init__(self, environment: Environment, state: State, config: Config, *, every: int = 0) -> None:
        """``every``: measure after every so many steps too, and average over what was measured since the phase began;
        0: never. Not for tables as large as tic-tac-toe. Raises ``InputError`` where there is no table.
        """
        if not isinstance(environment, TableEnvironment):
            raise InputError("the evaluation spiral needs a table: take the environment table")
        self._table, self._state, self._agent, self._every = environment.table, state, config.agent, every
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
            row[f"{role}_beats_random"] = value(Wins(self._table), policies)[seat]
        return row

    def after_step(self, stage: Stage, place: Place, sources: Mapping[str, TaskSource]) -> dict[str, float]:
        """Exploitability of the policy after the step, and of its average since the phase began."""
        if place.step == 0:
            self._state["average"] = {}
        if not self._every or not (place.last or (place.step + 1) % self._every == 0):
            return {}
        played = self._read(stage)
        Average(self._table, self._state.setdefault("average", {})).add(played.policy)
        return {f"policy/{name}": number for name, number in self._numbers(played).items()}

    def _read(self, stage: Stage) -> ReadPolicy:
        return read_policy(stage, PolicyRef(self._agent), self._table, self._decisions)

    def _numbers(self, played: ReadPolicy) -> dict[str, float]:
        row = {
            "exploitability": exploitability(self._table, [played.policy] * len(self._table.seats)),
            "from_uniform": self._from_uniform(played.policy),
            "illegal": float(np.mean(list(played.illegal.values()))),
        }
        if self._state.get("average"):
            average = Average(self._table, self._state["average"]).policy
            row["average_exploitability"] = exploitability(self._table, [average] * len(self._table.seats))
            row["average_from_uniform"] = self._from_uniform(average)
        return row

    def _from_uniform(self, policy: Any) -> float:
        """The total variation from uniform play, averaged over information sets."""
        distances = [
            sum(abs(share - 1 / len(at.legal)) for share in policy(at.view, at.legal, at.seat)) / 2
            for at in self._decisions
        ]
        return float(np.mean(distances))


@dataclass(frozen=True, slots=True)
class ReadPolicy:
    """A language model's policy at a table."""

    shares: Mapping[InformationSet, tuple[float, ...]]
    """Of each legal move, normalised over these."""
    illegal: Mapping[InformationSet, float]
    """The probability of writing anything else."""

    def policy(self, view: str, legal: tuple[str, ...], seat: int) -> tuple[float, ...]:
        """As ``solve`` asks for it."""
        return self.shares[InformationSet(seat, view, legal)]


def read_policy(stage: Stage, policy: PolicyRef, table: Table[Any], decisions: Sequence[InformationSet]) -> ReadPolicy:
    """The probabilities of each legal move as the policy would write it, end token included."""
    context, chat = stage.context(("score",), {}, 1.0), stage.chat
    samples = []
    for at in decisions:
        role = table.seats[at.seat]
        prompt = chat.prompt(context.system(role, table.rules), at.view)
        for move in at.legal:
            answer = np.array(chat.written(chat.phrase(content=move)), dtype=np.int64)
            owner_T = np.repeat(np.array([Owner.PROMPT, Owner.MODEL], np.int8), [len(prompt), len(answer)])
            ids_T, none_T = np.concatenate([prompt, answer]), np.zeros(len(owner_T), np.float32)
            key = ("score", role, at.view, move)
            samples.append(Sample(key, role, policy, key, ids_T, owner_T, none_T, 0.0, {}, len(prompt)))
    logps = iter([float(logp_T.sum(dtype=np.float64)) for logp_T in stage.engine.score(policy, samples)])
    shares, illegal = {}, {}
    for at in decisions:
        masses = np.exp([next(logps) for _ in at.legal])
        shares[at], illegal[at] = tuple((masses / masses.sum()).tolist()), 1 - float(masses.sum())
    return ReadPolicy(shares, illegal)


class Wins:
    """A table that pays 1 for a win and 0 for anything else."""

    def __init__(self, table: Table[Any]) -> None:
        self._table = table

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)

    def payoffs(self, state: Any) -> tuple[float, ...]:
        """See ``Table.payoffs``."""
        return tuple(float(payoff > 0) for payoff in self._table.payoffs(state))
