"""From paid seats to samples: advantages by group, weights averaged, one flat array a term."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from piplay.algo.advantages.group import advantages
from piplay.types import Floats, Owner, Sample, Seat, StopReason


def samples_of(
    seats: Sequence[Seat], *, pg: float = 1.0, distill: float | None = None, kl: bool = False, delta: float = 1e-2
) -> list[Sample]:
    """One sample a seat, for one role.

    The policy gradient is averaged over the batch's model tokens; the distillation over a rollout's tokens, then over
    rollouts (docs/method.md, formula 4); the KL to the reference over the batch's model tokens. A seat whose tool
    failed is left out: that was not the policy's doing. A truncated one is in, with the reward its game gave it.

    Args:
        seats: the role's seats of one batch.
        pg: weight of the policy gradient.
        distill: λ, or None where no teacher scores. At λ = 0 the term is there all the same, to be measured.
        kl: whether the term for π_ref is wanted; β belongs to the objective.
        delta: δ of the advantage.
    """
    seats = [seat for seat in seats if seat.trajectory.stop is not StopReason.TOOL_FAILED]
    rewards_N = np.array([seat.reward for seat in seats], dtype=np.float32)
    advantage_N = advantages(rewards_N, [seat.group for seat in seats], delta=delta)
    written = [np.asarray(seat.trajectory.owner_T == Owner.MODEL, dtype=np.float32) for seat in seats]
    # A prompt that left no room for a word has no model token: its weights are all 0.
    tokens = max(sum(float(mask_T.sum()) for mask_T in written), 1.0)
    samples = []
    for seat, advantage, mask_T in zip(seats, advantage_N, written, strict=True):
        story = seat.trajectory
        terms: dict[str, Floats] = {"pg": np.float32(pg * advantage / tokens) * mask_T}
        if distill is not None:
            terms["distill"] = np.float32(distill / (max(float(mask_T.sum()), 1.0) * len(seats))) * mask_T
        if kl:
            terms["kl"] = mask_T / np.float32(tokens)
        samples.append(
            Sample(
                story.key,
                story.role,
                story.policy,
                seat.group,
                story.ids_T,
                story.owner_T,
                story.logprobs_T,
                seat.reward,
                terms,
                story.prompt_len,
                seat.teacher_prefix,
            )
        )
    return samples
