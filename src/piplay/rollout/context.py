"""What a game can ask for while it tells an episode's story: turns, searches, and other stories side by side."""

from __future__ import annotations

from collections.abc import Coroutine, Generator, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from piplay.chat.base import Chat, show
from piplay.config import Limits
from piplay.engine.protocol import Generate, Generated
from piplay.envs.search.searcher import SearchError
from piplay.errors import InputError
from piplay.types import Call, Ints, Key, Owner, Passage, PolicyRef, StopReason, Trajectory, Turn

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Want:
    """Something an episode waits for. The driver fulfils it and sends the result into the coroutine."""

    def __await__(self) -> Generator[Want, Any, Any]:
        return (yield self)


@dataclass(frozen=True, slots=True)
class WantTurn(Want):
    """A turn of a policy: a ``Generated``."""

    request: Generate


@dataclass(frozen=True, slots=True)
class WantSearch(Want):
    """Passages for a query, best first; ``SearchError`` is thrown in where the tool fails."""

    query: str


@dataclass(frozen=True, slots=True)
class WantAll(Want):
    """The results of several coroutines, in their order."""

    stories: tuple[Coroutine[Want, Any, Any], ...]


@dataclass(frozen=True, slots=True)
class WantEnd(Want):
    """Nothing: a session is over and its cache may go."""

    session: Key


@dataclass(frozen=True, slots=True)
class Context:
    """One episode's view of the machinery."""

    key: Key
    chat: Chat
    seats: Mapping[str, PolicyRef]
    limits: Limits
    temperature: float
    prompts: Mapping[str, str] = field(default_factory=dict)
    """Role to the system prompt that a run wants for it; a game has its own for the others."""

    def child(self, *name: str | int) -> Context:
        """The same context under a longer key: siblings never share draws."""
        return replace(self, key=(*self.key, *name))

    async def gather(self, stories: Iterable[Coroutine[Want, Any, Result]]) -> list[Result]:
        """Play several stories at once; their results in order."""
        results: list[Result] = await WantAll(tuple(stories))
        return results

    async def converse(self, role: str, system: str, user: str) -> Trajectory:
        """One seat's whole trajectory: turns and searches in alternation until it answers or meets a limit."""
        if role not in self.seats:
            raise InputError(f"the game needs a seat for the role {role!r}: name its policy in the phase's seats")
        policy = self.seats[role]
        record = _Record(self.chat.prompt(system, user))
        stop = StopReason.TURNS
        for turn in range(self.limits.turns):
            room = min(self.limits.turn_tokens, self.limits.tokens - record.length)
            if room < 1:
                stop = StopReason.TOTAL_TOKENS
                break
            key = (*self.key, "turn", turn)
            written: Generated = await WantTurn(
                Generate(key, policy, record.context(), self.key, max_new=room, temperature=self.temperature)
            )
            said = self.chat.parse(written.ids.tolist())
            record.write(written, said)
            if not written.closed:
                stop = StopReason.TURN_TOKENS if room == self.limits.turn_tokens else StopReason.TOTAL_TOKENS
                break
            if said.malformed or said.query is None:
                stop = StopReason.MALFORMED if said.malformed else StopReason.ANSWERED
                break
            if turn + 1 < self.limits.turns:
                try:
                    found: list[Passage] = await WantSearch(said.query)
                except SearchError:
                    stop = StopReason.TOOL_FAILED
                    break
                shown = self.chat.tool_turn(show(found))
                if record.length + len(shown) >= self.limits.tokens:
                    stop = StopReason.TOTAL_TOKENS
                    break
                record.call(Call(said.query, tuple(found)), shown)
        await WantEnd(self.key)
        return record.trajectory(self.key, role, policy, stop)


class _Record:
    """A trajectory while it grows."""

    def __init__(self, prompt: Ints) -> None:
        self.ids: list[Ints] = [prompt]
        self.owners: list[np.ndarray[Any, np.dtype[np.int8]]] = [_owned(prompt, Owner.PROMPT)]
        self.logprobs = [np.zeros(len(prompt), np.float32)]
        self.length = len(prompt)
        self.turns: list[Turn] = []
        self.calls: list[Call] = []

    def context(self) -> Ints:
        return np.concatenate(self.ids)

    def write(self, written: Generated, said: Turn) -> None:
        self._append(written.ids, Owner.MODEL, written.logprobs)
        self.turns.append(said)

    def call(self, call: Call, ids: Ints) -> None:
        self._append(ids, Owner.TOOL, np.zeros(len(ids), np.float32))
        self.calls.append(call)

    def _append(self, ids: Ints, owner: Owner, logprobs: np.ndarray[Any, np.dtype[np.float32]]) -> None:
        self.ids.append(ids)
        self.owners.append(_owned(ids, owner))
        self.logprobs.append(logprobs)
        self.length += len(ids)

    def trajectory(self, key: Key, role: str, policy: PolicyRef, stop: StopReason) -> Trajectory:
        return Trajectory(
            key,
            role,
            policy,
            self.context(),
            np.concatenate(self.owners),
            np.concatenate(self.logprobs),
            len(self.ids[0]),
            tuple(self.turns),
            tuple(self.calls),
            stop,
        )


def _owned(ids: Ints, owner: Owner) -> np.ndarray[Any, np.dtype[np.int8]]:
    return np.full(len(ids), owner, dtype=np.int8)
