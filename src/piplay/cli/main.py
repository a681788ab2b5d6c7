"""The command line: ``piplay train``, ``doctor``, ``resume``, ``ask``, ``play``, ``world`` and others."""

from __future__ import annotations

import errno
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import TextIO

import piplay
from piplay.border.code import TRACEBACK
from piplay.errors import InputError, InputWarning, Unavailable, out_of_memory
from piplay.terminal import discard_output, encodable_output, escaped, escaped_output, flush

STORAGE = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT, errno.EFBIG)
BROKEN_PIPE = 141
"""The exit code of a program whose reader has gone, as a shell has it (128 + SIGPIPE)."""

LONGEST = 2000
"""Characters of a message."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Bad input is one sentence on standard error and exit code 2; behind its whole traceback where
    ``PIPLAY_TRACEBACK`` is set. Something needed that does not answer is a sentence too, and exit code 3.
    """
    words = [_as_utf8(word) for word in sys.argv[1:]] if arguments is None else list(arguments)
    try:
        if words == ["--version"]:  # before the imports that take a second
            print(f"piplay {piplay.__version__}", flush=True)
            return 0
        return _run(words)
    except BrokenPipeError as error:
        discard_output()
        if notes := _notes(error):
            _complain(f"nobody reads the output any more{notes}")
        return BROKEN_PIPE


def _as_utf8(word: str) -> str:
    """An argument as it was typed, where the locale knows ASCII alone; what is no UTF-8 stays what it was."""
    try:
        return os.fsencode(word).decode("utf-8")
    except UnicodeError:
        return word


def _run(words: Sequence[str]) -> int:
    from piplay.cli.commands import parse, perform

    encodable_output()
    warnings.simplefilter("always", InputWarning)
    warnings.showwarning = _warn
    # Of a coroutine that nobody awaited: what is wrong with it is said in a sentence.
    warnings.filterwarnings("ignore", r"coroutine '.*' was never awaited", RuntimeWarning)
    trains = list(words[:1]) in (["train"], ["resume"])
    try:
        command = parse(words)
        with escaped_output():
            perform(command)
        flush()
    except InputError as error:
        if os.environ.get(TRACEBACK):
            traceback.print_exception(error)
        _complain(str(error))
        return 2
    except Unavailable as error:
        _complain(str(error))
        return 3
    except OSError as error:  # wherever storage fails; a file that is merely not there has been said by name
        if error.errno not in STORAGE:
            raise
        remedy = "make room or make it writable" + (", then go on with `piplay resume`" if trains else "")
        _complain(f"{error.filename or 'a file'}: {error.strerror}: {remedy}")
        return 2
    except FloatingPointError as error:
        _complain(f"{error}: start again with a lower learning rate (lr of its policy)")
        return 1
    except KeyboardInterrupt as error:
        _complain(f"interrupted{_notes(error)}")
        return 130
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        less = ": start again with less engine.cache_tokens or engine.micro_batch_tokens, see `piplay doctor`"
        lines = str(error).strip().splitlines() or ["there is not enough memory"]
        _complain(f"{lines[0]}{less if trains else ''}")
        return 1
    return 0


def _complain(sentence: str) -> None:
    print(escaped(f"piplay: {_line(sentence)}"), file=sys.stderr)


def _line(sentence: str) -> str:
    """One line, whatever stands in what it quotes."""
    whole = " ".join(sentence.splitlines())
    return whole if len(whole) <= LONGEST else f"{whole[:LONGEST]} …"


def _notes(error: BaseException) -> str:
    """What was noted of how to go on, as the end of a sentence."""
    return "".join(f"; {note}" for note in getattr(error, "__notes__", ()))


def _warn(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show what was left out of the input as one sentence, other warnings as Python does."""
    known = issubclass(category, InputWarning)
    shown = (
        f"piplay: {_line(str(message))}\n"
        if known
        else warnings.formatwarning(message, category, filename, lineno, line)
    )
    (file or sys.stderr).write(escaped(shown))


if __name__ == "__main__":
    sys.exit(main())
