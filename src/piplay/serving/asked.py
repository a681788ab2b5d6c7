"""What clients of the OpenAI API send, read strictly where it matters: the question, and what cannot be had here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError

MESSAGES = 1000
"""Of a request."""


class ApiError(Exception):
    """A refusal in the API's own form."""

    def __init__(self, status: int, sentence: str, code: str | None = None) -> None:
        super().__init__(sentence)
        self.status, self.code = status, code

    def tree(self) -> dict[str, Any]:
        """The body of the answer."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        return {"error": {"message": str(self), "type": kind, "param": None, "code": self.code}}


class Part(BaseModel):
    """A part of a message: of text, or of what is refused."""

    type: str
    text: str | None = None


class Message(BaseModel):
    """A message, of either API."""

    role: str
    content: str | list[Part] | None = None


class StreamOptions(BaseModel):
    """What a stream of chunks says besides."""

    include_usage: bool = False


class _Common(BaseModel):
    model: str
    stream: bool = False
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    seed: int | None = None
    tools: list[Any] | None = None


class ChatRequest(_Common):
    """Of ``/v1/chat/completions``."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=MESSAGES)]
    n: Literal[1] | None = None
    stream_options: StreamOptions | None = None


class ResponsesRequest(_Common):
    """Of ``/v1/responses``."""

    input: str | Annotated[list[Message], Field(min_length=1, max_length=MESSAGES)]


@dataclass(frozen=True, slots=True)
class Asked:
    """What the agent is asked."""

    question: str
    temperature: float
    seed: int | None
    stream: bool


Body = TypeVar("Body", ChatRequest, ResponsesRequest)


def read(kind: type[Body], body: bytes, model: str) -> Body:
    """A request. Raises ``ApiError`` where it cannot be read, asks another model, or brings tools of its own."""
    try:
        request = kind.model_validate_json(body)
    except ValidationError as error:
        [problem, *_] = error.errors(include_input=False, include_url=False, include_context=False)
        place = ".".join(map(str, problem["loc"]))
        raise ApiError(400, f"{place}: {problem['msg']}" if place else problem["msg"]) from None
    if request.model != model:
        raise ApiError(404, f"there is no model {request.model[:100]!r} here: ask {model!r}", "model_not_found")
    if request.tools:
        raise ApiError(400, "the agent calls its own tools alone: leave tools out")
    return request


def asked_in(request: ChatRequest | ResponsesRequest) -> Asked:
    """The question: the last message, a user's. What was said before is not shown to the agent, which knows no chat.

    Raises ``ApiError`` where the last message is somebody else's, or holds no text alone.
    """
    if isinstance(request, ChatRequest):
        question = _question(request.messages)
    else:
        question = request.input if isinstance(request.input, str) else _question(request.input)
    return Asked(question, request.temperature or 0.0, request.seed, request.stream)


def _question(messages: Sequence[Message]) -> str:
    last = messages[-1]
    if last.role != "user":
        raise ApiError(400, f"the last message is of the role {last.role[:100]!r}: end with the user's question")
    if isinstance(last.content, str):
        return last.content
    parts = last.content or []
    other = next((part.type for part in parts if part.type not in ("text", "input_text") or part.text is None), None)
    if other is not None:
        raise ApiError(400, f"the message has a part of the type {other[:100]!r}: the agent reads text alone")
    return "\n".join(part.text or "" for part in parts)
