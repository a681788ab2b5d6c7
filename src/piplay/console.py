"""The console of every command: what is printed to people, escaped."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from piplay.terminal import escaped


class TerminalConsole(Console):
    """A console on which every text is escaped, in tables and bars too; styles and the bar's own moves work.

    It reads nothing into what it prints, and leaves the breaking of lines to the terminal.
    """

    def __init__(self, **how: Any) -> None:
        super().__init__(soft_wrap=True, highlight=False, markup=False, emoji=False, **how)

    def on_broken_pipe(self) -> None:
        """Raise what broke: rich would end the process with a code of its own."""
        raise

    def render_str(self, text: str, **how: Any) -> Text:
        """A text as it will stand, so that a table knows its width."""
        return super().render_str(escaped(text), **how)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Segments, of which those are escaped that show text."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=escaped(segment.text))
