"""What ``piplay search`` does: build, serve, ask."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from piplay.envs.search.http import HTTPSearcher, is_url
from piplay.envs.search.question import Passage
from piplay.errors import InputError, check_text
from piplay.http_server import address_of, listen, run_app
from piplay.rollout.tools import ToolError
from piplay.search_service import index_folder

TOP_K = 3
"""Passages a query, as in Search-R1."""


def build(
    corpus: Path, out: Path, title_weight: float | None = None, passage_words: int = 50, strict: bool = False
) -> None:
    """Index a corpus into a folder."""
    about = index_folder.build(corpus, out, title_weight, passage_words, strict).about
    print(f"{about['passages']} passages of {corpus} are indexed in {out}: index {about['index']}")


def serve(
    place: Path,
    host: str = "127.0.0.1",
    port: int = 8000,
    topk: int = TOP_K,
    passage_words: int = 50,
    mcp: bool = False,
) -> None:
    """Serve an index folder, or a corpus, until it is interrupted: /retrieve, or with ``mcp`` tools at /mcp."""
    _check_k(topk)
    try:
        from piplay.search_service.app import TOP_K as MOST
        from piplay.search_service.app import make_app

        if mcp:
            from piplay.search_service.mcp_server import make_server
    except ModuleNotFoundError as error:
        raise InputError(
            f"the service needs {error.name}: pip install 'piplay[{'mcp' if mcp else 'serve'}]'"
        ) from error
    if topk > MOST:
        raise InputError(f"--topk is {topk}: give at most {MOST}")
    listening = listen(host, port, "search")
    index = index_folder.open_index(place, passage_words)
    where = f"{address_of(listening)}/{'mcp' if mcp else 'retrieve'}"
    print(f"{index.about['passages']} passages at {where}: index {index.about['index']}", flush=True)
    if mcp:
        tools = make_server(index, topk).streamable_http_app(stateless_http=True, json_response=True, host=host)
        run_app(tools, listening, lifespan="on")
    else:
        run_app(make_app(index, topk), listening)


def ask(place: str, query: str, topk: int = TOP_K) -> None:
    """Print what an index folder, a corpus or a service finds."""
    _check_k(topk)
    check_text(query, "the query")
    scores: list[str]
    if is_url(place):
        try:
            [found] = HTTPSearcher((), url=place).search([query], topk)
        except ToolError as error:
            raise InputError(str(error)) from error
        scores = [""] * len(found)
    else:
        index = index_folder.open_index(Path(place))
        [hits] = index.searcher.ranked([query], topk)
        found = [index.searcher.passages[i] for i, _ in hits]
        scores = [f" ({score:.2f})" for _, score in hits]
    print(_shown(found, scores))


def _shown(found: Sequence[Passage], scores: Sequence[str]) -> str:
    lines = [
        f"{number}. {passage.name} [{passage.id}]{score}\n   {passage.text}"
        for number, (passage, score) in enumerate(zip(found, scores, strict=True), 1)
    ]
    return "\n".join(lines) or "Nothing found."


def _check_k(topk: int) -> None:
    if topk < 1:
        raise InputError(f"--topk is {topk}: give at least 1")
