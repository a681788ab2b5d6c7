"""Whether what a recipe names has what is asked of its kind; looked at when it is made, before anything is written."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

from piplay.algo.losses.base import Mean, Scoring
from piplay.border.code import kind_of, listed, name_of, own
from piplay.errors import InputError, nearest
from piplay.types import ToolSpec

SOURCE = ("draw", "note")
ENGINE = (
    "submit",
    "ready",
    "close",
    "usage",
    "train",
    "score",
    "read",
    "snapshot",
    "forget",
    "save",
    "load",
    "export",
)


def check_methods(thing: Any, what: str, *names: str) -> None:
    """Raises ``InputError`` where one of these methods is not there."""
    lacking = [name for name in names if not callable(getattr(thing, name, None))]
    if lacking:
        raise InputError(f"{name_of(thing)} has no method {lacking[0]!r}: {what} needs {listed(names)}")


def check_fields(thing: Any, what: str, *names: str) -> None:
    """The same for attributes, which are not read: a property may take long."""
    there = object()
    lacking = [name for name in names if inspect.getattr_static(thing, name, there) is there]
    if lacking:
        raise InputError(f"{name_of(thing)} has no {lacking[0]!r}: {what} needs {listed(names)}")


def check_game(game: Any, base: type[Any], seats: Mapping[str, str], learning: Iterable[str]) -> None:
    """A game, against those who are seated and learn in its phase.

    Args:
        base: ``Game``, whose own ``play`` is none.
    """
    name = name_of(game)
    if not isinstance(game, base):
        raise InputError(f"{name} is no game: derive its class from piplay.protocols.Game")
    play = type(game).play
    if play is base.play:
        raise InputError(f"{name} has no `play`: write `async def play(self, task, context)`, one episode")
    if not (inspect.iscoroutinefunction(play) or hasattr(play, "__wrapped__")):
        raise InputError(f"{name}.play is not async: write `async def play(self, task, context)`, without yield")
    roles = getattr(game, "roles", None)
    if not isinstance(roles, tuple | list) or not all(isinstance(role, str) for role in roles):
        raise InputError(f"{name} needs `roles`, a tuple of the names of those who write in it")
    for role in roles:
        if role not in seats:
            empty = unplayed_seats(game, seats)
            raise InputError(f"{name} needs a policy for the role {role!r}: give it a seat{empty and f' ({empty})'}")
    for role in learning:
        if role not in roles:
            raise InputError(
                f"{role!r} is to learn, and writes nothing in {name}{nearest(role, roles)}: its roles are "
                f"{listed(roles)}"
            )
    _check_headline(game, name)


def unplayed_seats(game: Any, seats: Iterable[str]) -> str:
    """A sentence about seats of roles that write nothing in a game; empty where there are none."""
    extra = [role for role in seats if role not in game.roles]
    if not extra:
        return ""
    roles = ", ".join(f"{role!r}{nearest(role, game.roles)}" for role in extra)
    return f"the seat of {roles} stays empty: in {name_of(game)} {listed(game.roles)} write"


def check_source(source: Any) -> None:
    """A task source."""
    check_methods(source, "a task source", *SOURCE)


def check_environment(environment: Any) -> None:
    """An environment, and its tools."""
    name = name_of(environment)
    check_fields(environment, "an environment", "tools", "heldout", "audit", "describe")
    check_methods(environment, "an environment", "describe")
    with own(f"{name}.tools"):
        tools = environment.tools
    if not isinstance(tools, Sequence) or isinstance(tools, str):
        raise InputError(f"{name}.tools is {kind_of(tools)}: give a tuple of tools, empty where there are none")
    for tool in tools:
        if isinstance(tool, type):
            raise InputError(f"{name}.tools holds the class {name_of(tool)}: make an object of it")
        check_methods(tool, "a tool", "answer")
        check_fields(tool, "a tool", "spec", "answer")
        with own(f"{name_of(tool)}.spec"):
            spec = tool.spec
        if not isinstance(spec, ToolSpec):
            raise InputError(f"{name_of(tool)}.spec is {kind_of(spec)}: give a ToolSpec(name, description, parameters)")


def check_advantage(advantage: Any) -> None:
    """An advantage."""
    check_methods(advantage, "an advantage", "__call__")


def check_loss(loss: Any, taken: Iterable[str]) -> None:
    """A loss. ``taken``: what is logged of every role that learns, whose place no metric of a loss may take."""
    name = name_of(loss)
    check_methods(loss, "a loss", "weights", "__call__")
    check_fields(loss, "a loss", "metrics", "scorings", "weights", "__call__")
    with own(f"{name}.metrics"):
        metrics = loss.metrics
    means = get_args(Mean)
    if not isinstance(metrics, Mapping) or not all(mean in means for mean in metrics.values()):
        raise InputError(f"{name}.metrics is {metrics!r}: give the name of each metric with one of {listed(means)}")
    for metric in metrics:
        if metric in taken:
            raise InputError(f"{name}.metrics: {metric!r} is logged of every role already: name it otherwise")
    with own(f"{name}.scorings"):
        scorings = loss.scorings
    if not isinstance(scorings, tuple | list) or not all(isinstance(one, Scoring) for one in scorings):
        raise InputError(f"{name}.scorings is {kind_of(scorings)}: make it a property that gives a tuple of Scoring")


def check_evaluation(evaluation: Any, base: type[Any], policies: Iterable[str]) -> None:
    """An evaluation, which keeps some of the run's policies. ``base``: ``Evaluation``."""
    if not isinstance(evaluation, base):
        raise InputError(f"{name_of(evaluation)} is no evaluation: derive its class from piplay.protocols.Evaluation")
    for policy in evaluation.exports:
        if policy not in policies:
            raise InputError(f"{name_of(evaluation)}.exports: there is no policy {policy!r}{nearest(policy, policies)}")


def check_engine(engine: Any) -> None:
    """A started engine."""
    check_methods(engine, "an engine", *ENGINE)
    check_fields(engine, "an engine", "deterministic")


def _check_headline(game: Any, name: str) -> None:
    if not isinstance(game.headline, Mapping):
        raise InputError(f"{name}.headline is {kind_of(game.headline)}: give metric and label, {{'accuracy': 'right'}}")
    if isinstance(game.sometimes, str):
        raise InputError(f"{name}.sometimes is a text: give a tuple of names of metrics")
