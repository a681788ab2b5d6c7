"""The game of SPIRAL (arXiv 2506.24119): a whole game at a table, every move a trajectory of its own.

A move's prompt is what its seat sees: the actions so far, no one's earlier words. All moves of a seat get what the game
paid it; with the advantage ``role_ema`` that is compared with what the seat gets on average.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import PositiveInt

from piplay.envs.table.base import Table
from piplay.envs.table.environment import Deal, load_table
from piplay.protocols import Audit, Game
from piplay.rollout.context import Context, Dialogue
from piplay.types import Episode, Ints, ScoredTrajectory, Trajectory


@dataclass(slots=True)
class Play(Game):
    """A game at a table, whose seats are the roles. An answer that is no legal move ends it."""

    headline: ClassVar[Mapping[str, str]] = {
        "first/payoff": "first seat's payoff",
        "illegal": "games with illegal moves",
    }

    offender: float = -1.5
    """The reward of a seat whose answer is no legal move; as in the paper."""
    other: float = 0.5
    """The reward of a seat that met one."""
    moves: PositiveInt = 9
    """Moves after which a game that is not over pays 0 to all."""
    roles = ("first", "second")

    def cost(self) -> Mapping[str, int]:
        """See ``Game.cost``: the seats move in turn."""
        return {"first": (self.moves + 1) // 2, "second": self.moves // 2}

    async def play(self, task: Deal, context: Context) -> Episode:
        """Deal, then let the seats move in turn until the game is over or a move is illegal."""
        table = load_table(task.table)
        state = table.start(context.rng("deal"))
        moves: list[tuple[Trajectory, Ints]] = []
        offender = ""
        while (seat := table.to_move(state)) is not None and len(moves) < self.moves and not offender:
            role, view, legal = table.seats[seat], table.view(state, seat), table.legal(state)
            system = context.system(role, table.rules)
            line = context.child("move", len(moves)).open(role, system, view)
            await self._answer(line, legal)
            trajectory = await line.close()
            all_seen = "\n".join(filter(None, (table.hidden(state, seat), view)))
            moves.append((trajectory, context.chat.prompt(system, all_seen)))
            if trajectory.answer in legal:
                state = table.move(state, trajectory.answer)
            else:
                offender = role
        rewards = self._rewards(table, state, offender)
        played = tuple(
            ScoredTrajectory(
                trajectory,
                context.key,
                rewards[trajectory.role],
                {"privileged": privileged},
                baseline=(task.table, trajectory.role),
            )
            for trajectory, privileged in moves
        )
        return Episode(context.key, task, played, facts={**rewards, "moves": float(len(moves)), "illegal": offender})

    async def _answer(self, line: Dialogue, legal: Sequence[str]) -> None:
        """The policy's own turn."""
        await line.say()

    def _rewards(self, table: Table[Any], state: Any, offender: str) -> dict[str, float]:
        """What each role gets."""
        if offender:
            return {role: self.offender if role == offender else self.other for role in table.seats}
        over = table.to_move(state) is None
        return dict(zip(table.seats, table.payoffs(state) if over else (0.0,) * len(table.seats), strict=True))

    def metrics(self, episodes: Sequence[Episode], audit: Audit | None) -> dict[str, float]:
        """By seat the mean payoff and the share of games won; draws, games with an illegal move, moves a game."""

        def mean(values: Iterable[float]) -> float:
            return sum(values) / len(episodes)

        row = {
            "draws": mean(all(e.facts[role] == 0 for role in self.roles) for e in episodes),
            "illegal": mean(e.facts["illegal"] != "" for e in episodes),
            "moves": mean(float(e.facts["moves"]) for e in episodes),
        }
        for role in self.roles:
            payoffs = [float(e.facts[role]) for e in episodes]
            row |= {f"{role}/payoff": mean(payoffs), f"{role}/wins": mean(payoff > 0 for payoff in payoffs)}
        return row


class WarmUp(Play):
    """The same game with random legal moves, written by the game itself, to be learnt by the loss ``nll``.

    It teaches how a move is written, and to choose among the legal ones evenly: nothing of how to play.
    """

    async def _answer(self, line: Dialogue, legal: Sequence[str]) -> None:
        """A legal move by chance."""
        choice = int(line.context.rng("choice").integers(len(legal)))
        line.put(line.context.chat.phrase(content=legal[choice]))
