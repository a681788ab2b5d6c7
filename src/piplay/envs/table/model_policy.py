"""A language model as a policy at a table: read off its probabilities, without playing a game."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from piplay.envs.table.base import Table
from piplay.envs.table.solve import InformationSet
from piplay.rollout.stage import Stage
from piplay.types import Owner, PolicyRef, Sample


@dataclass(frozen=True, slots=True)
class ModelPolicy:
    """A language model's policy at a table."""

    shares: Mapping[InformationSet, tuple[float, ...]]
    """Of each legal move, normalised over these."""
    illegal: Mapping[InformationSet, float]
    """The probability of writing anything else."""

    def policy(self, view: str, legal: tuple[str, ...], seat: int) -> tuple[float, ...]:
        """As ``solve`` asks for it."""
        return self.shares[InformationSet(seat, view, legal)]


def read_policy(stage: Stage, policy: PolicyRef, table: Table[Any], decisions: Sequence[InformationSet]) -> ModelPolicy:
    """The probability of each legal move (``_M``) as the policy would write it, end token included."""
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
        logp_M = np.array([next(logps) for _ in at.legal])
        share_M = np.exp(logp_M - logp_M.max())
        shares[at], illegal[at] = tuple((share_M / share_M.sum()).tolist()), 1 - float(np.exp(logp_M).sum())
    return ModelPolicy(shares, illegal)
