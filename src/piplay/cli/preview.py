"""Some episodes of a recipe, played and not learnt from: what training would see, before it takes hours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from piplay.border.play import check_room
from piplay.chat.base import Chat
from piplay.config import Config
from piplay.envs.search.question import Question
from piplay.errors import InputError, nearest
from piplay.methods.pi_play.game import PrivilegedStudy
from piplay.methods.pi_play.privilege import as_privilege
from piplay.progress import Bar
from piplay.protocols import Audit, Environment, Game, TaskSource, make_game
from piplay.rollout.stage import Stage
from piplay.settings import Phase
from piplay.streams import stream
from piplay.training.assemble import (
    check_parts,
    load_chat,
    load_engine,
    load_environment,
    make_sources,
    tiny_base,
    tool_specs,
    with_model,
)
from piplay.training.learner import make_losses
from piplay.training.sources import WrittenSource
from piplay.types import Episode, Key, Task

ROUNDS = 5
"""How often as many tasks are tried as are wanted."""


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


@dataclass(frozen=True, slots=True)
class _Seated:
    """Who plays what."""

    phase: Phase
    game: Game
    seats: Mapping[str, str]
    temperature: float
    role: str
    about: str


def preview(
    config: Config,
    role: str | None,
    count: int,
    hops: int | None = None,
    weights: Path | None = None,
    console: Console | None = None,
) -> Preview:
    """Play ``count`` tasks of a role as the recipe's phase would.

    A phase that plays written tasks gets held-out tasks where there are any, else tasks that the recipe's writing phase
    writes for it. A policy that a loss asks what it makes of another view plays as the teacher: with the path in its
    prompt, greedily.

    Args:
        role: by default the first that writes in the recipe's first phase.
        hops: only questions of that many hops.
        weights: a checkpoint whose policies play; by default they are all the base.
        console: where it is told how far it has come, by default nowhere.

    Raises:
        InputError: the recipe seats no such role, there is no task of so many hops, or tasks have none.
    """
    if count < 1:
        raise InputError(f"{count} episodes cannot be played: ask for at least 1")
    if hops is not None and hops < 1:
        raise InputError(f"a task of {hops} hops is none: ask for at least 1")
    config = with_model(config)
    environment = load_environment(config)
    check_parts(config, environment)
    if role is None:
        role = next(iter(make_game(config.phases[0], {}).roles))
    seated = _seated(config, role)
    chat = load_chat(config.model or tiny_base(), config.chat, tool_specs(environment), config.limits.tokens)
    engine = load_engine(config)
    if weights is not None:
        engine.load(weights)
    stage = Stage.of(config, engine, chat, {tool.spec.name: tool for tool in environment.tools})
    key: Key = ("play", role)
    console = console or Console(quiet=True)
    tasks = _Tasks(config, environment, stage, hops, console).of(seated.phase, key, count)
    if isinstance(seated.game, PrivilegedStudy):
        _check_questions(tasks, "a teacher is shown the path of a question")
    with Bar(console, "episodes", len(tasks)) as bar:
        watched = replace(stage, ended=bar.advance)
        played = watched.play(seated.game.play, key, tasks, seated.seats, seated.temperature)
    played = seated.game.finalize_batch(played)
    check_room(played, config.limits.tokens)
    by = weights or config.model or "the base"
    about = f"{config.name}: {seated.about}, at temperature {seated.temperature:g}, played by {by}"
    about += f"\nchat: {chat.why}" if config.model else ""
    return Preview(about, seated.role, played, chat, environment.audit)


def _seated(config: Config, role: str) -> _Seated:
    """The phase in which the role learns, or the first that seats it, or that of the policy that a loss asks."""
    seating = [phase for phase in config.phases if role in phase.seats]
    if seating:
        phase = next((phase for phase in seating if role in phase.learn), seating[0])
        about = f"{phase.game}, phase {phase.name}"
        return _Seated(phase, make_game(phase, {}), phase.seats, phase.temperature, role, about)
    teachers = {policy: phase for phase in reversed(config.phases) for policy in _teachers(phase)}
    if role not in teachers:
        roles = sorted({role for phase in config.phases for role in phase.seats} | teachers.keys())
        raise InputError(
            f"the recipe {config.name} has no role {role!r}{nearest(role, roles)}; it has {', '.join(roles)}"
        )
    privilege = as_privilege(teachers[role].options.get("privilege", "true"))
    about = "the teacher with its path" if privilege == "true" else f"the teacher, who is shown: {privilege}"
    return _Seated(teachers[role], PrivilegedStudy(privilege=privilege), {"teacher": role}, 0.0, "teacher", about)


def _teachers(phase: Phase) -> set[str]:
    """The policies that a phase's losses ask what they make of another view."""
    losses = [loss for learn in phase.learn.values() for loss, _ in make_losses(learn).values()]
    return {scoring.policy for loss in losses for scoring in loss.scorings if scoring.view}


class _Tasks:
    """What the phases of a recipe play where nothing is written yet."""

    def __init__(
        self, config: Config, environment: Environment, stage: Stage, hops: int | None, console: Console
    ) -> None:
        self._config, self._environment, self._stage, self._hops = config, environment, stage, hops
        self._console = console
        self._sources: dict[str, TaskSource] = make_sources(config, environment, {})

    def of(self, phase: Phase, key: Key, count: int) -> list[Task]:
        """Tasks for a phase: of its own source, held out, or written for it."""
        source = self._sources[phase.tasks]
        if not isinstance(source, WrittenSource):
            return self._drawn(source, phase.tasks, key, count)
        if self._environment.heldout:
            return self._heldout(key, count)
        return self._written(phase.tasks, count)

    def _drawn(self, source: TaskSource, name: str, key: Key, count: int) -> list[Task]:
        """What a source gives; of so many hops, seed passages are asked for them and ready-made questions chosen."""
        if self._hops is None:
            return source.draw((*key, 0), count)
        found: list[Task] = []
        for step in range(ROUNDS):
            for task in _check_questions(source.draw((*key, step), count), f"--hops {self._hops}"):
                if not task.question:
                    found.append(replace(task, hops=self._hops))
                elif task.hops == self._hops:
                    found.append(task)
            if len(found) >= count:
                break
        if not found:
            raise InputError(f"the source {name} gave no question of {self._hops} hops in {ROUNDS} draws")
        return found[:count]

    def _heldout(self, key: Key, count: int) -> list[Task]:
        tasks = list(self._environment.heldout)
        if self._hops is not None:
            known = _check_questions(tasks, f"--hops {self._hops}")
            tasks = [question for question in known if question.hops == self._hops]
            if not tasks:
                there = ", ".join(map(str, sorted({question.hops for question in known})))
                raise InputError(f"there is no held-out question of {self._hops} hops, only of {there}")
        order = stream(self._config.seed, (*key, "order")).permutation(len(tasks))
        return [tasks[i] for i in order[:count]]

    def _written(self, source: str, count: int) -> list[Task]:
        """What the recipe's writing phase writes."""
        phase = next(phase for phase in self._config.phases if phase.writes and phase.writes_to == source)
        game, tries = make_game(phase, {}), max(phase.episodes, count)
        found: list[Task] = []
        for number in range(ROUNDS):
            key: Key = ("play", phase.name, number)
            tasks = self.of(phase, key, tries)
            with Bar(self._console, f"tasks to play, round {number + 1}", tries) as bar:
                stage = replace(self._stage, ended=bar.advance)
                written = stage.play(game.play, key, tasks, phase.seats, phase.temperature)
            found += [task for episode in game.finalize_batch(written) for task in episode.written]
            if len(found) >= count:
                return found[:count]
        if not found:
            who = next(iter(game.roles))
            raise InputError(
                f"phase {phase.name} wrote no task that passes in {ROUNDS * tries} tries: `--role {who}` shows what is "
                "written"
            )
        return found


def _check_questions(tasks: Sequence[Task], what: str) -> list[Question]:
    """The tasks, which have to be questions. Raises ``InputError`` where one is none."""
    questions = [task for task in tasks if isinstance(task, Question)]
    if len(questions) < len(tasks):
        other = next(task.kind for task in tasks if not isinstance(task, Question))
        raise InputError(f"{what}: this recipe plays tasks of the kind {other!r}, which are no questions with hops")
    return questions
