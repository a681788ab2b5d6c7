"""CONTRIBUTING's table defines every axis suffix of the names in src."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SUFFIX = re.compile(r"_?[a-z][a-z0-9_]*?((?:_(?:[A-Z]+1?|1(?=_[A-Z])))+)")


def names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.arg):
            yield node.arg


def axes(name: str) -> set[str]:
    """The letters of a name's axes."""
    found = SUFFIX.fullmatch(name)
    return set(re.findall(r"[A-Z]|(?<=_)1", found[1])) if found else set()


def test_axes_are_read_off_names() -> None:
    assert axes("logits_R_V") == {"R", "V"}
    assert axes("_starts_N1") == {"N"}
    assert axes("hidden_1_N_D") == {"1", "N", "D"}
    assert axes("_row_MH") == {"M", "H"}
    assert axes("HEAD_ROWS") == axes("iteration_1") == axes("_PROBE") == axes("ids") == set()


@pytest.mark.slow
def test_every_suffix_in_use_is_defined() -> None:
    table = set(re.findall(r"^\| `_(\w)` \| ", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE))
    used = {
        (axis, str(file.relative_to(ROOT)))
        for file in (ROOT / "src").rglob("*.py")
        for name in names(ast.parse(file.read_text(encoding="utf-8")))
        for axis in axes(name)
    }
    assert len({axis for axis, _ in used}) >= 10
    assert sorted((axis, file) for axis, file in used if axis not in table) == []
