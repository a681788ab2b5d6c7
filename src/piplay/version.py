"""The version of the piplay that is running. ``pyproject.toml`` is the one place where it is written."""

from __future__ import annotations

import tomllib
from importlib.metadata import version
from pathlib import Path


def current_version() -> str:
    """The version of the source tree that this file is in, else of the installed package.

    The tree comes first: installed metadata may be of another tree, or of this one before its version changed.

    Raises:
        importlib.metadata.PackageNotFoundError: The package was copied without its metadata and without its tree.
    """
    project = Path(__file__).resolve().parents[2] / "pyproject.toml"
    if project.is_file():
        found = tomllib.loads(project.read_text(encoding="utf-8")).get("project", {})
        if found.get("name") == "piplay":
            return str(found["version"])
    return version("piplay")
