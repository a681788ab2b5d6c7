"""The service: ``/v1/chat/completions``, ``/v1/responses``, ``/v1/models``, ``/health``.

A request that cannot be read, is too large or too slow gets a status of 4xx and one sentence; one too many gets 503;
the server goes on.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, StreamingResponse

from piplay.agent import Reply
from piplay.errors import InputError
from piplay.http_server import BodyError, read_body
from piplay.serving import chat, responses
from piplay.serving.answers import check
from piplay.serving.asked import ApiError, Asked, ChatRequest, ResponsesRequest, asked_in, read
from piplay.serving.questions import FullError, LostError, Questions, Ticket

BODY = 2**20
"""Bytes of a request's body."""
SECONDS = 10.0
"""For a request's body to arrive."""
GONE = 499
"""The status that nobody reads: the client has gone."""


def make_app(questions: Questions, model: str, seconds: float = SECONDS) -> FastAPI:
    """The service over an agent.

    Args:
        model: what clients call it.
        seconds: for a request's body to arrive.
    """
    app = FastAPI(title="piplay", openapi_url=None)
    began = int(time.time())

    async def completions(request: Request) -> Response:
        wanted = read(ChatRequest, await _body(request, seconds), model)
        asked = asked_in(wanted)
        ticket = _take(questions, asked)
        if asked.stream:
            usage = wanted.stream_options is not None and wanted.stream_options.include_usage
            return _Streamed(_lines(chat.chunks(ticket, model, usage), named=False), questions, ticket)
        return await _whole(request, questions, ticket, lambda reply: chat.completion(reply, model))

    async def respond(request: Request) -> Response:
        asked = asked_in(read(ResponsesRequest, await _body(request, seconds), model))
        ticket = _take(questions, asked)
        if asked.stream:
            return _Streamed(_lines(responses.events(ticket, model), named=True), questions, ticket)
        return await _whole(request, questions, ticket, lambda reply: responses.response(reply, model))

    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [_model(model, began)]}

    async def one(name: str) -> dict[str, Any]:
        if name != model:
            raise ApiError(404, f"there is no model {name[:100]!r} here: ask {model!r}", "model_not_found")
        return _model(model, began)

    async def health() -> dict[str, Any]:
        if questions.lost:
            raise ApiError(503, questions.lost)
        return {"status": "ok", "open": questions.open, "room": questions.room}

    app.add_api_route("/v1/chat/completions", completions, methods=["POST"])
    app.add_api_route("/v1/responses", respond, methods=["POST"])
    app.add_api_route("/v1/models", models)
    app.add_api_route("/v1/models/{name:path}", one)
    app.add_api_route("/health", health)
    app.add_exception_handler(ApiError, _refused)
    app.add_exception_handler(HTTPException, _refused)
    return app


def _model(name: str, began: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": began, "owned_by": "piplay"}


async def _refused(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):  # no such path or method
        error = ApiError(error.status_code, str(error.detail))
    assert isinstance(error, ApiError)
    headers = {"Retry-After": "1"} if error.status == 503 else {"Connection": "close"} if error.status == 408 else None
    return JSONResponse(error.tree(), error.status, headers)


async def _body(request: Request, seconds: float) -> bytes:
    try:
        return await read_body(request.stream(), BODY, seconds)
    except BodyError as error:
        raise ApiError(error.status, str(error)) from None


def _take(questions: Questions, asked: Asked) -> Ticket:
    try:
        return questions.take(asked.question, asked.temperature, asked.seed)
    except InputError as error:
        raise ApiError(400, str(error)) from None
    except FullError:
        raise ApiError(503, f"{questions.room} questions are open: ask again later", "overloaded") from None
    except LostError as error:
        raise ApiError(503, str(error)) from None


async def _whole(
    request: Request, questions: Questions, ticket: Ticket, made: Callable[[Reply], dict[str, Any]]
) -> Response:
    """The answer once it is there; given up where the client goes before."""
    answer, gone = asyncio.create_task(_reply(ticket)), asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        return JSONResponse(made(answer.result())) if answer.done() else Response(status_code=GONE)
    finally:
        answer.cancel()
        gone.cancel()
        questions.leave(ticket)


async def _reply(ticket: Ticket) -> Reply:
    try:
        async for step in ticket.steps():
            if isinstance(step, Reply):
                return check(step)
        raise AssertionError("a question ends with its reply")
    except (InputError, LostError) as error:
        raise ApiError(500, str(error)) from error


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _lines(events: AsyncIterator[dict[str, Any]], named: bool) -> AsyncIterator[str]:
    """Server-sent events. What goes wrong under way is the last; a stream of chunks ends with ``[DONE]``."""
    try:
        async for event in events:
            name = f"event: {event['type']}\n" if named else ""
            yield f"{name}data: {json.dumps(event, ensure_ascii=False)}\n\n"
    except (ApiError, InputError, LostError) as error:
        failed = error if isinstance(error, ApiError) else ApiError(500, str(error))
        yield f"{'event: error' + chr(10) if named else ''}data: {json.dumps(failed.tree())}\n\n"
    if not named:
        yield "data: [DONE]\n\n"


class _Streamed(StreamingResponse):
    """A stream whose question is given up when it ends, however it ends."""

    def __init__(self, lines: AsyncIterator[str], questions: Questions, ticket: Ticket) -> None:
        super().__init__(lines, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
        self._questions, self._ticket = questions, ticket

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._questions.leave(self._ticket)
