"""Algorithm 1 of π-Play (arXiv 2604.14054): M times the phases of a recipe, with an evaluation between.

for m in 1..M:
    examine   the examiner learns against the frozen student
    write     the frozen examiner writes the task set D
    study     the student learns on D; the teacher follows it after each step
    evaluate
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, get_type_hints

from pydantic import TypeAdapter, ValidationError

from piplay.algo.samples import samples_of
from piplay.algo.schedules import decayed
from piplay.chat.base import Chat
from piplay.config import Config, Learn, Phase
from piplay.engine.protocol import Engine, Objective
from piplay.envs.search.match import normalise
from piplay.envs.search.searcher import Searcher
from piplay.errors import InputError
from piplay.methods.base import Game
from piplay.methods.pi_play.curriculum import hop_odds, remembered
from piplay.methods.pi_play.metrics import Audit, em_by_hops, is_torn, seat_metrics, task_metrics
from piplay.methods.pi_play.play import alone, with_path
from piplay.methods.pi_play.self_eval import LABEL, ROUNDS, write_probes
from piplay.registry import resolve
from piplay.rollout.stage import Stage
from piplay.streams import stream
from piplay.training.run_directory import Run, State
from piplay.types import Episode, Key, Memory, Passage, Sample, Task

STEADY = 3
"""Steps over which a phase's share of solved tasks is looked at."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What a run stands on: something to search, somewhere to start, and where it is known, the truth."""

    searcher: Searcher
    seeds: Sequence[Passage]
    """Passages that examiners start from."""
    heldout: Sequence[Task]
    """Questions with their true paths, for evaluation alone."""
    audit: Audit | None
    """The truth of a written task, for the log alone."""
    reserved: Sequence[Passage] = ()
    """Passages that examiners start from for probes alone, where there are no held-out questions."""


class Listener(Protocol):
    """Is told what happens: the terminal, a tracker, a test."""

    def began(self, rows: Sequence[Mapping[str, Any]], evals: Sequence[Mapping[str, Any]]) -> None:
        """The run starts, or goes on after these steps and evaluations; what was told beyond them is told again."""

    def phase(self, iteration: int, phase: Phase, done: int) -> None:
        """A phase begins, or goes on after ``done`` of its steps."""

    def step(self, row: Mapping[str, Any]) -> None:
        """A step is done: its row of metrics.jsonl."""

    def evaluated(self, row: Mapping[str, Any]) -> None:
        """The held-out questions were played: a row of the summary's ``eval``."""

    def said(self, sentence: str) -> None:
        """Something that a person has to know."""

    def close(self, failed: bool) -> None:
        """Nothing more will be told; said by whoever made the listener, not by the loop."""


class Loop:
    """One run under way."""

    def __init__(self, run: Run, ground: Ground, engine: Engine, chat: Chat, listener: Listener) -> None:
        self.run, self.ground, self.engine, self.chat, self.listener = run, ground, engine, chat, listener
        self.config: Config = run.config
        self.stage = Stage(
            engine, chat, ground.searcher, self.config.limits, self.config.search.top_k, self.config.prompts
        )
        self.state = State()
        self._began = time.monotonic()

    def train(self) -> None:
        """Play the run from where it stands to its end."""
        self.state = self.run.resume(self.engine.load)
        self._began = time.monotonic() - self.state.seconds
        self.listener.began(self.run.rows(), self.state.evals)
        phases = self.config.phases
        if not self.state.evals:
            self._write_probes()
            self._evaluate(0)
        while self.state.phase < len(phases) * self.config.iterations:
            iteration, phase = self.state.phase // len(phases) + 1, phases[self.state.phase % len(phases)]
            self.listener.phase(iteration, phase, self.state.step)
            self._play_phase(iteration, phase)
            self.state.phase, self.state.step, self.state.solved = self.state.phase + 1, 0, []
            if phase is phases[-1]:
                self._evaluate(iteration)
            else:
                self._commit()
        for name in self.config.policies:
            self.engine.export(name, self.run.final(name))
        self.run.finish(
            {
                "recipe": self.config.name,
                "seed": self.config.seed,
                "wall_seconds": round(time.monotonic() - self._began, 1),
                "eval": self.state.evals,
            }
        )

    def _play_phase(self, iteration: int, phase: Phase) -> None:
        game = make_game(phase, self.state.memories.setdefault(phase.name, {}))
        while self.state.step < phase.steps and not (self._written_enough(phase) or self._solved_enough(phase)):
            key: Key = (f"m{iteration}", phase.name, self.state.step)
            started = time.monotonic()
            tasks, before = self._tasks(phase, key), self.engine.usage()
            episodes = game.settle(self.stage.play(game.play, key, tasks, phase.seats, temperature=1.0))
            played = time.monotonic()
            row: dict[str, Any] = {
                "n": self.state.done + 1,
                "iteration": iteration,
                "phase": phase.name,
                "step": self.state.step + 1,
                "of": phase.steps,
            }
            for role in phase.seats:
                row |= seat_metrics(role, [s for e in episodes for s in e.seats if s.trajectory.role == role])
            row |= task_metrics(episodes, self.ground.audit)
            row |= {f"rollout/{name}": value for name, value in self.engine.usage().since(before).items()}
            self._notice(episodes)
            if "solved" in row:
                self.state.solved = [*self.state.solved, row["solved"]][-STEADY:]
            measured = time.monotonic()
            row |= self._learn(iteration, phase, episodes)
            row |= self._teacher_health(phase, iteration)
            trained = time.monotonic()
            if phase.writes:
                probed = {normalise(probe.question) for probe in self.state.probes}
                written = [e.written for e in episodes if e.written is not None]
                self.state.written += [task for task in written if normalise(task.question) not in probed]
                row["written"] = min(len(self.state.written), phase.writes)
            self.state.done, self.state.step = self.state.done + 1, self.state.step + 1
            self.run.save_episodes(self.state.done, episodes)
            row["seconds"] = {
                "play": round(played - started, 3),
                "measure": round(measured - played, 3),
                "train": round(trained - measured, 3),
                "save": round(time.monotonic() - trained, 3),
            }
            self.run.log(row)
            self.listener.step(row)
            if self.state.step % self.config.checkpoint_every == 0:
                self._commit()
        if phase.writes:
            self._hand_over(iteration, phase)
        if self._solved_enough(phase) and self.state.step < phase.steps:
            self.listener.said(
                f"phase {phase.name} of iteration {iteration} ends after {self.state.step} of {phase.steps} steps: "
                f"over the last {STEADY} every sample solved {sum(self.state.solved) / STEADY:.0%} of the tasks"
            )

    def _learn(self, iteration: int, phase: Phase, episodes: Sequence[Episode]) -> dict[str, float]:
        """One step of each policy that learns; where roles share one, of what all of them played."""
        row: dict[str, float] = {}
        samples: dict[str, list[Sample]] = {}
        for role, learn in phase.learn.items():
            seats = [seat for episode in episodes for seat in episode.seats if seat.trajectory.role == role]
            weight = decayed(learn.distill, learn.decay, iteration)
            distill = weight if learn.teacher else None
            found = samples_of(seats, pg=learn.pg, distill=distill, kl=learn.beta > 0, delta=learn.delta)
            if found:
                samples.setdefault(phase.seats[role], []).extend(found)
                row[f"{role}/lambda"] = weight
        for policy, batch in samples.items():
            roles = [role for role in phase.learn if phase.seats[role] == policy]
            metrics = self.engine.train(policy, batch, _objective(phase, [phase.learn[role] for role in roles]))
            played = {sample.role for sample in batch}
            row |= {f"{role}/{name}": value for role in roles if role in played for name, value in metrics.items()}
        return row

    def _tasks(self, phase: Phase, key: Key) -> list[Task]:
        """The tasks of one step, drawn from streams of their own."""
        step, count = self.state.step, phase.episodes
        if phase.tasks == "seeds":
            odds = hop_odds(self.config.hop_odds, self.state.torn, self.state.tried, self.config.hop_curriculum)
            return seed_tasks(self.config.seed, odds, self.ground.seeds, key, count)
        tasks = self.state.tasks
        chosen = []
        for place in range(step * count, (step + 1) * count):
            # Every task once before any twice; each round has an order of its own.
            order = stream(self.config.seed, (*key[:-1], "order", place // len(tasks))).permutation(len(tasks))
            chosen.append(tasks[order[place % len(tasks)]])
        return chosen

    def _notice(self, episodes: Sequence[Episode]) -> None:
        """Remember at which hop counts students are torn; of a step without students' tries nothing."""
        tried = [(str(episode.task.hops), torn) for episode in episodes if (torn := is_torn(episode)) is not None]
        if tried:
            self.state.tried = remembered(self.state.tried, Counter(hops for hops, _ in tried))
            self.state.torn = remembered(self.state.torn, Counter(hops for hops, torn in tried if torn))

    def _written_enough(self, phase: Phase) -> bool:
        return phase.writes > 0 and len(self.state.written) >= phase.writes

    def _solved_enough(self, phase: Phase) -> bool:
        shares = self.state.solved
        return phase.until_solved > 0 and len(shares) == STEADY and sum(shares) / STEADY >= phase.until_solved

    def _hand_over(self, iteration: int, phase: Phase) -> None:
        """The written tasks become the task set of the phases that follow."""
        tasks = self.state.written[: phase.writes]
        tries = self.state.step * phase.episodes
        if len(tasks) < phase.writes:
            refused: dict[str, int] = {}
            for row in self.run.rows()[-self.state.step :]:
                for name, count in row.items():
                    if name.startswith("gate/") and name != "gate/passed":
                        refused[name[5:]] = refused.get(name[5:], 0) + int(count)
            reasons = ", ".join(f"{name} {count}" for name, count in sorted(refused.items(), key=lambda x: -x[1]))
            sentence = (
                f"phase {phase.name} of iteration {iteration} stopped after {tries} tries with {len(tasks)} of "
                f"{phase.writes} questions that pass the gates (refused: {reasons or 'none'})"
            )
            if not tasks:
                raise InputError(
                    f"{sentence}: this model writes no valid question on this corpus, nothing to learn from"
                )
            self.listener.said(sentence)
        self.run.save_tasks(f"m{iteration}-{phase.name}", tasks)
        self.state.tasks, self.state.written = tasks, []

    def _teacher_health(self, phase: Phase, iteration: int) -> dict[str, float]:
        """The teacher plays some of the phase's tasks with their paths."""
        settings = self.config.evaluation
        roles = [learn.teacher for learn in phase.learn.values() if learn.teacher]
        if not roles or not settings.teacher_every or phase.tasks != "written":
            return {}
        first, last = self.state.step == 0, self.state.step + 1 == phase.steps or self._solved_enough(phase)
        if not (first or last or (self.state.step + 1) % settings.teacher_every == 0):
            return {}
        tasks = self.state.tasks[: settings.teacher_tasks]
        key: Key = (f"m{iteration}", phase.name, self.state.step, "health")
        episodes = with_path(self.stage, phase.seats[roles[0]], tasks, key)
        return {"teacher/em": sum(episode.seats[0].reward for episode in episodes) / len(episodes)}

    def _write_probes(self) -> None:
        """Where passages are reserved for it, the base examiner writes what the run will be measured by."""
        wanted, reserved, phases = self.config.evaluation.probe_questions, self.ground.reserved, self.config.phases
        if not (reserved and phases):
            return
        # The first phase that writes, like the first of all, starts from seeds: there is nothing else yet.
        phase = next((phase for phase in phases if phase.writes), phases[0])
        game = make_game(phase, {})
        probes = write_probes(
            self.stage,
            game,
            phase.seats,
            lambda key: seed_tasks(self.config.seed, self.config.hop_odds, reserved, key, wanted),
            wanted,
        )
        if probes:
            self.run.save_tasks("probes", probes)
            self.listener.said(f"{len(probes)} probe questions ({LABEL}) from {len(reserved)} passages set aside")
        else:
            self.listener.said(
                f"the base examiner wrote no probe question that passes the gates in {ROUNDS * wanted} tries: this run "
                "has no before and after"
            )
        self.state.probes = probes

    def _evaluate(self, iteration: int) -> None:
        """Greedy EM by hop: the student alone, and the teacher with the true path; on probes, with their own path."""
        settings = self.config.evaluation
        tasks = (self.ground.heldout or self.state.probes) if settings.per_hop else ()
        row: dict[str, Any] = {"iteration": iteration}
        if tasks:
            if not self.ground.heldout:
                row["questions"] = LABEL
            key: Key = ("evaluate", iteration)
            played = alone(self.stage, settings.policy, tasks, key)
            by_hops, counts = em_by_hops(played)
            row |= {
                "em": sum(e.seats[0].reward for e in played) / len(played),
                "em_by_hops": by_hops,
                "n_by_hops": counts,
            }
            if settings.teacher:
                shown = with_path(self.stage, settings.teacher, tasks, (*key, "path"))
                row["teacher_em_by_hops"], _ = em_by_hops(shown)
            self.listener.evaluated(row)
        if settings.grid:
            self.engine.export(settings.policy, self.run.kept(iteration))
        self.state.evals.append(row)
        self._commit()

    def _commit(self) -> None:
        self.state.seconds = time.monotonic() - self._began
        self.run.commit(self.state, self.engine.save)


def _objective(phase: Phase, learns: Sequence[Learn]) -> Objective:
    """That of roles that learn in one step; what only some of them use is theirs."""
    first = learns[0]
    taught = next((learn for learn in learns if learn.teacher), first)
    held = next((learn for learn in learns if learn.beta), first)
    teacher = phase.seats[taught.teacher] if taught.teacher else None
    return Objective(first.eps, taught.top_k, held.beta, teacher, held.reference)


def seed_tasks(seed: int, odds: Sequence[float], seeds: Sequence[Passage], key: Key, count: int) -> list[Task]:
    """What examiners start from: seed passages with hop counts (1, 2, … by odds), from a stream of the key's own."""
    rng = stream(seed, (*key, "seeds"))
    picks = rng.choice(len(seeds), count, replace=count > len(seeds))
    hops = rng.choice(len(odds), count, p=[odd / sum(odds) for odd in odds]) + 1
    name = "/".join(map(str, key))
    return [
        Task(f"{name}/{i}", int(h), source=seeds[pick]) for i, (pick, h) in enumerate(zip(picks, hops, strict=True))
    ]


def make_game(phase: Phase, memory: Memory) -> Game:
    """The phase's game. Raises ``InputError`` where there is none, it takes no such option, or a role has no seat."""
    where = f"phase {phase.name}"
    try:
        kind = resolve(phase.game, "game", "piplay.methods")
        made: Game = kind(memory=memory, **_checked(phase, kind))
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    except TypeError as error:
        raise InputError(f"{where}: the game {phase.game} does not take its options ({error})") from error
    roles = getattr(made, "roles", None)
    if not isinstance(roles, tuple | list) or not all(isinstance(role, str) for role in roles):
        raise InputError(f"{where}: the game {phase.game} needs `roles`, a tuple of the names of those who write in it")
    for role in roles:
        if role not in phase.seats:
            raise InputError(f"{where}: the game {phase.game} needs a policy for the role {role!r}: give it a seat")
    return made


def _checked(phase: Phase, kind: Any) -> dict[str, Any]:
    """The phase's options, of the types that the game's class gives them."""
    hints = get_type_hints(kind, include_extras=True)
    for option, value in phase.options.items():
        try:
            TypeAdapter(hints.get(option, Any)).validate_python(value, strict=True)
        except ValidationError as error:
            problem = f"{error.errors()[0]['msg']}, not {value!r}"
            raise InputError(f"option {option} of the game {phase.game}: {problem}") from error
    return phase.options
