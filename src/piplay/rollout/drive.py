"""Drives many episodes at once over one engine and one searcher, deterministically.

No event loop decides an order: coroutines go on in the order in which what they wait for was fulfilled, and the engine
always works on whatever is ready. There is no barrier between turns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Coroutine, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from piplay.engine.protocol import Engine
from piplay.envs.search.searcher import Searcher, SearchError
from piplay.rollout.context import Want, WantAll, WantEnd, WantSearch, WantTurn
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
    playing = watch(stories, engine, searcher, top_k)
    while True:
        try:
            next(playing)
        except StopIteration as end:
            results: list[Result] = end.value
            return results


def watch(
    stories: Sequence[Coroutine[Want, Any, Result]], engine: Engine, searcher: Searcher, top_k: int
) -> Generator[tuple[Want, Any], None, list[Result]]:
    """As ``drive``, telling each turn and each search with its result, ``SearchError`` included, as it is fulfilled."""
    results: list[Any] = [None] * len(stories)
    going: deque[tuple[_Story, Any]] = deque((_Story(s, None, i), None) for i, s in enumerate(stories))
    waiting: dict[Key, tuple[_Story, WantTurn]] = {}
    searching: list[tuple[_Story, WantSearch]] = []
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
                    waiting[request.key] = story, want
                case WantSearch():
                    searching.append((story, want))
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
        fulfilled: list[tuple[_Story, Want, Any]] = []
        if searching:
            found = _search([want.query for _, want in searching], searcher, top_k)
            fulfilled = [(story, want, passages) for (story, want), passages in zip(searching, found, strict=True)]
            searching.clear()
        elif waiting:
            fulfilled = [(*waiting.pop(written.key), written) for written in engine.ready()]
        for story, want, result in fulfilled:
            yield want, result
            going.append((story, result))
    return results


def _search(queries: Sequence[str], searcher: Searcher, top_k: int) -> list[Any]:
    """All open searches as one batch. Where the batch fails each is tried alone, so that one bad query fails one."""
    try:
        return list(searcher.search(queries, top_k))
    except SearchError:
        found: list[Any] = []
        for query in queries:
            try:
                found.append(searcher.search([query], top_k)[0])
            except SearchError as failure:
                found.append(failure)
        return found
