"""``piplay settings RECIPE``: every setting of a recipe by its dotted name, with its value and what it is."""

from __future__ import annotations

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from pydantic import BaseModel

from piplay.config import Config
from piplay.console import TerminalConsole
from piplay.registry import options_of, resolve
from piplay.settings import Component, LossSettings, Phase

Told = tuple[str, Any, str]
"""A setting's name, its value, and what it is."""
_ROOMS = {
    "environment": ("environment", "piplay.envs"),
    "evaluation": ("evaluation", "piplay.methods", "piplay.envs"),
    "sources": ("source", "piplay.training", "piplay.methods", "piplay.envs"),
    "advantage": ("advantage", "piplay.algo.advantages"),
    "losses": ("loss", "piplay.algo.losses"),
}
"""Where the classes are that a setting names: see ``registry.resolve``."""


def show_settings(config: Config) -> None:
    """Print every setting, each as one can be given: ``--name value``, with what it is below."""
    console = TerminalConsole()
    for name, value, sentence in settings(config):
        console.print(f"--{name} {_written(value)}", style="bold")
        if sentence:
            console.print(textwrap.indent(sentence, "    "), style="dim")


def settings(config: Config) -> Iterator[Told]:
    """Every setting of a run; of classes that a recipe names the options that it gives, and those that it could."""
    yield from _of_model(config, "")


def _of_model(model: BaseModel, prefix: str) -> Iterator[Told]:
    sentences = _sentences(type(model))
    for name, field in type(model).model_fields.items():
        if name == "kind":
            continue
        yield from _of_value(getattr(model, name), f"{prefix}{field.alias or name}", sentences.get(name, ""))
    if isinstance(model, Phase):
        yield from _of_class(resolve(model.game, "game", "piplay.methods"), model.options, f"{prefix}options.")


def _of_value(value: Any, name: str, sentence: str) -> Iterator[Told]:
    if isinstance(value, Component):
        yield name, value.kind, sentence
        yield from _of_component(value, name)
    elif isinstance(value, BaseModel):
        yield from _of_model(value, f"{name}.")
    elif isinstance(value, dict) and any(isinstance(part, BaseModel) for part in value.values()):
        for key, part in value.items():
            yield from _of_value(part, f"{name}.{key}", sentence)
    elif isinstance(value, tuple) and any(isinstance(part, Phase) for part in value):
        for phase in value:
            yield from _of_model(phase, f"{name}.{phase.name}.")
    elif not (name.startswith("phases.") and name.endswith((".options", ".name"))):
        yield name, value, sentence


def _of_component(component: Component, name: str) -> Iterator[Told]:
    what, *rooms = next(_ROOMS[part] for part in reversed(name.split(".")) if part in _ROOMS)
    kind = "sources:WrittenSource" if component.kind == "written" else component.kind
    yield from _of_class(resolve(kind, what, *rooms), component.options, f"{name}.")
    if isinstance(component, LossSettings):
        yield from _of_value(component.weight, f"{name}.weight", _sentences(LossSettings)["weight"])


def _of_class(kind: Any, options: dict[str, Any], prefix: str) -> Iterator[Told]:
    sentences, parameters = _sentences(kind), inspect.signature(kind).parameters
    for name in options_of(kind):
        keyword = parameters[name].kind is inspect.Parameter.KEYWORD_ONLY or hasattr(kind, "__dataclass_fields__")
        if name in options or (keyword and parameters[name].default is not inspect.Parameter.empty):
            yield f"{prefix}{name}", options.get(name, parameters[name].default), sentences.get(name, "")


def _sentences(kind: Any) -> dict[str, str]:
    """What a class says of its attributes and of its constructor's arguments."""
    found: dict[str, str] = {}
    for base in reversed(inspect.getmro(kind)):
        if not base.__module__.startswith(("pydantic", "builtins", "typing", "abc")):
            found |= _attributes(base) | _arguments(inspect.getdoc(getattr(base, "__init__", None)) or "")
    return found


def _attributes(kind: Any) -> dict[str, str]:
    try:
        [tree] = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    except (OSError, SyntaxError, ValueError):
        return {}
    body = getattr(tree, "body", [])
    pairs = pairwise(body)
    return {
        one.target.id: " ".join(after.value.value.split())
        for one, after in pairs
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str)
    }


def _arguments(docstring: str) -> dict[str, str]:
    listed = re.search(r"^Args:\n((?:    .*\n?|\n)+)", docstring, re.MULTILINE)
    named = re.findall(r"^    (\w+): ((?:.*\n?)(?:^     .*\n?)*)", listed[1], re.MULTILINE) if listed else []
    return {name: " ".join(text.split()) for name, text in named}


def _written(value: Any) -> str:
    """A value as the command line takes it."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    if value is None:
        return "(none)"
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return f"'{text}'" if re.search(r"[\s\"\[{]", text) or not text else text
