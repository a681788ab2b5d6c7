"""What models write for a call's JSON: single quotes, trailing commas, True and None, other keys."""

from __future__ import annotations

import ast
import json
import re

from piplay.chat.calls import leading_json
from piplay.types import Json

_PIECE = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|[A-Za-z_]+|[\[\]{}]|.", re.DOTALL)
_WORDS = {"true": "True", "false": "False", "null": "None"}
_NAMES = ("name", "tool_name", "function", "tool")
_ARGUMENTS = ("arguments", "parameters", "args", "input")


def leading_value(text: str) -> tuple[Json, int]:
    """The object or list that a text begins with and its length, as JSON or as Python writes it, or (None, 0)."""
    if not text.startswith(("{", "[")):
        return None, 0
    for strict in (True, False):  # models write line breaks as they are
        value, length = leading_json(text, strict)
        if length:
            return value, length
    pieces, depth, length = list[str](), 0, 0
    for piece in _PIECE.finditer(text):
        depth += (piece[0] in "[{") - (piece[0] in "]}")
        pieces.append(_WORDS.get(piece[0], piece[0]))
        if depth == 0:
            length = piece.end()
            break
    try:
        return (literal("".join(pieces)), length) if length else (None, 0)
    except ValueError:
        return None, 0


def literal(text: str) -> Json:
    """A value as Python writes it, of what JSON knows. Raises ``ValueError`` for any other text."""
    try:
        value = ast.literal_eval(text.strip())
        json.dumps(value)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(f"no literal: {text}") from error
    return value


def called(data: Json) -> tuple[Json, Json] | None:
    """The name and the arguments of a call that a JSON value is, whatever its keys are called; a list has its first."""
    if isinstance(data, list):
        data = data[0] if data else None
    if not isinstance(data, dict):
        return None
    if isinstance(data.get("function"), dict):
        data = data["function"]
    name = next((data[key] for key in _NAMES if key in data), None)
    arguments = next((data[key] for key in _ARGUMENTS if key in data), None)
    return None if name is None or arguments is None else (name, arguments)
