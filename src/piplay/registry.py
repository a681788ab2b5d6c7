"""Classes and functions by name, the package's or one's own, and objects made of them with options from a recipe.

A reference is ``module:Name``, looked for in the rooms of the package that hold its kind, then on the Python path, the
current folder last. A short name, ``leave_one_out`` for an advantage, is the class ``LeaveOneOutAdvantage`` in the
room's module of that name.

Importing a module runs it, so settings that may be anybody's, those of a run, are read within ``package_alone``.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from piplay.border.code import name_of, own, place_of, text_of
from piplay.errors import InputError, nearest

PACKAGE = "piplay."
IN_FULL = ("piplay.warm_up",)
"""Rooms of the package that a recipe names in full, whatever it names there."""
_ALONE = ContextVar("alone", default=False)
_OUTSIDE: dict[str, Path | None] = {}


@contextmanager
def package_alone(alone: bool = True) -> Iterator[None]:
    """Within it, references name what the package itself has for their kind, and no other module is imported."""
    before = _ALONE.set(alone)
    try:
        yield
    finally:
        _ALONE.reset(before)


def resolve(reference: str, what: str, *rooms: str) -> Any:
    """The class or function that a reference names.

    Args:
        reference: ``module:Name``, or a short name.
        what: what it is, for messages and for the ending of a short name's class: "advantage", "loss", …
        rooms: the packages that are searched before the Python path.

    Raises:
        InputError: there is none, with the names that there are or the nearest; its module cannot be imported; or it
            is not the package's, within ``package_alone``.
    """
    if re.fullmatch(r"[a-z]\w*", reference):
        return _by_short_name(reference, what, rooms)
    module, _, name = reference.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), name)):
        raise InputError(f"{reference!r} names no {what}: give module:Name{_or_one_of(what, rooms)}")
    lacking = ""
    for place in (*(f"{room}.{module}" for room in rooms), module):
        if place == module:
            if lacking and _ALONE.get():  # the package's own module, and a name that it lacks
                break
            check_import(module, reference, what, *rooms)
        found = _module(place, what, reference)
        if found is None:
            continue
        if callable(thing := getattr(found, name, None)):
            if not _of_package(thing):
                refuse_alone(reference, what)
                file = getattr(found, "__file__", None)
                _OUTSIDE[reference] = Path(file) if file else None
            return thing
        own = getattr(found, "__all__", None) or [
            key
            for key, value in vars(found).items()
            if callable(value) and getattr(value, "__module__", None) == found.__name__
        ]
        there = f"; it has {', '.join(own)}" if own else ""
        lacking = f"{place} has no such name{nearest(name, own)}{there}"
    known = [entry.name for entry in pkgutil.iter_modules([*_paths(rooms), str(Path.cwd())])]
    where = " or ".join((*rooms, "the current folder"))
    lacking = lacking or f"no module {module!r}{nearest(module, known)} in {where}"
    raise InputError(f"there is no {what} {reference!r}: {lacking}")


def check_import(module: str, reference: str, what: str, *rooms: str) -> None:
    """Let a module that a reference names be imported, of the current folder too.

    Raises ``InputError`` within ``package_alone``, where the module is in none of the rooms.
    """
    if any(f"{module}.".startswith(f"{room}.") for room in (*rooms, *IN_FULL)):
        return
    refuse_alone(reference, what)
    if "" not in sys.path:  # last, so that no file of the current folder hides a library
        sys.path.append("")


def refuse_alone(reference: str, what: str) -> None:
    """Raises ``InputError`` within ``package_alone``: what is named there may not bring code along."""
    if _ALONE.get():
        raise InputError(
            f"the {what} {reference!r} is not the package's, and what a run's settings name may be anybody's code: "
            "where you trust it, give --trust (in Python trust=True)"
        )


def outside() -> Mapping[str, Path | None]:
    """What this process has been given that is not the package's: the file that holds it, if one does, by reference."""
    return _OUTSIDE


def _of_package(thing: Any) -> bool:
    """Whether it was written in the package: a module of the package has names of others too, such as ``Path``."""
    return str(getattr(thing, "__module__", "")).startswith(PACKAGE)


def names(what: str, *rooms: str) -> list[str]:
    """The short names that there are."""
    found = []
    for room in rooms:
        for entry in pkgutil.iter_modules(_paths([room])):
            module = importlib.import_module(f"{room}.{entry.name}")
            found += [entry.name] if hasattr(module, _class_name(entry.name, what)) else []
    return sorted(found)


def make(reference: str, options: Mapping[str, Any], what: str, *rooms: str, **given: Any) -> Any:
    """An object of the class that a reference names.

    Args:
        options: what a recipe gives its constructor, as JSON has it; checked against the constructor's types.
        given: what the package gives it besides, as far as it takes it.

    Raises:
        InputError: there is no such class, it takes no such option, an option is of another type or missing, or the
            class itself refuses it.
    """
    kind = resolve(reference, what, *rooms)
    if not isinstance(kind, type):  # a function of the package does more than to make an object
        refuse_alone(reference, what)
    known = _parameters(kind)
    takes_all = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in known.values())
    given = {name: value for name, value in given.items() if name in known or takes_all}
    hints = _hints(kind)
    checked = {}
    for name, value in options.items():
        if not takes_all and (name not in known or name in given or name.startswith("_")):
            mine = [option for option in known if option not in given and not option.startswith("_")]
            there = f"it has {', '.join(mine)}" if mine else "it has none"
            raise InputError(f"the {what} {reference} has no option {name!r}{nearest(name, mine)}: {there}")
        try:
            hint = hints.get(name, Any)
            checked[name] = TypeAdapter(hint).validate_json(json.dumps(listed(value, hint)), strict=True)
        except ValidationError as error:
            problem = f"{error.errors()[0]['msg'].removeprefix('Value error, ')}, not {value!r}"
            raise InputError(f"option {name} of the {what} {reference}: {problem}") from error
    for name, parameter in known.items():
        named = parameter.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        if named and parameter.default is parameter.empty and name not in checked and name not in given:
            raise InputError(f"the {what} {reference} needs the option {name!r}: give it")
    with own(name_of(kind)):
        return kind(**given, **checked)


def listed(value: Any, hint: Any) -> Any:
    """A list that is written as text, with commas between its parts, where a type wants a list; else the value."""
    if isinstance(value, str) and get_origin(hint) in (tuple, list, Sequence):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def options_of(kind: Any) -> list[str]:
    """The names that a class's constructor takes."""
    return [name for name in _parameters(kind) if not name.startswith("_")]


def path_options(kind: Any) -> list[str]:
    """Those of them that are paths."""
    return [name for name, hint in _hints(kind).items() if Path in (hint, *get_args(hint))]


def _parameters(kind: Any) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(kind).parameters


def _hints(kind: Any) -> dict[str, Any]:
    """The types of a constructor's parameters; of a dataclass those of its fields."""
    made_of = kind if hasattr(kind, "__dataclass_fields__") else getattr(kind, "__init__", kind)
    return get_type_hints(made_of, include_extras=True)


def _class_name(name: str, what: str) -> str:
    return "".join(part.capitalize() for word in (name, what) for part in re.split(r"[_ ]", word))


def _by_short_name(name: str, what: str, rooms: tuple[str, ...]) -> Any:
    for room in rooms:
        found = _module(f"{room}.{name}", what, name)
        thing = getattr(found, _class_name(name, what), None)
        if thing is not None:
            return thing
    known = names(what, *rooms)
    listed = f"; there are {', '.join(known)}, or give module:Name" if known else ": give module:Name"
    raise InputError(f"there is no {what} {name!r}{nearest(name, known)}{listed}")


def _or_one_of(what: str, rooms: tuple[str, ...]) -> str:
    known = names(what, *rooms)
    return f", or one of {', '.join(known)}" if known else ""


def _paths(rooms: Any) -> list[str]:
    return [path for room in rooms for path in importlib.import_module(room).__path__]


def _module(place: str, what: str, reference: str) -> Any:
    """An imported module, or None where there is none of that name."""
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name and f"{place}.".startswith(f"{error.name}."):
            return None
        raise InputError(f"the {what} {reference!r} cannot be imported: it needs a module {error.name!r}") from error
    except Exception as error:  # somebody's own module may raise whatever it likes
        where = place_of(error) or place
        raise InputError(f"the {what} {reference!r} cannot be imported: {text_of(error)} ({where})") from error
