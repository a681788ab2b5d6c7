"""Games, searchers, gates and rewards by name: ``module:Name``, of the package or of one's own."""

from __future__ import annotations

import importlib
import pkgutil
import traceback
from pathlib import Path
from typing import Any

from piplay.errors import InputError, nearest


def resolve(reference: str, what: str, room: str) -> Any:
    """The class or function that ``module:Name`` names.

    ``module`` is looked for in ``room``, a package such as ``piplay.methods``, then on the Python path, where the
    command line puts the current folder. ``what`` it is goes into the messages. Raises ``InputError`` where there is
    none, with the nearest that there is, or where the module cannot be imported.
    """
    module, _, name = reference.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), name)):
        raise InputError(f"{reference!r} names no {what}: give module:Name")
    lacking = ""
    for place in (f"{room}.{module}", module):
        found = _module(place, what, reference)
        if found is None:
            continue
        if callable(thing := getattr(found, name, None)):
            return thing
        own = getattr(found, "__all__", None) or [
            key for key, value in vars(found).items() if getattr(value, "__module__", None) == found.__name__
        ]
        lacking = f"{place} has no such name{nearest(name, own)}"
    known = [entry.name for entry in pkgutil.iter_modules([*importlib.import_module(room).__path__, str(Path.cwd())])]
    lacking = lacking or f"no module {module!r}{nearest(module, known)} in {room} or the current folder"
    raise InputError(f"there is no {what} {reference!r}: {lacking}")


def _module(place: str, what: str, reference: str) -> Any:
    """An imported module, or None where there is none of that name."""
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name and f"{place}.".startswith(f"{error.name}."):
            return None
        raise InputError(f"the {what} {reference!r} cannot be imported: it needs a module {error.name!r}") from error
    except Exception as error:  # somebody's own module may raise whatever it likes
        last = error if isinstance(error, SyntaxError) else traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename or place).name}, line {last.lineno}"
        said = traceback.format_exception_only(error)[-1].strip()
        raise InputError(f"the {what} {reference!r} cannot be imported: {said} ({where})") from error
