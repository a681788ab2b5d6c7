"""How recipes are read: TOML, changed by dotted overrides, checked before anything starts. They lie beside it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import resources
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from piplay.config import Config
from piplay.errors import InputError, check_text, nearest
from piplay.registry import options_of, path_options, resolve
from piplay.settings import Component


def recipes() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(file.name.removesuffix(".toml") for file in _recipe_folder().iterdir() if file.name.endswith(".toml"))


def load_config(recipe: str | Path | Config, overrides: Mapping[str, object]) -> Config:
    """A recipe by name or path, or settings, with dotted overrides such as ``{"policies.student.lr": "1e-4"}``.

    A phase is named in an override by its name: ``phases.study.steps``. Text is read as TOML where it can be; any other
    value is taken as it is. Raises ``InputError`` for a recipe or a key that does not exist, with the nearest that
    does, for a value of the wrong kind, and for a policy's rate that no phase would use.
    """
    if isinstance(recipe, Config):
        tree, where = recipe.model_dump(mode="json"), recipe.name
    else:
        tree, where = _read_recipe(str(recipe))
    environment = tree.get("environment", {"kind": "search"})
    tree["environment"] = {"kind": environment} if isinstance(environment, str) else environment
    for key, value in overrides.items():
        check_text(key, "a setting's name")
        _set(tree, key, value)
    config = validated(tree, where)
    _check_rates(recipe, overrides, config)
    return config


def _read_recipe(recipe: str) -> tuple[dict[str, Any], str]:
    """The tree of a recipe by name or path, and what to call it in a message."""
    path = Path(recipe)
    if path.suffix == ".toml":
        if not path.is_file():
            raise InputError(f"there is no recipe file {path}")
        text, where = _read(path), str(path)
    elif recipe in recipes():
        text, where = (_recipe_folder() / f"{recipe}.toml").read_text(encoding="utf-8"), recipe
    elif (path / "config.json").is_file():
        raise InputError(f"{recipe} is a run, no recipe: give it as --run-dir {recipe}, or to `piplay resume`")
    else:
        raise InputError(
            f"there is no recipe {recipe!r}{nearest(recipe, recipes())}: give {', '.join(recipes())} or a .toml file"
        )
    try:
        return tomllib.loads(text), where
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"recipe {where} is not valid TOML: {error}") from error


def validated(tree: Mapping[str, Any], where: str) -> Config:
    """The checked tree. Raises ``InputError`` naming the first setting that is wrong."""
    try:
        return Config.model_validate(tree)
    except UnicodeEncodeError as error:
        raise InputError(f"recipe {where}: {error.object[:50]!r} is not UTF-8: write it in UTF-8") from error
    except ValidationError as error:
        problem = error.errors()[0]
        key = _dotted(tree, problem["loc"])
        if problem["type"] == "extra_forbidden":
            known = _known(problem["loc"][:-1])
            message = f"there is no setting {key!r}{nearest(str(problem['loc'][-1]), known)}"
        elif problem["type"] == "missing":
            message = f"the setting {key!r} is missing: give it"
        else:
            said = problem["msg"].removeprefix("Value error, ")
            if problem["type"] != "value_error":
                said += f", not {problem['input']!r}"
            message = f"{key}: {said}" if key else said
        raise InputError(f"recipe {where}: {message}") from error


def _check_rates(recipe: str | Path | Config, overrides: Mapping[str, object], config: Config) -> None:
    """Raises ``InputError`` for a change of a policy's rate where each role that trains it has a rate of its own."""
    for name, policy in config.policies.items():
        key = f"policies.{name}.lr"
        learners = [
            (f"--phases.{phase.name}.learn.{role}.lr", learn.lr)
            for phase in config.phases
            for role, learn in phase.learn.items()
            if phase.seats[role] == name
        ]
        if key not in overrides or not learners or any(rate is None for _, rate in learners):
            continue
        others = {other: value for other, value in overrides.items() if other != key}
        if policy.lr != load_config(recipe, others).policies[name].lr:
            raise InputError(
                f"--{key} would change nothing, since each role that trains it has a rate of its own: "
                f"change {' and '.join(setting for setting, _ in learners)}"
            )


def _dotted(tree: Mapping[str, Any], location: tuple[int | str, ...]) -> str:
    """A place of the tree as an override has it: a phase by its name."""
    parts = [str(part) for part in location]
    if len(location) > 1 and location[0] == "phases" and isinstance(location[1], int):
        phase = tree["phases"][location[1]]
        parts[1] = str(phase.get("name", location[1])) if isinstance(phase, Mapping) else parts[1]
    return ".".join(parts)


def _is_path(tree: dict[str, Any], node: dict[str, Any], name: str) -> bool:
    """Whether a setting of the run or of its environment is a path, of which no TOML is read."""
    if node is tree:
        return name == "model"
    if node is not tree["environment"]:
        return False
    return name in path_options(resolve(node["kind"], "environment", "piplay.envs"))


def _of_environment(tree: dict[str, Any], name: str) -> dict[str, Any]:
    """The environment's part of the tree, for a setting that stands without it: ``--corpus`` for search's corpus.

    Raises ``InputError`` where neither the run nor its environment has such a setting.
    """
    environment: dict[str, Any] = tree["environment"]
    known = options_of(resolve(environment["kind"], "environment", "piplay.envs"))
    if name not in known:
        close = nearest(name, [*Config.model_fields, *known])
        raise InputError(f"there is no setting {name!r} of a run or its environment {environment['kind']}{close}")
    return environment


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8") from error


def _recipe_folder() -> Any:
    return resources.files("piplay") / "recipes"


def _known(location: Sequence[int | str]) -> list[str]:
    """The settings that exist at a place of the tree."""
    model = _model_at(location)
    return list(model.model_fields) if model is not None else []


def _is_component(location: Sequence[int | str]) -> bool:
    """Whether a class is named at a place of the tree, so that a text there is its ``kind``."""
    model = _model_at(location)
    return model is not None and issubclass(model, Component)


def _model_at(location: Sequence[int | str]) -> type[BaseModel] | None:
    """The settings' class at a place of the tree; None where there is a value, or nothing."""
    model: Any = Config
    for part in location:
        model = _one_of(model)
        if isinstance(model, type) and issubclass(model, BaseModel):
            model = model.model_fields[str(part)].annotation if str(part) in model.model_fields else None
        elif get_origin(model) in (tuple, dict):
            model = [argument for argument in get_args(model) if argument is not Ellipsis][-1]
    model = _one_of(model)
    return model if isinstance(model, type) and issubclass(model, BaseModel) else None


def _one_of(model: Any) -> Any:
    """Of ``X | None`` X."""
    if get_origin(model) in (Union, UnionType):
        return next((kind for kind in get_args(model) if kind is not type(None)), None)
    return model


def _set(tree: dict[str, Any], key: str, value: object) -> None:
    """Put one override into the tree; text is read as TOML where it can be, a path never."""
    node: Any = tree
    place: list[str] = []
    *parents, last = key.split(".")
    for written in parents:
        if isinstance(node, list):
            names = [phase.get("name", "") for phase in node]
            part = written if written in names else written.replace("-", "_")
            if part not in names:
                raise InputError(f"there is no phase {part!r} in {key!r}{nearest(part, names)}")
            node = node[names.index(part)]
            place.append(part)
        else:
            part = written if written in node else written.replace("-", "_")
            policies = tree.get("policies", {})
            if node is policies and part not in policies:
                raise InputError(f"there is no policy {part!r} in {key!r}{nearest(part, policies)}")
            place.append(part)
            if isinstance(node.get(part), str) and _is_component(place):
                node[part] = {"kind": node[part]}
            node = node.setdefault(part, {})
        if not isinstance(node, dict | list):
            raise InputError(f"there is no setting {key!r}: {part!r} is a value")
    if isinstance(node, list):
        raise InputError(f"{key!r} names a phase, not a setting of it")
    last = last if last in node else last.replace("-", "_")
    if node is tree and last not in Config.model_fields:
        node = _of_environment(tree, last)
    if isinstance(value, str | Path):
        check_text(str(value), key)
    if isinstance(value, Path):
        value = str(value)
    elif isinstance(value, str) and not _is_path(tree, node, last):
        # What is no TOML is text that stands without quotes.
        with suppress(tomllib.TOMLDecodeError, RecursionError):
            value = tomllib.loads(f"value = {value}")["value"]
    node[last] = value
