"""``piplay warm-up`` and ``piplay pretrain``: a model folder from a run of lessons."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from piplay.api import resume, train
from piplay.config import Config
from piplay.engine.local.adapters import base_of
from piplay.engine.local.folders import write_merged
from piplay.errors import InputError, going_on
from piplay.files import put
from piplay.recipes import load_config
from piplay.tiny_base.fresh import Family, fresh
from piplay.training.run_directory import Run
from piplay.training.start import settled, with_absolute_paths

BAR = {("alone", "1"): 0.9, ("true", "1"): 0.9, ("true", "2"): 0.85}
"""What a card has to reach, by column and hop count, before self-play has something to begin with."""
RUN, CARD, FRESH = "run", "card.json", "fresh"


def warm_up(model: str, out: Path, recipe: str, overrides: Mapping[str, Any]) -> None:
    """Play a recipe of lessons in ``out/run`` and make ``out`` a folder of the model that comes of it.

    Adapters are merged into their base. Called again it goes on where it was interrupted. ``out/card.json`` has the
    card before and after.

    Raises:
        InputError: ``out`` holds something else or was begun with other settings; or the model did not learn enough,
            which is said when everything is written.
    """
    config = settled(with_absolute_paths(load_config(recipe, {**overrides, "model": model})))
    folder = out / RUN
    if (out / CARD).exists():
        raise InputError(f"{out} holds a model that was warmed up already: name another folder")
    if not folder.exists() and out.exists() and any(path.name != FRESH for path in out.iterdir()):
        raise InputError(f"{out} is not empty: name a folder that is not there yet")
    with going_on():
        run = _gone_on(folder, config) if folder.exists() else train(config, folder)
    final = run.final(config.agent)
    if base_of(final) is not None:
        write_merged(final, out)  # a run begins with a whole model
    else:
        for path in sorted(final.iterdir()):
            shutil.copyfile(path, out / path.name)
    assert run.summary is not None
    before, *_, after = run.summary["eval"]
    put(out / CARD, f"{json.dumps({'before': before, 'after': after}, indent=1)}\n".encode())
    print(f"the model is in {out}, its card in {out / CARD}")
    short = [f"{name} at {hops} hops {after[name][hops]:.2f} ({bar} wanted)" for name, hops, bar in _below(after)]
    if short:
        raise InputError(
            f"the model in {out} has not learnt enough to begin with: {', '.join(short)}; give it more lessons "
            "(--phases.settle.steps), another rate, or take a larger model"
        )


def pretrain(out: Path, family: Family, template: bool, overrides: Mapping[str, Any]) -> None:
    """A fresh model of the tiny base's size in ``out/fresh``, taught by the recipe ``tiny-base`` into ``out``."""
    start = out / FRESH
    if not start.exists():
        fresh(start, family, template)
    pieces = {f"sources.{source}.pieces_of": str(start.absolute()) for source in ("strange", "roles")}
    chat = {} if template else {"chat": "tags"}
    warm_up(str(start), out, "tiny-base", {**pieces, **chat, **overrides})


def _gone_on(folder: Path, config: Config) -> Run:
    """The run that was begun there, played to its end."""
    run = Run.open(folder)
    if run.config != config:
        raise InputError(f"{folder} was begun with other settings: give the same, or name another folder")
    return run if run.finished else resume(folder)


def _below(card: Mapping[str, Any]) -> list[tuple[str, str, float]]:
    return [(name, hops, bar) for (name, hops), bar in BAR.items() if card[name].get(hops, 1.0) < bar]
