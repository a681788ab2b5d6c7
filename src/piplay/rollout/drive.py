"""Drives many episodes at once over one engine and one searcher, deterministically.

No event loop decides an order: coroutines go on in the order in which what they wait for was fulfilled, and the engine
always works on whatever is ready. There is no barrier between turns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from piplay.engine.protocol import Engine
from piplay.rollout.context import Want, WantAll, WantEnd, WantSearch, WantTurn
from piplay.search.searcher import Searcher, SearchError
from piplay.types import Key

Result = TypeVar("Result")


@dataclass(slots=True)
class _Story:
    """A coroutine under way, and where its result goes."""

    coroutine: Coroutine[Want, Any, Any]
    parent: _Story | None
    place: int
    """Its place among its siblings."""
    children: list[Any] = field(default_factory=list)
    missing: int = 0


def drive(
    stories: Sequence[Coroutine[Want, Any, Result]], engine: Engine, searcher: Searcher, top_k: int
) -> list[Result]:
    """Play all stories to their end; their results in order. A story's own exception ends the drive."""
    results: list[Any] = [None] * len(stories)
    going: deque[tuple[_Story, Any]] = deque((_Story(s, None, i), None) for i, s in enumerate(stories))
    waiting: dict[Key, _Story] = {}
    searching: list[tuple[_Story, str]] = []
    while going or searching or waiting:
        while going:
            story, value = going.popleft()
            try:
                want = story.coroutine.throw(value) if isinstance(value, SearchError) else story.coroutine.send(value)
            except StopIteration as end:
                if story.parent is None:
                    results[story.place] = end.value
                    continue
                story.parent.children[story.place] = end.value
                story.parent.missing -= 1
                if story.parent.missing == 0:
                    going.append((story.parent, story.parent.children))
                continue
            match want:
                case WantTurn(request):
                    engine.submit(request)
                    waiting[request.key] = story
                case WantSearch(query):
                    searching.append((story, query))
                case WantEnd(session):
                    engine.close(session)
                    going.append((story, None))
                case WantAll(inner):
                    story.children, story.missing = [None] * len(inner), len(inner)
                    going.extend((_Story(s, story, i), None) for i, s in enumerate(inner))
                    if not inner:
                        going.append((story, []))
                case _:
                    raise TypeError(f"a story waits for {want!r}, which is none of the context's wants")
        if searching:
            going.extend(_search(searching, searcher, top_k))
            searching.clear()
        elif waiting:
            going.extend((waiting.pop(written.key), written) for written in engine.ready())
    return results


def _search(searching: list[tuple[_Story, str]], searcher: Searcher, top_k: int) -> list[tuple[_Story, Any]]:
    """All open searches as one batch. Where the batch fails each is tried alone, so that one bad query fails one."""
    try:
        found: list[Any] = list(searcher.search([query for _, query in searching], top_k))
    except SearchError:
        found = []
        for _, query in searching:
            try:
                found.append(searcher.search([query], top_k)[0])
            except SearchError as failure:
                found.append(failure)
    return [(story, passages) for (story, _), passages in zip(searching, found, strict=True)]
