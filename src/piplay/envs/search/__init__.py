"""Search: corpora and their readers, searchers, the search tool, questions and how answers are matched.

Worlds are made of passages too, so ``envs/world`` builds on these files; the environment builds on both.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from piplay.envs.search.environment import SearchEnvironment

__all__ = ["SearchEnvironment"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("piplay.envs.search.environment"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
