"""The engine that writes with vLLM, in processes of their own, and learns in this one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from piplay.engine.vllm.engine import VllmEngine

__all__ = ["VllmEngine"]


def __getattr__(name: str) -> Any:
    # A sampler's process imports files of this package, and no engine: it is loaded when it is asked for.
    if name != "VllmEngine":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from piplay.engine.vllm.engine import VllmEngine

    return VllmEngine
