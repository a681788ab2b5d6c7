"""A model plays an environment of Gymnasium or PettingZoo: a dialogue a role and episode, a turn a move.

A role hears what it sees and answers with a move's word. Its trajectory has the return as its reward, and each turn
what came of it. The view ``privileged`` of a trajectory opens with what is hidden from the role: so a teacher who
knows it reads the same moves (π-Play's privileged self-distillation, arXiv 2604.14054, without any search).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from pydantic import NonNegativeInt, PositiveInt

from piplay.config import Config
from piplay.envs.gym.environment import GymEnvironment, Start
from piplay.errors import InputError
from piplay.protocols import Environment, Evaluation, Game
from piplay.registry import resolve
from piplay.rollout.context import Context, Dialogue
from piplay.rollout.stage import Stage
from piplay.streams import pick
from piplay.types import Episode, Ints, Key, ScoredTrajectory, StopReason


@dataclass(slots=True)
class _Player:
    """A role in one episode."""

    line: Dialogue
    views: Mapping[str, Ints]
    earned: defaultdict[int, float] = field(default_factory=lambda: defaultdict(float))
    """By turn; what came before the first is under −1."""

    def earn(self, reward: float) -> None:
        self.earned[len(self.line.turns) - 1] += float(reward)

    async def close(self, group: Key, stop: StopReason) -> ScoredTrajectory:
        trajectory = await self.line.close(stop)
        turns = np.array([self.earned[number] for number in range(len(trajectory.turns))], np.float32)
        return ScoredTrajectory(trajectory, (*group, trajectory.role), sum(self.earned.values()), self.views, turns)


@dataclass(slots=True)
class Play(Game):
    """Every role writes its moves."""

    rollouts: PositiveInt = 1
    """Episodes from each seed; a role's trajectories of a seed are a group."""
    roles: tuple[str, ...] = ("player",)
    """The environment's agents: of Gymnasium ``player`` alone."""
    hints: NonNegativeInt = 1
    """How often, for one move, a role that writes no legal one is told those that are."""
    forfeit: float = 0.0
    """What a role earns that does not move, by a limit or after its last hint; the episode ends. Where one can lose, no
    more than that, or not to move would pay."""
    privileged: bool = False
    """Play knowing what is hidden, as the teacher would; the view ``plain`` is then the student's."""
    headline: ClassVar[Mapping[str, str]] = {"player/reward": "return"}
    sometimes: ClassVar[Sequence[str]] = ("player/reward",)

    def cost(self) -> Mapping[str, int]:
        """See ``Game.cost``."""
        return dict.fromkeys(self.roles, self.rollouts)

    async def play(self, task: Start, context: Context) -> Episode:
        """All rollouts of a seed."""
        played = await context.gather(
            self._rollout(task, context.child(i), self._shown(i)) for i in range(self.rollouts)
        )
        return Episode(context.key, task, tuple(one for scored in played for one in scored))

    async def _rollout(self, task: Start, context: Context, shown: bool) -> list[ScoredTrajectory]:
        """One episode. An agent whose part is over steps once more, with None, as PettingZoo wants it."""
        world, env, rng = task.world, task.world.new(), context.rng("moves")
        players: dict[str, _Player] = {}
        env.reset(seed=task.seed)
        while env.agents:
            agent = env.agent_selection
            observation, reward, ended, cut, info = env.last()
            over, known = ended or cut, agent in players
            text = "" if over else world.text(env, observation)
            if not (over or known):
                players[agent] = self._open(context, agent, text, world.secret(env, info), world.actions, shown)
            if agent in players:
                players[agent].earn(reward)
            if over:
                env.step(None)
                continue
            if known and not players[agent].line.hear(text):
                break
            move = await self._move(players[agent], world.moves(env, observation, info), env, rng)
            if move is None:
                break
            env.step(move)
        idle = env.agent_selection if env.agents else None
        if idle is not None:
            players[idle].earn(self.forfeit)
        return [
            await player.close(context.key[:-1], StopReason.MALFORMED if agent == idle else StopReason.ANSWERED)
            for agent, player in players.items()
        ]

    def _open(
        self, context: Context, role: str, text: str, secret: str, actions: Sequence[str], shown: bool
    ) -> _Player:
        system = context.system(role, f"Play. Write one move: {', '.join(actions) or 'its number'}.")
        told = f"{secret}\n{text}" if secret else text
        line = context.child(role).open(role, system, told if shown else text)
        other = context.chat.prompt(system, text if shown else told)
        return _Player(line, {"plain" if shown else "privileged": other} if secret else {})

    async def _move(self, player: _Player, moves: Mapping[str, Any], env: Any, rng: np.random.Generator) -> Any:
        """The move that a role writes; None where it writes none."""
        legal = {word.casefold(): move for word, move in moves.items()}
        for left in reversed(range(self.hints + 1)):
            turn = await player.line.say()
            if turn is None:
                return None
            word = turn.content.strip(" .").casefold()
            if word in legal:
                return legal[word]
            if not left or not player.line.hear(f"Write one of: {', '.join(moves)}."):
                return None

    def _shown(self, rollout: int) -> bool:
        return self.privileged


@dataclass(slots=True)
class Demonstrate(Play):
    """Moves that a role is given, to learn from by likelihood before it plays.

    Every second rollout of a seed is shown what is hidden, and moves by the script; the others move at random.
    """

    script: str = ""
    """``module:function`` from the environment to a move's word; empty: all moves are random."""
    _script: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._script = resolve(self.script, "script", "piplay.envs.gym") if self.script else None

    def _shown(self, rollout: int) -> bool:
        return self._script is not None and rollout % 2 == 1

    async def _move(self, player: _Player, moves: Mapping[str, Any], env: Any, rng: np.random.Generator) -> Any:
        shown = "plain" in player.views
        word = self._script(env.unwrapped) if shown else pick(rng, list(moves))
        player.line.put(player.line.context.chat.phrase(content=word))
        return moves[word]


class GymEvaluation(Evaluation):
    """Mean return from the held-out seeds, greedily: of ``config.agent``, and of a teacher who knows what is hidden."""

    def __init__(self, environment: Environment, config: Config, *, teacher: str = "") -> None:
        """Raises ``InputError`` where the environment is another, or there is no such policy."""
        if not isinstance(environment, GymEnvironment):
            raise InputError("the evaluation gym needs one player: take the environment gym")
        if teacher and teacher not in config.policies:
            raise InputError(f"evaluation.teacher: there is no policy {teacher!r}")
        self._starts, self._agent, self._teacher = environment.heldout, config.agent, teacher

    def measure(self, stage: Stage, iteration: int) -> dict[str, Any]:
        """See ``Evaluation.measure``."""
        row = {}
        for name, policy in (("return", self._agent), ("teacher_return", self._teacher)):
            if policy and self._starts:
                game, key = Play(privileged=name != "return"), ("evaluate", iteration, name)
                played = stage.play(game.play, key, self._starts, {"player": policy}, 0.0)
                row[name] = float(np.mean([episode.trajectories[0].reward for episode in played]))
        return row

    def cost(self) -> int:
        """See ``Evaluation.cost``."""
        return len(self._starts) * (2 if self._teacher else 1)
