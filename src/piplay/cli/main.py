"""The command line: ``piplay train``, ``doctor``, ``resume``, ``ask``, ``play``, ``world`` and others."""

from __future__ import annotations

import io
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import TextIO

import piplay
from piplay.border.code import TRACEBACK
from piplay.errors import InputError, InputWarning, Unavailable, out_of_memory


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Bad input is one sentence on standard error and exit code 2; behind its whole traceback where
    ``PIPLAY_TRACEBACK`` is set. Something needed that does not answer is a sentence too, and exit code 3.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words == ["--version"]:  # before the imports that take a second
        print(f"piplay {piplay.__version__}")
        return 0
    from piplay.cli.commands import run

    # A recipe may name things of the current folder. It stands last, so that no file there hides a library.
    if "" not in sys.path:
        sys.path.append("")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a terminal cannot show ends no command
            stream.reconfigure(errors="backslashreplace")
    warnings.simplefilter("always", InputWarning)
    warnings.showwarning = _warn
    trains = words[:1] in (["train"], ["resume"])
    try:
        run(words)
    except InputError as error:
        if os.environ.get(TRACEBACK):
            traceback.print_exception(error)
        print(f"piplay: {error}", file=sys.stderr)
        return 2
    except Unavailable as error:
        print(f"piplay: {error}", file=sys.stderr)
        return 3
    except FloatingPointError as error:
        print(f"piplay: {error}: start again with a lower learning rate (lr of its policy)", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        again = "; `piplay resume` goes on from the last checkpoint" if trains else ""
        print(f"piplay: interrupted{again}", file=sys.stderr)
        return 130
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        less = ": start again with less engine.cache_tokens or engine.micro_batch_tokens, see `piplay doctor`"
        print(f"piplay: {str(error).strip().splitlines()[0]}{less if trains else ''}", file=sys.stderr)
        return 1
    return 0


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
    shown = f"piplay: {message}\n" if known else warnings.formatwarning(message, category, filename, lineno, line)
    (file or sys.stderr).write(shown)


if __name__ == "__main__":
    sys.exit(main())
