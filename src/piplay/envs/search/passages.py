"""Passages as other people's corpora name their parts: id, title and text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from piplay.envs.search.question import Passage

IDS = (
    "id", "_id", "docid", "doc_id", "pid", "psg_id", "passage_id", "document_id", "wikipedia_id", "wiki_id", "uid",
    "idx", "index",
)  # fmt: skip
TITLES = ("title", "wikipedia_title", "page_title", "article_title", "doc_title", "headline", "heading", "name")
TEXTS = (
    "text", "passage", "passage_text", "paragraph", "paragraph_text", "content", "page_content", "body", "document",
    "chunk", "context", "abstract", "extract", "segment",
)  # fmt: skip
WHOLE = "contents"
"""Title and text in one: the title stands in the first line."""
NAMES = frozenset((*IDS, *TITLES, *TEXTS, WHOLE, "metadata"))
HEADLESS = ("id", "text", "title")
"""The columns of a table without a header, as MS MARCO's collection and DPR's passages have them."""
CONTENTS = (
    'a passage has "text" (or "contents", its title in the first line), and as it likes "id" and "title"; other names: '
    f"{', '.join((*TEXTS[1:], *IDS[1:], *TITLES[1:]))}"
)
LONGEST_TITLE = 200
"""Characters: what is longer in a first line is a paragraph of the text."""
_HALF = re.compile("[\ud800-\udfff]")


def passage_of(fields: Mapping[str, Any], number: str) -> Passage | str:
    """A row as a passage, or why it is none.

    Args:
        fields: by name in lower case. The text may be a list, of paragraphs or of lists of sentences; the title may
            stand in ``metadata``. ``contents`` has a title in its first line where there are others: in double quotes
            or not (FlashRAG's layout), empty in ``""``.
        number: the id of a row that has none.
    """
    title = _first(fields, TITLES) or _first(_inside(fields), TITLES)
    text = _first(fields, TEXTS)
    if not text:
        whole = _text(fields.get(WHOLE))
        title, text = (title, _behind(title, whole)) if title else _parted(whole)
    if _HALF.search(title + text):  # JSON can escape it, but no tokenizer or file takes it
        return "has half of a surrogate pair (\\ud800 to \\udfff)"
    if text:
        return Passage(id_of(fields) or number, title, text)
    known = any(name in fields for name in (*TEXTS, WHOLE))
    return "has no text" if known else f"has no field for a text, but {', '.join(fields) or 'none'}"


def _parted(whole: str) -> tuple[str, str]:
    """Title and text of contents."""
    first, line_end, rest = whole.partition("\n")
    first, rest = first.strip(), rest.strip()
    if not line_end or len(first) > LONGEST_TITLE:
        return "", whole.strip()
    if len(first) > 1 and first[0] == first[-1] == '"':
        first = first[1:-1].strip()
    return first, rest


def _behind(title: str, whole: str) -> str:
    """Contents without a first line that says the title once more."""
    first, rest = _parted(whole)
    return rest if first == title else whole.strip()


def _first(fields: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return next((text for name in names if name in fields and (text := _text(fields[name]).strip())), "")


def _inside(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    about = fields.get("metadata")
    return about if isinstance(about, dict) else {}


def _text(value: Any, joint: str = "\n") -> str:
    """A text, a list of paragraphs, or a list of lists of sentences; empty for anything else."""
    if isinstance(value, str):
        return value
    return joint.join(_text(part, "").strip() for part in value) if isinstance(value, list) else ""


def id_of(fields: Mapping[str, Any]) -> str:
    """A row's own id; empty where it has none."""
    for name in IDS:
        value = fields.get(name)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip():
            return str(value)
    return ""
