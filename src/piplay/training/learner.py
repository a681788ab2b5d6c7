"""From a step's episodes to updates of the policies that learn."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from piplay.algo.advantages.base import Advantage
from piplay.algo.losses.base import Loss
from piplay.algo.replay import Replay
from piplay.algo.samples import samples_of
from piplay.algo.schedules import resolved, value
from piplay.algo.updates import splits
from piplay.border.code import name_of
from piplay.border.parts import check_advantage, check_loss
from piplay.border.play import numbers
from piplay.engine.protocol import Trainer
from piplay.registry import make
from piplay.settings import Learn, Phase, ReplaySettings
from piplay.streams import stream
from piplay.training.metrics import NAMES
from piplay.types import Episode, Owner, PolicyRef, Sample, ScoredTrajectory, State

TAKEN = (*NAMES, "advantage", "grad_norm")
"""What is logged of a role that learns, whatever its losses report."""


def make_advantage(learn: Learn, state: State, iteration: int = 1, update: int = 0) -> Advantage:
    """A role's advantage. Raises ``InputError`` where there is none of that name, or with such options."""
    options = resolved(learn.advantage.options, iteration, update)
    made: Advantage = make(learn.advantage.kind, options, "advantage", "piplay.algo.advantages", state=state)
    check_advantage(made)
    return made


def make_losses(learn: Learn, iteration: int = 1, update: int = 0) -> dict[str, tuple[Loss, float]]:
    """A role's losses with their weights. Raises ``InputError`` as ``make_advantage`` does."""
    made: dict[str, tuple[Loss, float]] = {}
    for name, settings in learn.losses.items():
        loss: Loss = make(settings.kind, resolved(settings.options, iteration, update), "loss", "piplay.algo.losses")
        check_loss(loss, TAKEN)
        made[name] = loss, value(settings.weight, iteration, update)
    return made


@dataclass(frozen=True, slots=True)
class _Update:
    """What one policy learns from in a step."""

    learn: Learn
    lr: float | None
    samples: list[Sample] = field(default_factory=list)
    losses: dict[str, Loss] = field(default_factory=dict)
    roles: list[str] = field(default_factory=list)


class Learner:
    """Trains policies on what was played, one step of each that learns; where roles share one, on all that they played.

    Only live policies are trained: what a snapshot wrote is left out.
    """

    def __init__(
        self,
        trainer: Trainer,
        states: dict[str, State],
        seed: int,
        phases: Sequence[Phase] = (),
        checkpoint: Path | None = None,
    ) -> None:
        """Go on from a checkpoint, or begin.

        Args:
            trainer: owns the weights.
            states: by phase and role, what checkpoints keep as JSON.
            seed: the run's.
            phases: the run's.
            checkpoint: a folder that ``save`` wrote to; None: begin.
        """
        self._trainer, self._states, self._seed = trainer, states, seed
        self._replays: dict[str, Replay] = {}
        # All of them at once: a role may learn again only when this checkpoint is long gone, and later ones hold them.
        for phase in phases if checkpoint else ():
            for role, learn in phase.learn.items():
                name = f"{phase.name}/{role}"
                if learn.replay and checkpoint and states.get(name, {}).get("updates"):
                    self._replay(name, learn.replay).load(_replay_file(checkpoint, name))

    def learn(self, iteration: int, phase: Phase, step: int, episodes: Sequence[Episode]) -> dict[str, float]:
        """The metrics of the updates, each under the names of the roles that it was made of.

        ``step``: how many steps of the phase were played before.
        """
        row: dict[str, float] = {}
        updates: dict[str, _Update] = {}
        for role, learn in phase.learn.items():
            if (step + 1) % learn.every:
                continue
            policy, name = phase.seats[role], f"{phase.name}/{role}"
            state = self._states.setdefault(name, {"updates": 0, "advantage": {}})
            done = state["updates"]
            losses = make_losses(learn, iteration, done)
            samples = self._samples(name, learn, losses, live(episodes, role, policy), iteration)
            if not samples:
                continue
            state["updates"] += 1
            row |= {f"{role}/weight/{term}": weight for term, (_, weight) in losses.items()}
            row[f"{role}/advantage"] = _mean_advantage(samples)
            lr = None if learn.lr is None else value(learn.lr, iteration, done)
            update = updates.setdefault(policy, _Update(learn, lr))
            update.samples.extend(samples)
            update.losses.update({term: loss for term, (loss, _) in losses.items()})
            update.roles.append(role)
        for policy, update in updates.items():
            metrics = self._train(policy, update)
            row |= {f"{role}/{term}": number for role in update.roles for term, number in metrics.items()}
        return row

    def save(self, folder: Path) -> None:
        """Write the replays, to the bit; the rest is in the states."""
        for name, replay in self._replays.items():
            replay.save(_replay_file(folder, name))

    def _samples(
        self,
        name: str,
        learn: Learn,
        losses: Mapping[str, tuple[Loss, float]],
        played: list[ScoredTrajectory],
        iteration: int,
    ) -> list[Sample]:
        """What a role learns from: what it played, and what it remembers of earlier steps."""
        state = self._states[name]
        done = state["updates"]
        gamma, turn_weight = value(learn.gamma, iteration, done), value(learn.turn_weight, iteration, done)

        def samples_from(scored: list[ScoredTrajectory], remembered: State) -> list[Sample]:
            advantage = make_advantage(learn, remembered, iteration, done)
            return samples_of(scored, advantage, losses, turn_weight=turn_weight, gamma=gamma)

        if learn.replay is None:
            return samples_from(played, state["advantage"])
        replay, weight = self._replay(name, learn.replay), learn.replay.weight
        again = [
            replace(one, weight=one.weight * weight)
            for one in replay.draw(played, done, stream(self._seed, ("replay", name, done)))
        ]
        replay.add(played, done)
        if learn.replay.keep == "last_success":
            return samples_from([*played, *again], state["advantage"])
        # The groups of what is learnt from again are not whole: they say nothing about this batch's baseline.
        return samples_from(played, state["advantage"]) + samples_from(again, copy.deepcopy(state["advantage"]))

    def _replay(self, name: str, settings: ReplaySettings) -> Replay:
        if name not in self._replays:
            self._replays[name] = Replay(settings.keep, settings.size, settings.age)
        return self._replays[name]

    def _train(self, policy: str, update: _Update) -> dict[str, float]:
        """One optimiser step, or several on parts of the batch: then the means of their metrics."""
        name = f"{name_of(self._trainer)}.train"
        found = [
            numbers(self._trainer.train(policy, part, update.losses, update.lr), name)
            for part in splits(update.samples, update.learn.updates)
        ]
        return found[0] if len(found) == 1 else _means(found)


def _mean_advantage(samples: Sequence[Sample]) -> float:
    """The mean absolute advantage, over tokens that the model wrote, then over samples."""
    written = [np.abs(one.advantage_T[one.owner_T == Owner.MODEL]) for one in samples if one.advantage_T is not None]
    means = [float(token_T.mean()) for token_T in written if len(token_T)]
    return float(np.mean(means)) if means else 0.0


def live(episodes: Sequence[Episode], role: str, policy: str) -> list[ScoredTrajectory]:
    """What a role played by the policy as it is now."""
    ref = PolicyRef(policy)
    return [
        one
        for episode in episodes
        for one in episode.trajectories
        if one.trajectory.role == role and one.trajectory.policy == ref
    ]


def _replay_file(folder: Path, name: str) -> Path:
    return folder / f"replay-{name.replace('/', '-')}.npz"


def _means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: float(np.mean([row[name] for row in rows if name in row])) for name in names}
