"""Some episodes of a recipe, played and not learnt from: what training would see, before it takes hours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from piplay.chat.base import Chat
from piplay.config import Config, Phase
from piplay.errors import InputError, nearest
from piplay.methods.base import Game
from piplay.methods.pi_play.game import Recite
from piplay.methods.pi_play.metrics import Audit
from piplay.methods.pi_play.self_eval import ROUNDS, write_probes
from piplay.rollout.stage import Stage
from piplay.streams import stream
from piplay.training.assemble import load_chat, load_engine, load_ground, tiny_base
from piplay.training.loop import Ground, make_game, seed_tasks
from piplay.types import Episode, Key, Task


@dataclass(frozen=True, slots=True)
class Preview:
    """Episodes, and what is needed to read them."""

    about: str
    """What was played, in a line."""
    role: str
    """Whose trajectories are of interest."""
    episodes: Sequence[Episode]
    chat: Chat
    audit: Audit | None


def preview(config: Config, role: str, count: int, hops: int | None = None, weights: Path | None = None) -> Preview:
    """Play ``count`` tasks of a role as the recipe's phase would.

    An examiner starts from seed passages. A phase that plays written tasks gets held-out questions where there are any,
    else questions that the examiner writes for it. A teacher plays with the path in its prompt, greedily; every other
    role samples at temperature 1, as in training.

    Args:
        hops: only tasks of that many hops.
        weights: a checkpoint whose policies play; by default they are all the base.

    Raises:
        InputError: the recipe seats no such role, or there is no task of so many hops.
    """
    if count < 1:
        raise InputError(f"{count} episodes cannot be played: ask for at least 1")
    if hops is not None and hops < 1:
        raise InputError(f"a task of {hops} hops is none: ask for at least 1")
    for phase in config.phases:
        make_game(phase, {})
    phase = _phase(config, role)
    taught = any(learn.teacher == role for learn in phase.learn.values())
    # A teacher's seat writes nothing in training, it scores: here it plays with its path, as where its health is taken.
    game: Game = Recite({}) if taught else make_game(phase, {})
    seats = {"teacher": phase.seats[role]} if taught else phase.seats
    chat = load_chat(config.model or tiny_base(), config.chat)
    ground, engine = load_ground(config), load_engine(config, chat)
    if weights is not None:
        engine.load(weights)
    stage = Stage(engine, chat, ground.searcher, config.limits, config.search.top_k, config.prompts)
    key: Key = ("play", role)
    if phase.tasks == "seeds":
        tasks = _seeds(config, ground, key, count, hops)
    elif ground.heldout:
        tasks = _heldout(config, ground, key, count, hops)
    else:
        tasks = _written(config, ground, stage, count, hops)
    temperature = 0.0 if taught else 1.0
    episodes = game.settle(stage.play(game.play, key, tasks, seats, temperature))
    name = "the teacher with its path" if taught else f"{phase.game}, phase {phase.name}"
    about = f"{config.name}: {name}, at temperature {temperature:g}, played by {weights or config.model or 'the base'}"
    return Preview(about, "teacher" if taught else role, episodes, chat, ground.audit)


def _phase(config: Config, role: str) -> Phase:
    """The phase in which the role learns, or the first that seats it."""
    seated = [phase for phase in config.phases if role in phase.seats]
    if not seated:
        roles = sorted({role for phase in config.phases for role in phase.seats})
        raise InputError(
            f"the recipe {config.name} has no role {role!r}{nearest(role, roles)}; it has {', '.join(roles)}"
        )
    return next((phase for phase in seated if role in phase.learn), seated[0])


def _seeds(config: Config, ground: Ground, key: Key, count: int, hops: int | None) -> list[Task]:
    return [
        replace(task, hops=hops or task.hops)
        for task in seed_tasks(config.seed, config.hop_odds, ground.seeds, key, count)
    ]


def _heldout(config: Config, ground: Ground, key: Key, count: int, hops: int | None) -> list[Task]:
    tasks = [task for task in ground.heldout if hops in (None, task.hops)]
    if not tasks:
        known = ", ".join(map(str, sorted({task.hops for task in ground.heldout})))
        raise InputError(f"there is no held-out question of {hops} hops, only of {known}")
    order = stream(config.seed, (*key, "order")).permutation(len(tasks))
    return [tasks[i] for i in order[:count]]


def _written(config: Config, ground: Ground, stage: Stage, count: int, hops: int | None) -> list[Task]:
    """What the recipe's writing phase writes."""
    phase = next(phase for phase in config.phases if phase.writes)
    game, tries = make_game(phase, {}), max(phase.episodes, count)
    tasks = write_probes(stage, game, phase.seats, lambda key: _seeds(config, ground, key, tries, hops), count)
    if not tasks:
        raise InputError(
            f"the examiner wrote no question that passes the gates in {ROUNDS * tries} tries: `--role examiner` shows "
            "what it writes"
        )
    return tasks
