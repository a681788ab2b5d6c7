"""The command line: ``piplay train``, ``doctor``, ``resume``, ``ask``, ``play``, ``world`` and others."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from piplay.errors import InputError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Bad input is one sentence on standard error and exit code 2."""
    from piplay.commands import run

    # A recipe may name things of the current folder. It stands last, so that no file there hides a library.
    if "" not in sys.path:
        sys.path.append("")
    try:
        run(list(sys.argv[1:] if arguments is None else arguments))
    except InputError as error:
        print(f"piplay: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("piplay: interrupted; `piplay resume` goes on from the last checkpoint", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
