"""The service: ``POST /retrieve`` as Search-R1's clients and others of its kind ask it, ``GET /health``, ``GET /info``.

A request that cannot be read, is too large or too slow gets a status of 4xx and one sentence; the server goes on.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Request, Response
from pydantic import BaseModel, Field, StringConstraints, ValidationError

from piplay.envs.search.folder import SearchIndex
from piplay.envs.search.http import HEADER
from piplay.envs.search.question import Passage, contents
from piplay.envs.search.searcher import Hit
from piplay.http_server import BodyError, read_body
from piplay.search_service.batching import Batcher, QueueFullError

QUERIES = 4096
"""Of a request."""
CHARACTERS = 65_536
"""Of a query."""
TOP_K = 1000
PASSAGES = 65_536
"""That a request may ask for, queries × top k."""
PRIVATE = ("made_of", "encoder")
"""Places on this machine: ``/info`` leaves them out."""
BODY = 16 * 2**20
"""Bytes of a request's body."""
SECONDS = 10.0
"""For a request's body to arrive."""

Query = Annotated[str, StringConstraints(max_length=CHARACTERS)]
Count = Annotated[int, Field(ge=1, le=TOP_K)]


class Retrieve(BaseModel):
    """What is asked for. Where a client names several numbers of passages, the last stage's counts."""

    queries: list[Query]
    topk: Count | None = None
    topk_retrieval: Count | None = None
    topk_rerank: Count | None = None
    return_scores: bool = False


def make_app(index: SearchIndex, topk: int, batcher: Batcher | None = None, seconds: float = SECONDS) -> FastAPI:
    """The service over an index.

    Args:
        topk: passages a query where a request does not say.
        batcher: that of the index, where not the usual one.
        seconds: for a request's body to arrive.
    """
    app = FastAPI(title="piplay search", openapi_url=None)
    passages = index.searcher.passages
    searches = batcher or Batcher(index.searcher.ranked)

    async def retrieve(request: Request) -> Response:
        asked = _asked(await _body(request, seconds))
        k = asked.topk or asked.topk_rerank or asked.topk_retrieval or topk
        if len(asked.queries) * k > PASSAGES:
            raise HTTPException(413, f"{len(asked.queries)} queries of {k} passages are more than {PASSAGES} in all")
        try:
            found = await searches.ranked(asked.queries, k)
        except QueueFullError:
            raise HTTPException(503, "the queue is full: ask again later", {"Retry-After": "1"}) from None
        reply = await asyncio.to_thread(_reply, passages, found, asked.return_scores)
        return Response(reply, media_type="application/json", headers={HEADER: index.about["index"]})

    async def health() -> dict[str, Any]:
        return {"status": "ok", "waiting": searches.waiting}

    async def info() -> dict[str, Any]:
        return {name: value for name, value in index.about.items() if name not in PRIVATE} | {"topk": topk}

    app.add_api_route("/retrieve", retrieve, methods=["POST"])
    app.add_api_route("/health", health)
    app.add_api_route("/info", info)
    return app


async def _body(request: Request, seconds: float) -> bytes:
    try:
        return await read_body(request.stream(), BODY, seconds)
    except BodyError as error:
        raise HTTPException(error.status, str(error), {"Connection": "close"}) from None


def _asked(body: bytes) -> Retrieve:
    try:
        asked = Retrieve.model_validate_json(body)
    except ValidationError as error:
        [problem, *_] = error.errors(include_input=False, include_url=False, include_context=False)
        place = ".".join(map(str, problem["loc"]))
        raise HTTPException(422, f"{place}: {problem['msg']}" if place else problem["msg"]) from None
    if len(asked.queries) > QUERIES:
        raise HTTPException(413, f"{len(asked.queries)} queries are more than {QUERIES}: ask in parts")
    return asked


def _reply(passages: Sequence[Passage], found: Sequence[Sequence[Hit]], scores: bool) -> bytes:
    """``{"result": …}``: of each query the documents, with their scores where they are wanted, else bare."""
    result = [
        [
            {"document": _document(passages[i]), "score": score} if scores else _document(passages[i])
            for i, score in hits
        ]
        for hits in found
    ]
    return json.dumps({"result": result}, ensure_ascii=False).encode()


def _document(passage: Passage) -> dict[str, str]:
    return {"id": passage.id, "contents": contents(passage), "title": passage.title, "text": passage.text}
