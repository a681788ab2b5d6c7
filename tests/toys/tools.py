"""Tools of every kind that a chat can be told of."""

from piplay.types import ToolSpec

SEARCH = ToolSpec(
    "search",
    "Finds passages about a query.",
    {
        "type": "object",
        "properties": {"query": {"type": "string", "description": "What to look for."}},
        "required": ["query"],
    },
)
"""Takes one text."""
CALCULATOR = ToolSpec(
    "calculator",
    "Adds two numbers.",
    {
        "type": "object",
        "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
        "required": ["a", "b"],
        "additionalProperties": False,
    },
)
NOW = ToolSpec("now", "Tells the time.", {"type": "object", "properties": {}})
"""Takes nothing."""
NOTE = ToolSpec(
    "note",
    "Keeps a note.",
    {
        "type": "object",
        "properties": {
            "title": {"type": "string"},
            "body": {"type": "string"},
            "labels": {"type": "array", "items": {"$ref": "#/$defs/label"}},
        },
        "required": ["title"],
        "$defs": {"label": {"type": "string", "maxLength": 99}},
    },
)
"""Takes texts, some of them optional and some within a list."""
TOOLS = (SEARCH, CALCULATOR, NOW, NOTE)
