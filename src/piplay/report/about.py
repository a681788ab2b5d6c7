"""How a run was made: the day, the version, the command that plays it again, and all of its settings."""

from __future__ import annotations

import json
import shlex
from typing import Any

from piplay.config import Config, flat
from piplay.errors import InputError
from piplay.recipes import load_config, recipes
from piplay.report.markup import Html, join, tag
from piplay.report.read import Record


def about(record: Record) -> Html:
    """The section's content."""
    made = f"Begun on {record.begun}, with piplay {record.version}." if record.begun else ""
    command = tag("p", "Again: ", tag("code", again(record.config)), ".")
    whole = json.dumps(record.config.model_dump(mode="json"), indent=1, ensure_ascii=False)
    return join(tag("p", made), command, tag("details", tag("summary", "All settings"), tag("pre", whole)))


def again(config: Config) -> str:
    """The command that plays these settings: those of the recipe of that name, and what differs from them."""
    if config.name not in recipes():
        return "piplay train RECIPE.toml, with the settings below"
    try:
        usual = flat(load_config(config.name, {}))
    except InputError:
        usual = {}
    changed = {name: value for name, value in flat(config).items() if usual.get(name, ...) != value}
    words = [word for name, value in changed.items() for word in (f"--{name}", _written(value))]
    return shlex.join(["piplay", "train", config.name, *words])


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
