"""A lesson: a conversation as a role should have written it, in no chat's tokens yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from piplay.types import Json, Task, ToolCall


@dataclass(frozen=True, slots=True)
class Said:
    """A turn of the role: what it has to learn."""

    think: str = ""
    content: str = ""
    call: ToolCall | None = None
    """Where there is one, the search tool answers next."""


@dataclass(frozen=True, slots=True)
class Lesson(Task):
    """What a role reads and writes, from its prompt to its answer."""

    kind: ClassVar[str] = "lesson"
    teaches: str = ""
    """The name of its kind in mixtures, such as ``true3``."""
    role: str = ""
    """Whose system prompt it has, where a run has one of its own for the role."""
    system: str = ""
    """The role's system prompt otherwise."""
    view: str = ""
    """The user's message."""
    said: tuple[Said, ...] = ()
    found: tuple[str, ...] = ()
    """What the search tool answers, one text a call."""

    def row(self) -> dict[str, Json]:
        """See ``Task.row``."""
        return {"teaches": self.teaches}
