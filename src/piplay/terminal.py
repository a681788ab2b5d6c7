"""Text for a terminal. What passages, models and files say may hold ESC sequences, which act on the terminal that shows
them, and bidi controls, which show another order than there is: such characters are written as ``\\u001b``.

Inside a JSON string that is the character itself, so JSON stays what it was.
"""

from __future__ import annotations

import codecs
import io
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any, TextIO, cast

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

_ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""C0 but for tab and line feed, DEL, C1, Unicode's Bidi_Control, separators of lines, lone surrogates."""


def escaped(text: str) -> str:
    """A text without characters that act on a terminal or are no text."""
    return _ACTING.sub(lambda found: _as_json(found[0]), text)


def _as_json(text: str) -> str:
    return json.dumps(text)[1:-1]


def _unencodable(error: UnicodeError) -> tuple[str, int]:
    """What stands for characters that an encoding does not have."""
    assert isinstance(error, UnicodeEncodeError)
    return _as_json(error.object[error.start : error.end]), error.end


codecs.register_error("piplay.escaped", _unencodable)


class TerminalConsole(Console):
    """A console on which every text is escaped, in tables and bars too; styles and the bar's own moves work.

    It reads nothing into what it prints, and leaves the breaking of lines to the terminal.
    """

    def __init__(self, **how: Any) -> None:
        super().__init__(soft_wrap=True, highlight=False, markup=False, emoji=False, **how)

    def render_str(self, text: str, **how: Any) -> Text:
        """A text as it will stand, so that a table knows its width."""
        return super().render_str(escaped(text), **how)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Segments, of which those are escaped that show text."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=escaped(segment.text))


class _Escaped:
    """A stream that is written to with every text escaped."""

    def __init__(self, stream: TextIO) -> None:
        self.rich_proxied_file = stream  # the name under which rich looks for the stream behind: its styles pass

    def write(self, text: str) -> int:
        return self.rich_proxied_file.write(escaped(text))

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)


@contextmanager
def escaped_output() -> Iterator[None]:
    """Within it nothing reaches standard output or standard error unescaped, whoever prints it."""
    with redirect_stdout(_wrapped(sys.stdout)), redirect_stderr(_wrapped(sys.stderr)):
        yield


def _wrapped(stream: TextIO) -> TextIO:
    # Python has None for a stream that is closed, and prints nothing then.
    return cast(TextIO, _Escaped(stream)) if stream is not None else stream


def encodable_output() -> None:
    """Let what a terminal's encoding does not have end no command: it is escaped too."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="piplay.escaped")


def flush() -> None:
    """Write out what is printed. Raises ``BrokenPipeError`` where nobody reads it."""
    if sys.stdout is not None:
        sys.stdout.flush()


def discard_output() -> None:
    """Print to nowhere from now on: what is left unwritten at the end of Python would be an error of its own."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
