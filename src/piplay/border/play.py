"""What is given while episodes are played: tasks, episodes with rewards and facts, metrics, states, tools' results."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from dataclasses import is_dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from piplay.border.code import kind_of, name_of, own
from piplay.errors import InputError, nearest
from piplay.types import Episode, Key, ScoredTrajectory, StopReason, Task, ToolCall, ToolResult, Trajectory

COLUMNS = (
    "key",
    "role",
    "policy",
    "version",
    "task",
    "reward",
    "stop",
    "failure",
    "answer",
    "calls",
    "turns",
    "prompt_len",
    "ids",
    "owner",
    "logprobs",
)
"""What the rollouts on disk hold of every trajectory."""


def number(value: Any, what: str) -> float:
    """A finite number as Python has it, numpy's among them. Raises ``InputError`` for anything else."""
    if type(value) not in (int, float):
        if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
            value = value.item()
        if isinstance(value, bool):
            value = float(value)
        if not isinstance(value, int | float):
            raise InputError(f"{what} is {kind_of(value)}: give a number")
        if not isinstance(value, int):
            value = float(value)
    if not math.isfinite(value):
        raise InputError(f"{what} is {value}: give a finite number")
    plain: float = value
    return plain


def tasks_of(source: Any, key: Key, count: int) -> list[Any]:
    """What a source draws for a step: ``count`` tasks."""
    name = f"{name_of(source)}.draw"
    with own(name):
        drawn = source.draw(key, count)
    if not isinstance(drawn, list | tuple):
        raise InputError(f"{name} gave {kind_of(drawn)}: give a list of tasks")
    for task in drawn:
        _check_task(task, name)
    if len(drawn) != count:
        raise InputError(f"{name} gave {len(drawn)} tasks, and {count} were asked for: give so many")
    return list(drawn)


async def told(play: Callable[..., Any], task: Any, context: Any, check: Callable[[Episode], None]) -> Episode:
    """An episode as a game's ``play`` tells it; ``check`` is shown it at once."""
    name = name_of(play)
    try:
        with own(name):
            coroutine = play(task, context)
            if not isinstance(coroutine, Coroutine):
                given = kind_of(coroutine)
                raise InputError(f"{name} gave {given} when it was called: write `async def`, without yield")
            episode = await coroutine
    except InputError as error:
        if not context.failures:
            raise
        failed = context.failures[-1]
        raise InputError(
            f"{error}; before that the tool {failed.call.name} had failed ({failed.reason}): `use` gives None then, "
            "and the game has to close the dialogue"
        ) from error
    episode = episode_of(episode, name)
    check(episode)
    return episode


class Numbers(dict[str, float]):
    """Finite numbers by name, and the name of what gave them."""

    def __init__(self, given: Mapping[str, float], by: str) -> None:
        super().__init__(given)
        self.by = by


def numbers(row: Any, name: str) -> Numbers:
    """What ``name`` gave, as finite numbers."""
    if not isinstance(row, Mapping):
        raise InputError(f"{name} gave {kind_of(row)}: give a dict of numbers, {{}} for none")
    for key in row:
        if not isinstance(key, str):
            raise InputError(f"{name} names a metric {key!r}: name it with a text")
    return Numbers({key: number(value, f"{name}: {key!r}") for key, value in row.items()}, name)


def check_named(wanted: str, what: str, row: Collection[str], sometimes: Iterable[str]) -> None:
    """Raises ``InputError`` where a metric that is waited for is neither in a step's row nor said to come later."""
    if wanted not in row and not any(fnmatchcase(wanted, pattern) for pattern in sometimes):
        raise InputError(
            f"{what} names the metric {wanted!r}{nearest(wanted, row)}, and the first step has none of that name: "
            "correct it, or list it in the game's `sometimes` where not every step has it"
        )


def check_room(episodes: Sequence[Episode], tokens: int) -> None:
    """Raises ``InputError`` where no prompt of a role leaves room for a word within ``limits.tokens``."""
    shortest: dict[str, int] = {}
    wrote: set[str] = set()
    for episode in episodes:
        for scored in episode.trajectories:
            trajectory = scored.trajectory
            shortest[trajectory.role] = min(trajectory.prompt_len, shortest.get(trajectory.role, trajectory.prompt_len))
            if trajectory.turns or trajectory.stop is not StopReason.TOTAL_TOKENS:
                wrote.add(trajectory.role)
    for role, length in shortest.items():
        if role not in wrote:
            raise InputError(
                f"limits.tokens is {tokens}, and the shortest prompt of the role {role!r} has {length} tokens: nothing "
                "can be written behind it; raise limits.tokens"
            )


def check_views(role: str, readers: Mapping[str, Iterable[str]], given: Iterable[Collection[str]], game: str) -> None:
    """Raises ``InputError`` where a loss reads a view that a game does not give.

    Args:
        readers: by loss the views that it reads.
        given: by trajectory of the role the views that it has.
    """
    for there in given:
        for term, views in readers.items():
            for view in views:
                if view not in there:
                    raise InputError(
                        f"{role}: the loss {term} reads the view {view!r}{nearest(view, there)}, and {game} gives "
                        f"{', '.join(sorted(there)) or 'none'}"
                    )


class Columns:
    """The columns of the rollouts that tasks and games fill, each of them with values of one kind."""

    def __init__(self, kinds: Mapping[str, str] | None = None) -> None:
        """``kinds``: by column what earlier steps put there, ``text``, ``number`` or another."""
        self._kinds = dict(kinds or {})

    def check(self, episodes: Sequence[Episode]) -> None:
        """Raises ``InputError`` where a column is filled twice, or with values of two kinds."""
        for episode in episodes:
            task = next(iter(episode.written), episode.task)
            name = f"{name_of(task)}.row"
            with own(name):
                row = task.row()
            if not isinstance(row, Mapping):
                raise InputError(f"{name} gave {kind_of(row)}: give a dict, {{}} for no columns")
            taken = set(COLUMNS)
            for what, values in ((f"{name}: the column", row), ("the fact", episode.facts)):
                for column, value in values.items():
                    if column in taken:
                        raise InputError(
                            f"{what} {column!r} of episode {_path(episode.key)} has the name of a column that the "
                            "rollouts have already: name it otherwise"
                        )
                    self._note(f"{what} {column!r} of episode {_path(episode.key)}", column, value)
                taken |= row.keys()

    def _note(self, what: str, column: str, value: Any) -> None:
        if value is None:
            return
        plain = "number" if isinstance(value, int | float | np.number) else type(value).__name__
        kind = "text" if isinstance(value, str) else plain
        before = self._kinds.setdefault(column, kind)
        if before != kind:
            raise InputError(f"{what} is a {kind}, and was a {before} before: a column holds values of one kind")


def check_kept(value: Any, what: str, root: str = "state") -> None:
    """Raises ``InputError`` where something holds what JSON would lose: then a resumed run would go on otherwise."""
    found = _no_json(value, root)
    if found:
        place, problem = found
        raise InputError(f"{what} cannot be kept in a checkpoint: {place} is {problem}")


def answers_of(tool: Any, calls: Sequence[ToolCall]) -> list[ToolResult]:
    """A tool's results, one a call; its ``ToolError`` passes."""
    name = f"{name_of(tool)}.answer"
    with own(name):
        results = tool.answer(calls)
    if not isinstance(results, list | tuple):
        raise InputError(f"{name} gave {kind_of(results)}: give a list of ToolResult, one a call, in their order")
    for result in results:
        if not isinstance(result, ToolResult):
            raise InputError(f"{name} gave {kind_of(result)} for a call: give a ToolResult(text)")
        if not isinstance(result.text, str):
            raise InputError(f"{name}: a result's text is {kind_of(result.text)}: give what the model is to read")
    if len(results) != len(calls):
        raise InputError(f"{name} gave {len(results)} results for {len(calls)} calls: give one each, in their order")
    return list(results)


def check_text(text: Any, what: str) -> None:
    """Raises ``InputError`` where a model would be told what is no text."""
    if not isinstance(text, str):
        raise InputError(f"{what} is {kind_of(text)}: give a text")


def episode_of(episode: Any, name: str) -> Episode:
    """What ``name`` gave, as an episode with plain numbers."""
    if not isinstance(episode, Episode):
        raise InputError(f"{name} gave {kind_of(episode)}: give an Episode(context.key, task, trajectories)")
    _check_task(episode.task, name)
    for task in _sequence(episode.written, f"{name}: `written`", "tasks"):
        _check_task(task, f"{name}: `written`")
        _check_kind(type(task))
    played = _sequence(episode.trajectories, f"{name}: `trajectories`", "ScoredTrajectory")
    scored = tuple(_scored(one, name) for one in played)
    if not isinstance(episode.facts, Mapping):
        raise InputError(f"{name}: `facts` is {kind_of(episode.facts)}: give a dict of numbers and texts")
    facts = {key: _fact(key, value, name) for key, value in episode.facts.items()}
    same = all(new is old for new, old in zip(scored, played, strict=True))
    if same and all(facts[key] is value for key, value in episode.facts.items()):
        return episode
    return replace(episode, trajectories=scored, facts=facts)


def _scored(one: Any, name: str) -> ScoredTrajectory:
    if not isinstance(one, ScoredTrajectory):
        raise InputError(f"{name} gave {kind_of(one)} among the trajectories: give a ScoredTrajectory")
    if isinstance(one.trajectory, Coroutine):
        one.trajectory.close()
        raise InputError(f"{name}: a trajectory was not awaited: write `await line.close()`")
    if not isinstance(one.trajectory, Trajectory):
        raise InputError(f"{name}: a ScoredTrajectory holds {kind_of(one.trajectory)}: give what `line.close()` gave")
    role = one.trajectory.role
    for field in ("group", "baseline"):
        key = getattr(one, field)
        if not isinstance(key, tuple) or not all(isinstance(part, str | int) for part in key):
            raise InputError(f"{name}: the {field} of {role} is {key!r}: give a tuple of texts and numbers, ('all',)")
    if not isinstance(one.views, Mapping):
        raise InputError(f"{name}: the views of {role} are {kind_of(one.views)}: give a dict of prompts by name")
    reward, weight = number(one.reward, f"{name}: the reward of {role}"), number(one.weight, f"{name}: a weight")
    if one.turn_rewards is not None:
        with own(f"{name}: the turn_rewards of {role}"):
            finite = np.isfinite(np.asarray(one.turn_rewards, dtype=np.float64)).all()
        if not finite:
            raise InputError(f"{name}: a reward of a turn of {role} is not finite: give finite numbers")
    return one if reward is one.reward and weight is one.weight else replace(one, reward=reward, weight=weight)


def _fact(key: Any, value: Any, name: str) -> float | str:
    if not isinstance(key, str):
        raise InputError(f"{name} names a fact {key!r}: name it with a text")
    return value if isinstance(value, str) else number(value, f"{name}: the fact {key!r}")


def _check_task(task: Any, name: str) -> None:
    if not isinstance(task, Task):
        raise InputError(f"{name} gave {kind_of(task)} as a task: give an object of a class below piplay.types.Task")
    if not isinstance(task.id, str):
        raise InputError(f"{name} gave a task whose id is {kind_of(task.id)}: give a text")


def _check_kind(kind: type[Task]) -> None:
    if kind is not Task and (not is_dataclass(kind) or kind.kind == Task.kind):
        raise InputError(
            f"{name_of(kind)} is written for later phases, and needs a `kind` of its own by which files name it: write "
            f"`kind = {kind.__name__.lower()!r}` in a frozen dataclass"
        )


def _sequence(values: Any, what: str, of: str) -> Sequence[Any]:
    if not isinstance(values, list | tuple):
        raise InputError(f"{what} is {kind_of(values)}: give a tuple of {of}, (one,) for one")
    return values


def _no_json(value: Any, place: str) -> tuple[str, str] | None:
    """Where a tree holds what is no JSON, and what that is."""
    if value is None or isinstance(value, bool | int | float | str):
        return None
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                return place, f"a dict with the key {key!r}: take texts as keys"
            if found := _no_json(inner, f"{place}[{key!r}]"):
                return found
        return None
    if isinstance(value, list | tuple):
        for i, inner in enumerate(value):
            if found := _no_json(inner, f"{place}[{i}]"):
                return found
        return None
    plain = ".item()" if getattr(value, "ndim", None) == 0 else ".tolist()" if hasattr(value, "tolist") else ""
    return place, f"{kind_of(value)}: {f'take its {plain}' if plain else 'take plain dicts, lists, texts and numbers'}"


def _path(key: Key) -> str:
    return "/".join(map(str, key))
