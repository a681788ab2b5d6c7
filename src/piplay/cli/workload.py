"""How many tokens a run takes at most, and how fast this machine makes them: what doctor estimates minutes by."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from piplay.border.play import Columns
from piplay.chat.base import Chat
from piplay.config import Config
from piplay.engine.protocol import Engine, Generate
from piplay.protocols import Audit, Environment, Evaluation, make_game
from piplay.rollout.stage import Stage
from piplay.settings import Phase
from piplay.training.assemble import load_engine, make_sources
from piplay.training.checks import PhaseChecks
from piplay.training.learner import make_losses
from piplay.training.metrics import Row, role_metrics
from piplay.training.sources import WrittenSource
from piplay.types import Ints, Key, Owner, PolicyRef, Sample, StopReason, Task

_PROMPT, _WRITE = 64, 16
"""Tokens of the short generation, a row."""
_EPISODES, _PATIENCE = 20, 120.0
"""Episodes that are played to see how fast, and how much of the limits they use; as many as take no more seconds by
the limits."""


@dataclass(frozen=True, slots=True)
class Work:
    """Tokens."""

    written: float
    """By models, in training and in evaluation."""
    trained: float
    """Of the trajectories that optimisers learn from, prompts and tool results included."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What was seen of this machine and this model in a few seconds."""

    speed: Work
    """A second: where episodes were played, with searches and all, else in every slot; and in an update."""
    share: Work | None
    """Of what the limits allow, in ``episodes`` that were played; None where they would have taken too long, or where
    nothing was written in them."""
    episodes: int
    trajectories: int
    """In them."""
    cut: Counter[StopReason]
    """How many of these each limit ended."""


def work(config: Config, evaluation: Evaluation) -> Work:
    """The most tokens of a run, by its limits."""
    rollouts = learnt = 0
    for phase in config.phases:
        episodes, cost = config.iterations * phase.steps * phase.episodes, make_game(phase, {}).cost()
        rollouts += (episodes + _matches(config, phase)) * sum(cost.values())
        # What others write, an examiner's students say, is not learnt from.
        each = [cost.get(role, 0) for role in phase.learn]
        # Against snapshots one role of an episode is live.
        learnt += episodes * (sum(each) if phase.opponents is None else max(each))
    measured = evaluation.cost() * (config.iterations + 1)
    return Work((rollouts + measured) * _written_most(config), learnt * config.limits.tokens)


def _matches(config: Config, phase: Phase) -> int:
    """Episodes in which a phase's snapshots meet each other."""
    pool = phase.opponents
    if pool is None or pool.draw != "nash":
        return 0
    taken = -(-config.iterations * phase.steps // pool.every)
    policies = {phase.seats[role] for role in phase.learn}
    return len(policies) * pool.matches * sum(min(number, pool.size - 1) for number in range(taken))


def measure(config: Config, chat: Chat, environment: Environment) -> Measured:
    """Write a few tokens in every slot, play some episodes if that is quick, and make one update.

    The policies that this moves are thrown away.
    """
    engine = load_engine(config)
    for snapshot in [PolicyRef.of(name) for phase in config.phases for name in phase.snapshots]:
        engine.snapshot(snapshot.name, snapshot.snapshot)
    policy = next((phase.seats[role] for phase in config.phases for role in phase.learn), next(iter(config.policies)))
    words = np.array(chat.encode("The museum stands in the town, and its founder was born there."))
    _written(engine, chat, policy, words, 1)
    began = time.perf_counter()
    speed = _written(engine, chat, policy, words, config.engine.slots) / (time.perf_counter() - began)
    share, episodes, stops = None, 0, Counter[StopReason]()
    sources = make_sources(config, environment, {})
    phase = next((phase for phase in config.phases if not isinstance(sources[phase.tasks], WrittenSource)), None)
    if phase is not None:
        most = sum(make_game(phase, {}).cost().values()) * _written_most(config)
        episodes = min(phase.episodes, _EPISODES, int(_PATIENCE * speed / most))
    if phase is not None and episodes:
        stage = Stage.of(config, engine, chat, {tool.spec.name: tool for tool in environment.tools})
        tasks = sources[phase.tasks].draw(("doctor", 0), episodes)
        began = time.perf_counter()
        written, share, stops = _played(config, stage, phase, tasks, environment.audit)
        seconds = time.perf_counter() - began
        # A prompt that leaves no room for a turn says nothing of the speed.
        speed, share = (written / seconds, share) if written else (speed, None)
    cut = Counter({stop: count for stop, count in stops.items() if stop.truncated})
    return Measured(Work(speed, _trained(config, engine, words)), share, episodes, stops.total(), cut)


def _written(engine: Engine, chat: Chat, policy: str, words: Ints, count: int) -> int:
    """Tokens that so many sessions write in one short turn each."""
    keys: list[Key] = [("doctor", "turn", row) for row in range(count)]
    for key in keys:
        engine.submit(Generate(key, PolicyRef(policy), np.resize(words, _PROMPT), key, _WRITE, 1.0, chat.stop))
    tokens = 0
    while ready := engine.ready():
        tokens += sum(len(generated.ids) for generated in ready)
    for key in keys:
        engine.close(key)
    return tokens


def _played(
    config: Config, stage: Stage, phase: Phase, tasks: Sequence[Task], audit: Audit | None
) -> tuple[int, Work, Counter[StopReason]]:
    """Tokens written in some episodes, how much of what the limits allow they use, and why trajectories ended.

    Raises ``InputError`` for what a run would refuse at its first step.
    """
    game = make_game(phase, {})
    checks = PhaseChecks(config, phase, game, Columns())
    played = stage.play(game.play, ("doctor",), tasks, phase.seats, phase.temperature, checks.early)
    played = game.finalize_batch(played)
    checks.played(played)
    checks.room(played)
    row = Row(phase.seats)
    row |= role_metrics(phase.seats, played)
    row.add(game.metrics(played, audit))
    trajectories = [one.trajectory for episode in played for one in episode.trajectories]
    written = sum(int((trajectory.owner_T == Owner.MODEL).sum()) for trajectory in trajectories)
    whole = sum(len(trajectory.ids_T) for trajectory in trajectories)
    most = len(tasks) * sum(game.cost().values()) * _written_most(config)
    stops = Counter(trajectory.stop for trajectory in trajectories)
    return written, Work(written / most, whole / (len(trajectories) * config.limits.tokens)), stops


def _trained(config: Config, engine: Engine, words: Ints) -> float:
    """Tokens a second of an update as the last phase that learns makes it; infinite where none does."""
    learning = [(phase, role) for phase in config.phases for role in phase.learn]
    if not learning:
        return float("inf")
    phase, role = learning[-1]
    policy, losses = phase.seats[role], {name: loss for name, (loss, _) in make_losses(phase.learn[role]).items()}
    length = min(config.limits.tokens, 512)
    owner_T = np.repeat(np.array([Owner.PROMPT, Owner.MODEL], np.int8), [length // 2, length - length // 2])
    weight_T = np.where(owner_T == Owner.MODEL, 1e-3, 0).astype(np.float32)
    ids_T, logprobs_T = np.resize(words, length), np.zeros(length, np.float32)
    sample = Sample(
        ("doctor",),
        role,
        PolicyRef(policy),
        ("doctor",),
        ids_T,
        owner_T,
        logprobs_T,
        reward=0.0,
        terms=dict.fromkeys(losses, weight_T),
        prompt_len=length // 2,
        views={asked.view: ids_T[: length // 2] for loss in losses.values() for asked in loss.scorings if asked.view},
    )
    samples = [sample] * max(1, config.engine.micro_batch_tokens // length)
    engine.train(policy, [sample], losses)
    began = time.perf_counter()
    engine.train(policy, samples, losses)
    return len(samples) * length / (time.perf_counter() - began)


def _written_most(config: Config) -> int:
    """The most tokens that a model writes in a trajectory."""
    return min(config.limits.turns * config.limits.turn_tokens, config.limits.tokens)
