"""What a game can ask for while an episode is played: turns, tools, and other coroutines side by side."""

from __future__ import annotations

from collections.abc import Coroutine, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from piplay.border.play import check_text
from piplay.chat.base import Chat
from piplay.engine.protocol import Generate, Generated
from piplay.errors import InputError
from piplay.rollout.tools import ToolError
from piplay.settings import Limits
from piplay.streams import stream
from piplay.types import (
    Ints,
    Key,
    Owner,
    PolicyRef,
    StopReason,
    Task,
    ToolCall,
    ToolFailure,
    ToolResult,
    ToolUse,
    Trajectory,
    Turn,
)

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Request:
    """Something an episode waits for. The driver fulfils it and sends the result into the coroutine."""

    def __await__(self) -> Generator[Request, Any, Any]:
        return (yield self)


@dataclass(frozen=True, slots=True)
class TurnRequest(Request):
    """A turn of a policy: a ``Generated``."""

    generate: Generate


@dataclass(frozen=True, slots=True)
class ToolRequest(Request):
    """A tool's ``ToolResult`` for a call; ``ToolError`` is thrown in where the tool fails."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class GatherRequest(Request):
    """The results of several coroutines, in their order."""

    coroutines: tuple[Coroutine[Request, Any, Any], ...]


@dataclass(frozen=True, slots=True)
class CloseRequest(Request):
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
    seed: int = 0
    """The run's."""
    batch: Sequence[Task] = ()
    """The tasks of all episodes that are played at once, its own among them."""
    opened: set[Key] = field(default_factory=set, repr=False, compare=False)
    """The keys of the episode's dialogues: the same set in all contexts of an episode."""
    failures: list[ToolFailure] = field(default_factory=list, repr=False, compare=False)
    """The episode's calls that tools did not answer: the same list in all its contexts."""

    def child(self, *name: str | int) -> Context:
        """The same context under a longer key: siblings never share draws."""
        return replace(self, key=(*self.key, *name))

    def system(self, role: str, default: str) -> str:
        """A role's system prompt: what the run's settings give it, else the game's own."""
        return self.prompts.get(role, default)

    def rng(self, *name: str | int) -> np.random.Generator:
        """Random numbers of the game's own, named by the context's key and what it adds."""
        return stream(self.seed, (*self.key, *name))

    async def gather(self, coroutines: Iterable[Coroutine[Request, Any, Result]]) -> list[Result]:
        """Run several coroutines at once; their results in order."""
        results: list[Result] = await GatherRequest(tuple(coroutines))
        return results

    def open(self, role: str, system: str, user: str) -> Dialogue:
        """A role's dialogue, begun by its prompt. One for each key: take ``child`` for more."""
        if role not in self.seats:
            raise InputError(f"the game needs a seat for the role {role!r}: name its policy in the phase's seats")
        if self.key in self.opened:
            raise InputError(
                f"the game opens two dialogues under the key {'/'.join(map(str, self.key))}, which would draw the "
                f"same: open each from a child of its own, context.child({role!r}, 0)"
            )
        check_text(system, f"the system prompt of the role {role!r}")
        check_text(user, f"the prompt of the role {role!r}")
        self.opened.add(self.key)
        return Dialogue(self, role, self.chat.prompt(system, user))

    async def converse(self, role: str, system: str, user: str, hint: str = "") -> Trajectory:
        """A role's whole trajectory: turns and tools in alternation until it answers or meets a limit.

        With a ``hint`` a turn that cannot be read does not end it: the role is told the hint and goes on.
        """
        line = self.open(role, system, user)
        while (turn := await line.say()) is not None:
            if turn.malformed:
                if not hint or not line.hear(hint):
                    return await line.close(StopReason.MALFORMED)
            elif turn.call is None or await line.use(turn.call) is None:
                break
        return await line.close()


class Dialogue:
    """What one role sees and writes, while it grows: opened with a prompt, closed into a ``Trajectory``."""

    def __init__(self, context: Context, role: str, prompt: Ints) -> None:
        self.context, self.role = context, role
        self.policy = context.seats[role]
        self.turns: list[Turn] = []
        self.uses: list[ToolUse] = []
        self.stop: StopReason | None = None
        """Why it cannot go on; None while it can."""
        self.failure: ToolFailure | None = None
        self._ids: list[Ints] = [prompt]
        self._owners: list[np.ndarray[Any, np.dtype[np.int8]]] = [_owned(prompt, Owner.PROMPT)]
        self._logprobs = [np.zeros(len(prompt), np.float32)]
        self._length = len(prompt)
        self._version = 0

    async def say(self) -> Turn | None:
        """The policy's next turn; None where a limit leaves no room for it or cut it: then it is time to close."""
        limits = self.context.limits
        if self.stop is not None:
            return None
        if len(self.turns) == limits.turns:
            self.stop = StopReason.TURNS
            return None
        budget = min(limits.turn_tokens, limits.tokens - self._length)
        if budget < 1:
            self.stop = StopReason.TOTAL_TOKENS
            return None
        key, chat = self.context.key, self.context.chat
        written: Generated = await TurnRequest(
            Generate(
                (*key, "turn", len(self.turns)),
                self.policy,
                np.concatenate(self._ids),
                key,
                max_new=budget,
                temperature=self.context.temperature,
                stop=chat.stop,
            )
        )
        turn = chat.parse(written.ids.tolist())
        self._append(written.ids, Owner.MODEL, written.logprobs)
        self._version = written.version
        self.turns.append(turn)
        if not written.closed:
            self.stop = StopReason.TURN_TOKENS if budget == limits.turn_tokens else StopReason.TOTAL_TOKENS
            return None
        return turn

    def put(self, text: str) -> None:
        """Let the role have written this: a turn of the game's own, to be learnt from by likelihood, not by reward.

        ``text`` is a turn as ``Chat.phrase`` makes it. Its log-probabilities are unknown, and 0.
        """
        ids = np.array(self.context.chat.written(text), dtype=np.int64)
        turn = self.context.chat.parse(ids.tolist())
        if turn.malformed:
            raise InputError(
                f"the game lets the role {self.role!r} write {text!r}, which cannot be read as a turn: make it by "
                "context.chat.phrase, with a tool that there is and arguments that fit it"
            )
        self._append(ids, Owner.MODEL, np.zeros(len(ids), np.float32))
        self.turns.append(turn)

    def told(self, tool: str, text: str) -> bool:
        """Let a tool have answered the role's call with this; False where a limit leaves no room for another turn."""
        if len(self.turns) == self.context.limits.turns:
            self.stop = StopReason.TURNS
            return False
        return self._hear(self.context.chat.tool_turn(text, tool, self._last), Owner.TOOL)

    async def use(self, call: ToolCall) -> ToolResult | None:
        """Call a tool and hear its result; None where the tool failed or a limit leaves no room for another turn.

        Raises ``InputError`` for a call of the game's own that does not fit the tool.
        """
        if call is None:
            raise InputError(
                f"the game has a tool used after a turn of the role {self.role!r} that calls none: look whether "
                "turn.call is None, or give a ToolCall"
            )
        if not self.turns or call is not self.turns[-1].call:
            self.context.chat.check(call)
        if len(self.turns) == self.context.limits.turns:
            self.stop = StopReason.TURNS
            return None
        try:
            result: ToolResult = await ToolRequest(call)
        except ToolError as error:
            self.stop = StopReason.TOOL_FAILED
            self.failure = ToolFailure(call, str(error) or type(error).__name__)
            self.context.failures.append(self.failure)
            return None
        if not self._hear(self.context.chat.tool_turn(result.text, call.name, self._last), Owner.TOOL):
            return None
        self.uses.append(ToolUse(call, result))
        return result

    def hear(self, text: str) -> bool:
        """Tell the role something after its turn: what an opponent, a person or the game says.

        False where a limit leaves no room for another turn.
        """
        check_text(text, f"what the role {self.role!r} hears")
        if len(self.turns) == self.context.limits.turns:
            self.stop = StopReason.TURNS
            return False
        return self._hear(self.context.chat.user_turn(text, self._last), Owner.USER)

    async def close(self, stop: StopReason = StopReason.ANSWERED) -> Trajectory:
        """What came of it, with ``stop`` as the reason where no limit or failure was one before."""
        await CloseRequest(self.context.key)
        return Trajectory(
            self.context.key,
            self.role,
            self.policy,
            np.concatenate(self._ids),
            np.concatenate(self._owners),
            np.concatenate(self._logprobs),
            len(self._ids[0]),
            tuple(self.turns),
            tuple(self.uses),
            stop if self.stop is None else self.stop,
            self._version,
            self.failure,
        )

    @property
    def _last(self) -> int:
        """The id that the role's turn ended with."""
        return int(self._ids[-1][-1])

    def _hear(self, ids: Ints, owner: Owner) -> bool:
        if self._length + len(ids) >= self.context.limits.tokens:
            self.stop = StopReason.TOTAL_TOKENS
            return False
        self._append(ids, owner, np.zeros(len(ids), np.float32))
        return True

    def _append(self, ids: Ints, owner: Owner, logprobs: np.ndarray[Any, np.dtype[np.float32]]) -> None:
        self._ids.append(ids)
        self._owners.append(_owned(ids, owner))
        self._logprobs.append(logprobs)
        self._length += len(ids)


def _owned(ids: Ints, owner: Owner) -> np.ndarray[Any, np.dtype[np.int8]]:
    return np.full(len(ids), owner, dtype=np.int8)
