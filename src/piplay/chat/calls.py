"""Tool calls: which tools there are, which calls of them are well-formed, and how their arguments stand in JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from jsonschema import Draft202012Validator, SchemaError
from jsonschema.exceptions import best_match
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from piplay.errors import InputError, nearest
from piplay.types import Json, ToolCall, ToolSpec

_NAME = re.compile(r"[A-Za-z0-9_]+")
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
"""A string of JSON."""


class Toolset:
    """The tools of a chat, with their schemas.

    Raises ``InputError`` for a name that is no word or that two tools have, and for parameters that are no JSON schema
    (draft 2020-12) of an object, or that refer to a schema elsewhere.
    """

    def __init__(self, tools: Sequence[ToolSpec]) -> None:
        self.specs = tuple(tools)
        self._validators: dict[str, Any] = {}
        for tool in self.specs:
            if not _NAME.fullmatch(tool.name):
                raise InputError(f"a tool is named {tool.name!r}: use letters, digits and underscores, at least one")
            if tool.name in self._validators:
                raise InputError(f"two tools are named {tool.name!r}: give each a name of its own")
            self._validators[tool.name] = _validator(tool)

    def call(self, name: Json, arguments: Json) -> ToolCall | None:
        """The call, its texts stripped, or None where it is not well-formed.

        It is where the tool is one of these, the arguments fit its schema and can be written as JSON in UTF-8, and no
        required text is blank. Arguments that the schema does not name are allowed unless it forbids them; arguments
        as JSON text and a list of one text in the place of a text are read as what they mean.
        """
        validator = self._validators.get(name) if isinstance(name, str) else None
        if validator is None:
            return None
        arguments = _repaired(arguments, validator.schema)
        if not isinstance(arguments, dict):
            return None
        stripped = {key: value.strip() if isinstance(value, str) else value for key, value in arguments.items()}
        try:
            # Half of a surrogate pair and NaN can be written in what Python reads as JSON, and are none.
            json.dumps(stripped, ensure_ascii=False, allow_nan=False).encode()
            fits = validator.is_valid(stripped)
        except (ValueError, OverflowError, RecursionError):
            return None
        blank = any(stripped.get(key) == "" for key in validator.schema.get("required", ()))
        return ToolCall(name, stripped) if fits and not blank else None

    def check(self, call: ToolCall) -> None:
        """Raises ``InputError`` for what is no call that ``call`` could give."""
        if not isinstance(call, ToolCall):
            raise InputError(f"a tool is used by a ToolCall(name, arguments), not by {call!r}")
        if call.name not in self._validators:
            known = ", ".join(self._validators) or "none"
            raise InputError(f"there is no tool {call.name!r}{nearest(call.name, self._validators)}: there are {known}")
        if self.call(call.name, call.arguments) is None:
            problem = best_match(self._validators[call.name].iter_errors(call.arguments))
            said = problem.message if problem is not None else "a required text is blank, or they are no JSON"
            raise InputError(f"the arguments {call.arguments!r} do not fit the tool {call.name!r}: {said}")


def leading_json(text: str, strict: bool = True) -> tuple[Json, int]:
    """The JSON value that a text begins with and its length, or (None, 0); if not ``strict``, its texts have breaks."""
    try:
        return json.JSONDecoder(strict=strict).raw_decode(text)
    except (ValueError, RecursionError):
        return None, 0


def json_text(value: Json, unspoken: Iterable[str], compact: bool = False) -> str:
    r"""A value as JSON in which no string spells one of the ``unspoken`` words: it stands in ``\u`` escapes instead."""
    words = [word for word in unspoken if word]

    def spoken(string: re.Match[str]) -> str:
        return f'"{_units(json.loads(string[0]))}"' if any(word in string[0] for word in words) else string[0]

    return _STRING.sub(spoken, json.dumps(value, ensure_ascii=False, separators=(",", ":") if compact else None))


def _units(text: str) -> str:
    units = text.encode("utf-16-be").hex()
    return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))


def _repaired(arguments: Json, schema: Mapping[str, Json]) -> Json:
    """Arguments as a schema wants them: given as JSON text they are read, and a list of one text is that text."""
    if isinstance(arguments, str):
        value, length = leading_json(arguments.strip())
        arguments = value if length == len(arguments.strip()) else arguments
    if not isinstance(arguments, dict):
        return arguments
    properties = schema.get("properties", {})
    texts = {key for key, value in properties.items() if isinstance(value, Mapping) and value.get("type") == "string"}
    return {key: _text_of(value) if key in texts else value for key, value in arguments.items()}


def _text_of(value: Json) -> Json:
    one = isinstance(value, list) and len(value) == 1 and isinstance(value[0], str)
    return value[0] if one else value


def _validator(tool: ToolSpec) -> Any:
    problem = f"the tool {tool.name!r} has parameters that are no JSON schema of an object"
    schema = dict(tool.parameters)
    if schema.get("type") != "object":
        raise InputError(f'{problem}: give them as {{"type": "object", "properties": {{…}}, "required": […]}}')
    try:
        json.dumps(schema)
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise InputError(f"{problem} (at {error.json_path}: {error.message}): correct it there") from error
    except (TypeError, ValueError) as error:
        raise InputError(f"{problem} ({error}): give plain dicts, lists, texts and numbers") from error
    resolver = Registry().resolver_with_root(DRAFT202012.create_resource(schema))
    for reference in _references(schema):
        try:
            resolver.lookup(reference)
        except Unresolvable as error:
            raise InputError(f"{problem} (it refers to {reference!r}, which it does not hold): write it out") from error
    # An empty registry: nothing is ever fetched from the network.
    return Draft202012Validator(schema, registry=Registry())


def _references(schema: Json) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        schema = list(schema.values())
    if isinstance(schema, list):
        for part in schema:
            yield from _references(part)
