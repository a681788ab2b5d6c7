"""What the options of ``piplay eval`` have to be, and what is searched by them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from piplay.agent_file import origin_of
from piplay.errors import InputError, check_text

WORLD = "world"
"""The benchmark that is a world's own held-out questions."""
_LEAST = {
    "limit": 1, "limit-per-set": 1, "samples": 0, "top-k": 1, "seed": 0,
    "engine.threads": 1, "limits.turns": 1, "limits.turn-tokens": 1, "limits.tokens": 2,
}  # fmt: skip


def check(given: Mapping[str, Any]) -> None:
    """Raises ``InputError`` for what can be seen to be wrong without reading a file."""
    for option, number in _LEAST.items():
        value = given[option.rpartition(".")[2].replace("-", "_")]
        if value is not None and value < number:
            raise InputError(f"--{option} is {value}: give a number of at least {number}.")
    check_text(given["prompt"], "--prompt")
    if not 0 < given["temperature"] < float("inf"):
        raise InputError(f"--temperature is {given['temperature']}: give a number above 0.")


def place(given: Mapping[str, Any]) -> tuple[Path | None, Path | None]:
    """What is searched, world or corpus: what is given, else what the model's run searched, else the default world."""
    model, bench, world, corpus = (given[name] for name in ("model", "bench", "world", "corpus"))
    if world is not None and corpus is not None:
        raise InputError("--world and --corpus are both given: search one of them.")
    origin = origin_of(model) if world is None and corpus is None else None
    if origin is not None:
        searched = origin.config.environment.options
        world, corpus = (Path(searched[name]) if searched.get(name) else None for name in ("world", "corpus"))
    if bench == WORLD and corpus is not None:
        who = "--corpus" if origin is None else f"{model}, on a corpus,"
        raise InputError(f"{who} needs questions with known answers: give --bench FILE with it.")
    if bench != WORLD and origin is None and world is None and corpus is None:
        raise InputError("--bench FILE needs something to search: give --corpus PATH or --world DIR with it.")
    return world, corpus
