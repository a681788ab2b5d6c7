"""From scored trajectories to samples: advantages, weights averaged, one flat array a loss term."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from piplay.algo.advantages.base import Advantage
from piplay.algo.losses.base import Batch, Loss
from piplay.border.learn import advantages_of, weights_of
from piplay.errors import InputError
from piplay.types import Floats, Owner, Sample, ScoredTrajectory

TURN_DELTA = 1e-2
"""δ of the deviation by which returns of turns are divided, as for advantages."""


def samples_of(
    scored: Sequence[ScoredTrajectory],
    advantage: Advantage,
    losses: Mapping[str, tuple[Loss, float]],
    *,
    turn_weight: float = 0.0,
    gamma: float = 1.0,
) -> list[Sample]:
    """One sample a trajectory, for one role.

    A trajectory whose tool failed is left out: that was not the policy's doing. A truncated one is in, with the reward
    that its game gave it.

    Args:
        scored: the role's trajectories of one batch.
        advantage: gives each its A.
        losses: by term the loss, which averages its weights, and its coefficient. At coefficient 0 the term is there
            all the same, to be measured.
        turn_weight: ω. Where trajectories have rewards a turn, A_t = A + ω · normalised(return from the token's turn
            on), normalised over the batch's turns: minus their mean, over sqrt(var + δ).
        gamma: γ of that return, Σ_k γ^k r_{turn+k}.

    Raises:
        InputError: a trajectory's token mask or rewards a turn do not fit it, or the advantage or a loss gives what is
            none.
    """
    scored = [one for one in scored if not one.trajectory.tool_failed]
    if not scored:
        return []
    advantages = [
        np.full(len(one.trajectory.ids_T), value, np.float32)
        for one, value in zip(scored, advantages_of(advantage, scored), strict=True)
    ]
    if turn_weight:
        returns = _normalised_returns(scored, gamma)
        advantages = [
            advantage_T + np.float32(turn_weight) * return_T
            for advantage_T, return_T in zip(advantages, returns, strict=True)
        ]
    batch = Batch(scored, [_trained(one) for one in scored], advantages)
    weights = {term: weights_of(loss, batch, coefficient) for term, (loss, coefficient) in losses.items()}
    return [
        Sample(
            one.trajectory.key,
            one.trajectory.role,
            one.trajectory.policy,
            one.group,
            one.trajectory.ids_T,
            one.trajectory.owner_T,
            one.trajectory.logprobs_T,
            one.reward,
            {term: weights[term][number] for term in weights},
            one.trajectory.prompt_len,
            one.views,
            advantages[number],
        )
        for number, one in enumerate(scored)
    ]


def _trained(one: ScoredTrajectory) -> Floats:
    """How much each token (T,) counts."""
    trained_T = np.asarray(one.trajectory.owner_T == Owner.MODEL, dtype=np.float32)
    if one.mask_T is not None:
        if one.mask_T.shape != trained_T.shape:
            raise InputError(
                f"the token mask of trajectory {one.trajectory.key} has the shape {one.mask_T.shape}, and there are "
                f"{len(trained_T)} tokens: give one value a token"
            )
        trained_T = trained_T * one.mask_T
    return trained_T * np.float32(one.weight)


def _normalised_returns(scored: Sequence[ScoredTrajectory], gamma: float) -> list[Floats]:
    """By trajectory the normalised return from each token's turn on (T,); 0 where there are no rewards a turn."""
    turns = [_turns(one) for one in scored]
    returns = [
        _returns(one, int(turn_T.max(initial=-1)) + 1, gamma) if one.turn_rewards is not None else np.zeros(0)
        for one, turn_T in zip(scored, turns, strict=True)
    ]
    all_returns = np.concatenate(returns)
    if not len(all_returns):
        return [np.zeros(len(turn_T), np.float32) for turn_T in turns]
    mean, scale = all_returns.mean(), np.sqrt(all_returns.var() + TURN_DELTA)
    found = []
    for turn_T, return_K in zip(turns, returns, strict=True):
        value_T = np.zeros(len(turn_T), np.float32)
        if len(return_K):
            written_T = turn_T >= 0
            value_T[written_T] = ((return_K - mean) / scale)[turn_T[written_T]]
        found.append(value_T)
    return found


def _turns(one: ScoredTrajectory) -> npt.NDArray[np.int64]:
    """The number of each token's turn, a run of model tokens; −1 where the model did not write."""
    written_T = one.trajectory.owner_T == Owner.MODEL
    begins_T = written_T & ~np.concatenate([[False], written_T[:-1]])
    return np.where(written_T, np.cumsum(begins_T) - 1, -1)


def _returns(one: ScoredTrajectory, turns: int, gamma: float) -> npt.NDArray[np.float64]:
    """Σ_k γ^k r_{turn+k} of each turn."""
    assert one.turn_rewards is not None
    if len(one.turn_rewards) != turns:
        raise InputError(
            f"trajectory {one.trajectory.key} has {turns} turns and {len(one.turn_rewards)} rewards a turn: give one "
            "each"
        )
    found = np.zeros(turns)
    following = 0.0
    for turn in reversed(range(turns)):
        following = found[turn] = float(one.turn_rewards[turn]) + gamma * following
    return found
