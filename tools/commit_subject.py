"""The hook ``commit-msg``: a commit's first line has at most 72 characters. ``python tools/commit_subject.py FILE``."""

from __future__ import annotations

import sys
from pathlib import Path

LONGEST = 72


def fault(message: str) -> str:
    """What is wrong with the first line of a message, or nothing. git drops blank lines and comments before it."""
    lines = (line.rstrip() for line in message.splitlines())
    subject = next((line for line in lines if line and not line.startswith("#")), "")
    if len(subject) <= LONGEST:
        return ""
    return f"the first line has {len(subject)} characters, {LONGEST} at most: move details to the body"


if __name__ == "__main__":
    sys.exit(fault(Path(sys.argv[1]).read_text(encoding="utf-8")) or None)
