"""The engine of one process and one device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from piplay.engine.local.engine import LocalEngine

__all__ = ["LocalEngine"]


def __getattr__(name: str) -> Any:
    # The engine's own files import each other through this package: it is loaded when it is asked for, not before.
    if name != "LocalEngine":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from piplay.engine.local.engine import LocalEngine

    return LocalEngine
