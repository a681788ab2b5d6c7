"""The loop of self-play: M times the phases of a recipe, with an evaluation between.

π-Play's Algorithm 1 (arXiv 2604.14054) is one recipe of it:

for m in 1..M:
    examine   the examiner learns against the frozen student
    write     the frozen examiner writes the task set D
    study     the student learns on D; the teacher follows it after each step
    evaluate
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from piplay.border.parts import unplayed_seats
from piplay.border.play import Columns
from piplay.chat.base import Chat
from piplay.config import Config
from piplay.engine.protocol import Engine
from piplay.errors import InputError
from piplay.protocols import Environment, Evaluation, Game, Place, TaskSource, make_game
from piplay.rollout.stage import Seats, Stage
from piplay.settings import Phase
from piplay.training.alarms import alarms
from piplay.training.assemble import make_evaluation, make_sources
from piplay.training.checks import PhaseChecks, check_states
from piplay.training.learner import Learner
from piplay.training.metrics import Row, refusals, role_metrics
from piplay.training.opponents import OpponentPools
from piplay.training.patience import Patience
from piplay.training.run_directory import AGENT, Run
from piplay.training.sources import WrittenSource
from piplay.training.state import RunState
from piplay.types import Episode, Key, PolicyRef

TOLERATED = 0.2
"""The share of a step's trajectories that tools may fail: they are left out of training, of more the step is."""


class Listener(Protocol):
    """Is told what happens: the terminal, a tracker, a test."""

    def began(self, rows: Sequence[Mapping[str, Any]], evals: Sequence[Mapping[str, Any]]) -> None:
        """The run starts, or goes on after these steps and evaluations; what was told beyond them is told again."""

    def phase(self, iteration: int, phase: Phase, done: int, headline: Mapping[str, str]) -> None:
        """A phase begins, or goes on after ``done`` of its steps; ``headline``: see ``Game.headline``."""

    def step(self, row: Mapping[str, Any]) -> None:
        """A step is done: its row of metrics.jsonl."""

    def measuring(self, what: str, done: int, of: int) -> None:
        """An evaluation, or what it is made of, goes on: so many of at most so many episodes are played."""

    def evaluated(self, row: Mapping[str, Any], sentence: str) -> None:
        """An evaluation was made: a row of the summary's ``eval``, and what it says in a line."""

    def message(self, sentence: str) -> None:
        """Something that a person has to know."""

    def close(self, failed: bool) -> None:
        """Nothing more will be told; said by whoever made the listener, not by the loop."""


Describe = Callable[[Run, Environment, Chat, str], str]
"""What stands in ``agent.json`` beside the weights of a final policy, by its name; empty where there is none."""


class Loop:
    """One run under way."""

    def __init__(
        self,
        run: Run,
        environment: Environment,
        engine: Engine,
        chat: Chat,
        listener: Listener,
        describe: Describe | None = None,
    ) -> None:
        self._describe = describe
        self.run, self.environment, self.engine, self.listener = run, environment, engine, listener
        self.config: Config = run.config
        self.stage = Stage.of(self.config, engine, chat, {tool.spec.name: tool for tool in environment.tools})
        self._patiently = Patience(self.stage.tools, run.folder, listener.message)
        self._restore(RunState())

    def train(self) -> None:
        """Play the run from where it stands to its end."""
        state = self.run.resume(self.engine.load, self.listener.message)
        self._restore(state, self.run.checkpoint_of(state))
        self.listener.began(self.run.rows(), self.state.evals)
        phases = self.config.phases
        if not self.state.evals:
            self._prepare()
            self._evaluate(0)
        while self.state.phase < len(phases) * self.config.iterations:
            iteration, phase = self.state.phase // len(phases) + 1, phases[self.state.phase % len(phases)]
            self._play_phase(iteration, phase)
            self.state.phase, self.state.step, self.state.recent = self.state.phase + 1, 0, []
            if phase is phases[-1]:
                self._evaluate(iteration)
            else:
                self._commit()
        for name in self.config.policies:
            self._export_final(name)
        self.run.finish(
            {
                "recipe": self.config.name,
                "seed": self.config.seed,
                "wall_seconds": round(time.monotonic() - self._began, 1),
                "eval": self.state.evals,
                "alarms": [asdict(alarm) for alarm in alarms(self.config, self.run.rows(), self.state.evals)],
            }
        )

    def _restore(self, state: RunState, checkpoint: Path | None = None) -> None:
        """Go on from a state and its checkpoint, with what remembers there."""
        self.state = state
        self.sources: dict[str, TaskSource] = make_sources(self.config, self.environment, state.sources)
        self.evaluation: Evaluation = make_evaluation(self.config, self.environment, state.evaluation)
        self.learner = Learner(self.engine, state.learners, self.config.seed, self.config.phases, checkpoint)
        self.columns = Columns(self.run.column_kinds() if state.done else None)
        self._began = time.monotonic() - state.seconds

    def _play_phase(self, iteration: int, phase: Phase) -> None:
        game = make_game(phase, self.state.games.setdefault(phase.name, {}))
        if self.state.step == 0:
            self._take_snapshots(phase)
        self.listener.phase(iteration, phase, self.state.step, game.headline)
        if self.state.step == 0 and (empty := unplayed_seats(game, phase.seats)):
            self.listener.message(f"phase {phase.name}: {empty}")
        checks = PhaseChecks(self.config, phase, game, self.columns)
        while self.state.step < phase.steps and not (self._written_enough(phase) or self._ends_early(phase)):
            row = self._step(iteration, phase, game, checks)
            self.run.log(row)
            self.listener.step(row)
            if self.state.step % self.config.checkpoint_every == 0:
                self._commit()
        if phase.writes:
            self._hand_over(iteration, phase)
        if phase.until and self._ends_early(phase) and self.state.step < phase.steps:
            self.listener.message(
                f"phase {phase.name} of iteration {iteration} ends after {self.state.step} of {phase.steps} steps: "
                f"over the last {phase.until.steps} {phase.until.metric} was {self._recent_mean():.2f}"
            )

    def _take_snapshots(self, phase: Phase) -> None:
        """Again where they were taken: before an interruption of the first step, or in the iteration before."""
        for snapshot in phase.snapshots:
            ref = PolicyRef.of(snapshot)
            if snapshot in self.state.snapshots:
                self.engine.forget(ref)
            else:
                self.state.snapshots.append(snapshot)
            self.engine.snapshot(ref.name, ref.snapshot)

    def _step(self, iteration: int, phase: Phase, game: Game, checks: PhaseChecks) -> dict[str, Any]:
        """Play, measure, learn, keep; the step's row of metrics."""
        key: Key = (f"m{iteration}", phase.name, self.state.step)
        clock = _Clock()
        seats, before = self._seats(phase, game, key), self.engine.usage()
        tasks = self.sources[phase.tasks].draw(key, phase.episodes)
        play = partial(self.stage.play, game.play, key, tasks, seats, phase.temperature, checks.early, TOLERATED)
        played = self._patiently(play, self._commit)
        episodes = game.finalize_batch(played)
        checks.played(episodes)
        clock.lap("play")
        row = Row(
            phase.seats,
            n=self.state.done + 1,
            iteration=iteration,
            phase=phase.name,
            step=self.state.step + 1,
            of=phase.steps,
        )
        row |= role_metrics(phase.seats, episodes)
        row.add(game.metrics(episodes, self.environment.audit))
        row |= {f"rollout/{name}": number for name, number in self.engine.usage().since(before).items()}
        for source in self.sources.values():
            source.note(episodes)
        clock.lap("measure")
        row.add(self.learner.learn(iteration, phase, self.state.step, episodes))
        if phase.until and phase.until.metric in row:
            self.state.recent = [*self.state.recent, row[phase.until.metric]][-phase.until.steps :]
        last = self.state.step + 1 == phase.steps or self._ends_early(phase)
        place = Place(iteration, phase, self.state.step, last)
        measured = self._patiently(lambda: self.evaluation.after_step(self.stage, place, self.sources))
        row.add(measured)
        if self.state.step == 0:
            checks.first(self.state, self.evaluation, row, measured, episodes)
        clock.lap("train")
        if phase.writes:
            row["written"] = self._keep_written(phase, episodes)
        self.state.done, self.state.step = self.state.done + 1, self.state.step + 1
        if self.config.keep_rollouts:
            self.run.save_episodes(self.state.done, episodes)
        clock.lap("save")
        return row | {"seconds": clock.laps}

    def _seats(self, phase: Phase, game: Game, key: Key) -> Mapping[str, str] | Sequence[Seats]:
        """Who plays the step's episodes."""
        if phase.opponents is None:
            return phase.seats
        pools = OpponentPools(phase, phase.opponents, self.state.opponents, self.engine, self.config.seed)

        def matches(key: Key, seatings: Sequence[Seats]) -> Sequence[Episode]:
            tasks = self.sources[phase.tasks].draw((*key, 0), len(seatings))
            return self.stage.play(game.play, key, tasks, seatings, phase.temperature)

        pools.refresh(key, matches)
        return pools.seat(key, phase.episodes)

    def _keep_written(self, phase: Phase, episodes: Sequence[Episode]) -> int:
        """Keep what was written but for what is measured by; how much there is."""
        written = [task for episode in episodes for task in episode.written if not self.evaluation.reserved(task)]
        source = self._written(phase)
        source.add(written)
        return min(source.waiting, phase.writes)

    def _written(self, phase: Phase) -> WrittenSource:
        source = self.sources[phase.writes_to]
        if not isinstance(source, WrittenSource):
            raise InputError(f"phase {phase.name} writes to the source {phase.writes_to!r}, which takes no tasks")
        return source

    def _written_enough(self, phase: Phase) -> bool:
        return phase.writes > 0 and self._written(phase).waiting >= phase.writes

    def _ends_early(self, phase: Phase) -> bool:
        until = phase.until
        return until is not None and len(self.state.recent) == until.steps and self._recent_mean() >= until.above

    def _recent_mean(self) -> float:
        return sum(self.state.recent) / len(self.state.recent)

    def _hand_over(self, iteration: int, phase: Phase) -> None:
        """The written tasks become the task set of the phases that follow."""
        tasks = self._written(phase).hand_over(phase.writes)
        if len(tasks) < phase.writes:
            why = refusals(self.run.rows()[-self.state.step :]) or "none"
            sentence = (
                f"phase {phase.name} of iteration {iteration} stopped after {self.state.step * phase.episodes} tries "
                f"with {len(tasks)} of {phase.writes} tasks that pass (refused: {why})"
            )
            if not tasks:
                raise InputError(f"{sentence}: this model writes no valid task here, there is nothing to learn from")
            self.listener.message(sentence)
        self.run.save_tasks(f"m{iteration}-{phase.name}", tasks)

    def _prepare(self) -> None:
        watched = self._watched("evaluation set", self.evaluation.preparation())
        prepared = self._patiently(lambda: self.evaluation.prepare(watched))
        for name, tasks in prepared.tasks.items():
            self.run.save_tasks(name, tasks)
        if prepared.sentence:
            self.listener.message(prepared.sentence)

    def _evaluate(self, iteration: int) -> None:
        watched = self._watched("evaluation", self.evaluation.cost())
        measured = self._patiently(lambda: self.evaluation.measure(watched, iteration))
        row = {"iteration": iteration} | measured
        if measured:
            self.listener.evaluated(row, self.evaluation.sentence(row))
        for policy in self.evaluation.exports:
            self._export(policy, self.run.snapshot(iteration))
        self.state.evals.append(row)
        self._commit()

    def _export(self, policy: str, folder: Path) -> None:
        self.run.export(folder, lambda new: self.engine.export(policy, new))

    def _export_final(self, policy: str) -> None:
        about = self._describe(self.run, self.environment, self.stage.chat, policy) if self._describe else ""

        def write(new: Path) -> None:
            self.engine.export(policy, new)
            if about:
                (new / AGENT).write_text(about, encoding="utf-8")

        self.run.export(self.run.final(policy), write)

    def _watched(self, what: str, most: int) -> Stage:
        """The stage of an evaluation, whose listener is told of each episode that ends."""
        done = itertools.count(1)
        return replace(self.stage, ended=lambda: self.listener.measuring(what, next(done), most))

    def _commit(self) -> None:
        check_states(self.config, self.state, self.evaluation)
        self.state.seconds = time.monotonic() - self._began
        self.run.commit(self.state, self._save)

    def _save(self, folder: Path) -> None:
        self.engine.save(folder)
        self.learner.save(folder)


class _Clock:
    """Seconds between laps."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.laps[name], self._last = round(now - self._last, 3), now
