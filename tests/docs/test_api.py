"""docs/api.md is what the docstrings say, and leaves nothing out of what it lists."""

import dataclasses
import importlib
import inspect
import runpy
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import piplay

ROOT = Path(__file__).parents[2]
TOOL = runpy.run_path(str(ROOT / "tools" / "api.py"))
PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
NAMES = [
    (f"piplay.{module}", name)
    for modules in TOOL["PUBLIC"].values()
    for module, names in modules.items()
    for name in names.split()
]


def section(name: str) -> str:
    """What the page says of a name."""
    return PAGE.split(f"\n### {name}\n")[1].split("\n## ")[0].split("\n### ")[0]


def test_the_page_is_up_to_date() -> None:
    assert TOOL["page"]() == PAGE, "run `make docs`"


def test_what_the_package_exports_is_on_the_page() -> None:
    assert {name for _, name in NAMES} >= set(getattr(piplay, "__all__", ()))


@pytest.mark.slow
@pytest.mark.parametrize(("module", "name"), NAMES)
def test_a_name_has_its_fields_its_methods_and_its_words(module: str, name: str) -> None:
    thing: Any = getattr(importlib.import_module(module), name)
    text = " ".join(section(name).split())
    if not inspect.isclass(thing) or thing is Any:
        assert (f"def {name}(" in text) == inspect.isfunction(thing)
        return
    first = (inspect.getdoc(thing) or "").split("\n")[0].replace("``", "`")
    assert first in text
    own = vars(thing).get("__annotations__", {})  # the page names the class that has the others
    if issubclass(thing, BaseModel):
        for field, info in ((field, info) for field, info in thing.model_fields.items() if field in own):
            assert f"- `{field}: " in text
            line = text.split(f"- `{field}: ")[1].split("`")[0]
            assert not isinstance(info.default, int | float | str) or line.endswith(f" = {info.default!r}")
    elif dataclasses.is_dataclass(thing):
        assert all(
            f"- `{field.name}: " in text for field in dataclasses.fields(thing) if field.init and field.name in own
        )
    for method, function in vars(thing).items():
        if inspect.isfunction(function) and not method.startswith("_") and function.__doc__:
            assert f"def {method}(" in text
