"""What needs a tool that fails: it is done again once the tool answers, and given up where that takes too long."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from piplay.errors import Unavailable
from piplay.rollout.answers import answers_again
from piplay.rollout.tools import Tool, ToolsFailed

Played = TypeVar("Played")
MOST_PAUSE = 30.0
"""Seconds between two tries whether a tool answers again."""


class Patience:
    """Waits for tools as long as each says in ``patience`` (s); a tool without it is not waited for."""

    def __init__(self, tools: Mapping[str, Tool], run: Path, tell: Callable[[str], None]) -> None:
        """``run``: the folder of the run that waits; ``tell`` is told of waiting and of its end."""
        self._tools, self._run, self._tell = tools, run, tell

    def __call__(self, play: Callable[[], Played], save: Callable[[], None] = lambda: None) -> Played:
        """What ``play`` gives once the tools that it needs answer.

        Where they do not, ``save`` is called before they are waited for; raises ``Unavailable`` where that is in vain.
        """
        began: float | None = None
        while True:
            try:
                return play()
            except ToolsFailed as failed:
                if began is None:
                    began = time.monotonic()
                    save()
                self._await(failed, began)

    def _await(self, failed: ToolsFailed, began: float) -> None:
        """Return once the tool answers again. Raises ``Unavailable`` where its patience is over."""
        tool = self._tools[failed.call.name]
        patience = getattr(tool, "patience", 0.0)
        if patience:
            self._tell(f"{failed}: nothing is learnt from that; waiting for it, at most {patience:g} s")
        pause = 1.0
        while (left := began + patience - time.monotonic()) > 0:
            time.sleep(min(pause, left))
            if answers_again(tool, failed.call):
                self._tell(f"the tool {failed.call.name} answers again: playing that once more")
                return
            pause = min(2 * pause, MOST_PAUSE)
        raise Unavailable(
            f"{failed}: nothing is learnt from that and what came before is saved; mend the tool, then go on with "
            f"`piplay resume {self._run}`"
        ) from failed
