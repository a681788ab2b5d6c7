"""What ``piplay search`` does: build, serve, ask."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from piplay.envs.search import build as making
from piplay.envs.search.build import Dense
from piplay.envs.search.folder import open_index
from piplay.envs.search.http import HTTPSearcher, is_url
from piplay.envs.search.question import Passage
from piplay.errors import InputError, check_text
from piplay.http_server import address_of, listen, run_app
from piplay.rollout.tools import ToolError

TOP_K = 3
"""Passages a query, as in Search-R1."""


def build(
    corpus: Path,
    out: Path,
    passage_words: int = 50,
    encoder: Path | None = None,
    index: str | None = None,
    import_: Path | None = None,
    query_prefix: str | None = None,
    passage_prefix: str | None = None,
    **options: Any,
) -> None:
    """Index a corpus into a folder.

    Args:
        encoder: see ``Dense``, as the four behind it.
        options: see ``making.build``.
    """
    given = {"--index": index, "--import": import_, "--query-prefix": query_prefix, "--passage-prefix": passage_prefix}
    for name, value in given.items():
        if value is not None and encoder is None:
            raise InputError(f"{name} is for vectors: give --kind dense or hybrid and an --encoder, or leave it out")
    dense = None if encoder is None else Dense(encoder, index, import_, query_prefix, passage_prefix)
    about = making.build(corpus, out, words=passage_words, dense=dense, tell=_told, **options).about
    print(f"{about['passages']} passages of {corpus} are indexed in {out}: index {about['index']}")


def serve(
    place: Path,
    host: str = "127.0.0.1",
    port: int = 8000,
    topk: int = TOP_K,
    passage_words: int = 50,
    mcp: bool = False,
    encoder: Path | None = None,
    rerank: Path | None = None,
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
    index = open_index(place, passage_words, encoder=encoder, rerank=rerank)
    where = f"{address_of(listening)}/{'mcp' if mcp else 'retrieve'}"
    print(f"{index.about['passages']} passages at {where}: index {index.about['index']}", flush=True)
    if mcp:
        tools = make_server(index, topk).streamable_http_app(stateless_http=True, json_response=True, host=host)
        run_app(tools, listening, lifespan="on")
    else:
        run_app(make_app(index, topk), listening)


def ask(place: str, query: str, topk: int = TOP_K, encoder: Path | None = None, rerank: Path | None = None) -> None:
    """Print what an index folder, a corpus or a service finds."""
    _check_k(topk)
    check_text(query, "the query")
    scores: list[str]
    if is_url(place):
        if encoder or rerank:
            raise InputError(f"{place} is a service: --encoder and --rerank are for `piplay search serve`")
        try:
            [found] = HTTPSearcher((), url=place).search([query], topk)
        except ToolError as error:
            raise InputError(str(error)) from error
        scores = [""] * len(found)
    else:
        index = open_index(Path(place), encoder=encoder, rerank=rerank)
        [hits] = index.searcher.ranked([query], topk)
        found = [index.searcher.passages[i] for i, _ in hits]
        scores = [f" ({score:.3g})" for _, score in hits]
    print(_shown(found, scores))


def _shown(found: Sequence[Passage], scores: Sequence[str]) -> str:
    lines = [
        f"{number}. {passage.name} [{passage.id}]{score}\n   {passage.text}"
        for number, (passage, score) in enumerate(zip(found, scores, strict=True), 1)
    ]
    return "\n".join(lines) or "Nothing found."


def _told(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _check_k(topk: int) -> None:
    if topk < 1:
        raise InputError(f"--topk is {topk}: give at least 1")
