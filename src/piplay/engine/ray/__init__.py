"""The engine whose samplers stand on the machines of a Ray cluster, and whose trainer is this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from piplay.engine.ray.engine import RayEngine

__all__ = ["RayEngine"]


def __getattr__(name: str) -> Any:
    # Ray is loaded when the engine is made, not where its settings are checked.
    if name != "RayEngine":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from piplay.engine.ray.engine import RayEngine

    return RayEngine
