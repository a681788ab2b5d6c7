"""The table environment: a two-player text game, and deals of it as tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

from piplay.envs.table.base import Table
from piplay.errors import InputError
from piplay.protocols import Audit, Environment
from piplay.registry import make
from piplay.rollout.tools import Tool
from piplay.types import Episode, Key, Task


@dataclass(frozen=True, slots=True)
class Deal(Task):
    """One game at a table; what is dealt is drawn by the episode itself."""

    kind: ClassVar[str] = "deal"
    table: str = ""
    """See ``TableEnvironment``."""


class TableEnvironment:
    """A table. Nothing is searched and nothing is held out: a table can be solved."""

    tools: Sequence[Tool] = ()
    heldout: Sequence[Task] = ()
    audit: Audit | None = None

    def __init__(self, *, table: str) -> None:
        """``table``: ``module:Class`` below ``piplay.envs.table``, such as ``kuhn:Kuhn``, or of one's own.

        Raises ``InputError`` where there is none.
        """
        self.name, self.table = table, load_table(table)

    def describe(self) -> str:
        """See ``Environment.describe``."""
        return f"the table {self.name} for {' and '.join(self.table.seats)}"


class Deals:
    """A ``TaskSource`` of a table: as many games as are wanted."""

    def __init__(self, environment: Environment) -> None:
        if not isinstance(environment, TableEnvironment):
            raise InputError("the source table:Deals needs a table: take the environment table")
        self._table = environment.name

    def draw(self, key: Key, count: int) -> list[Deal]:
        """See ``TaskSource.draw``."""
        return [Deal("/".join(map(str, (*key, i))), self._table) for i in range(count)]

    def note(self, episodes: Sequence[Episode]) -> None:
        """Nothing to learn."""


@cache
def load_table(name: str) -> Table[Any]:
    """The table of that name. Raises ``InputError`` where there is none."""
    made: Table[Any] = make(name, {}, "table", "piplay.envs.table")
    return made
