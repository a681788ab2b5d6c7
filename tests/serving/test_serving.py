"""The agent behind the OpenAI API: it answers as ``ask`` does, many at once, and outlives whatever clients send."""

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from toys.scripted import DictSearcher, ScriptedEngine, says, searching, tools
from toys.services import serving

from piplay.agent import Agent, load_agent
from piplay.chat.base import Chat
from piplay.engine.protocol import EngineLost, Generate
from piplay.envs.search.question import Passage
from piplay.envs.world.store import default_world
from piplay.rollout.stage import Stage
from piplay.serving.app import make_app
from piplay.serving.questions import Questions
from piplay.settings import Limits

CLIENT = httpx.Client(trust_env=False, timeout=60)
BOR = Passage("p1", "Bor", "Bor lies on the Tamsin.")
LIMITS = Limits(turns=4, turn_tokens=200, tokens=4000)
QUESTION = "Which river is Bor on?"
Tree = dict[str, Any]


class Gate:
    """A script that searches, waits to be let on, and answers."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()

    def __call__(self, request: Generate) -> str:
        assert self.open.wait(20)
        return searching("Bor", "where?") if request.key[-1] == 0 else says("Tamsin", "there")


def agent_of(chat: Chat, script: Callable[[Generate], str], down: tuple[str, ...] = ()) -> Agent:
    engine = ScriptedEngine(chat, script)
    return Agent("scripted", Stage(engine, chat, tools(DictSearcher([BOR], down)), LIMITS))


@contextlib.contextmanager
def served(agent: Agent, room: int = 64) -> Iterator[tuple[str, Questions]]:
    questions = Questions(agent, room)
    with serving(make_app(questions, "mine", seconds=0.5)) as url:
        yield url, questions


@pytest.fixture(scope="module")
def gate() -> Gate:
    return Gate()


@pytest.fixture(scope="module")
def there(tiny_chat: Chat, gate: Gate) -> Iterator[tuple[str, Questions]]:
    with served(agent_of(tiny_chat, gate), room=3) as found:
        yield found


@pytest.fixture
def url(there: tuple[str, Questions]) -> str:
    return there[0]


def chat(url: str, question: str = QUESTION, **more: Any) -> httpx.Response:
    body = {"model": "mine", "messages": [{"role": "user", "content": question}], **more}
    return CLIENT.post(f"{url}/v1/chat/completions", json=body)


def respond(url: str, question: Any = QUESTION, **more: Any) -> httpx.Response:
    return CLIENT.post(f"{url}/v1/responses", json={"model": "mine", "input": question, **more})


def data_of(response: httpx.Response) -> list[Tree]:
    assert response.headers["content-type"].startswith("text/event-stream")
    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def test_a_completion(url: str) -> None:
    tree = chat(url).json()
    [choice] = tree["choices"]
    assert (tree["object"], tree["model"], choice["finish_reason"]) == ("chat.completion", "mine", "stop")
    assert choice["message"]["content"] == "Tamsin"
    assert choice["message"]["reasoning_content"] == "where?\nsearches: Bor\nfound: Bor\nthere\n"
    assert "tool_calls" not in choice["message"]
    assert tree["piplay"]["sources"] == [{"id": "p1", "title": "Bor", "text": BOR.text}]
    assert [step["query"] for step in tree["piplay"]["steps"]] == ["Bor", None]
    usage = tree["usage"]
    assert 0 < usage["completion_tokens"] < usage["prompt_tokens"]
    assert usage["total_tokens"] == usage["completion_tokens"] + usage["prompt_tokens"]


def test_a_streamed_completion_says_the_same(url: str) -> None:
    whole = chat(url).json()
    response = chat(url, stream=True, stream_options={"include_usage": True})
    assert response.text.endswith("data: [DONE]\n\n")
    *chunks, last, usage = data_of(response)
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    message = whole["choices"][0]["message"]
    for name in ("content", "reasoning_content"):
        assert "".join(delta.get(name, "") for delta in deltas) == message[name]
    assert deltas[0]["role"] == "assistant"
    assert len(deltas) == 5  # who speaks, a turn, a search, a turn, the answer
    assert (last["choices"][0]["finish_reason"], last["piplay"]) == ("stop", whole["piplay"])
    assert (usage["choices"], usage["usage"]) == ([], whole["usage"])
    assert {chunk["id"] for chunk in (*chunks, last, usage)} == {chunks[0]["id"]}
    assert len(data_of(chat(url, stream=True))) == len(chunks) + 1


def test_a_response(url: str) -> None:
    tree = respond(url).json()
    assert (tree["object"], tree["status"], tree["model"]) == ("response", "completed", "mine")
    assert [item["type"] for item in tree["output"]] == ["reasoning", "file_search_call", "reasoning", "message"]
    search = tree["output"][1]
    assert (search["queries"], search["results"][0]["text"]) == (["Bor"], BOR.text)
    [text] = tree["output"][-1]["content"]
    assert text["text"] == "Tamsin"
    assert [(note["type"], note["file_id"], note["filename"]) for note in text["annotations"]] == [
        ("file_citation", "p1", "Bor")
    ]
    assert tree["usage"]["output_tokens"] == chat(url).json()["usage"]["completion_tokens"]
    assert respond(url, [{"role": "user", "content": [{"type": "input_text", "text": QUESTION}]}]).json()["output"]


def test_a_streamed_response_ends_as_the_whole_one(url: str) -> None:
    events = data_of(respond(url, stream=True))
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    kinds = [event["type"] for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds.index("response.file_search_call.searching") < kinds.index("response.output_text.delta")
    assert kinds[-1] == "response.completed"
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert events[-1]["response"]["output"] == done

    def bare(tree: Any) -> Any:
        if isinstance(tree, dict):
            return {key: bare(value) for key, value in tree.items() if key not in ("id", "created_at")}
        return [bare(item) for item in tree] if isinstance(tree, list) else tree

    assert bare(events[-1]["response"]) == bare(respond(url).json())


def test_models_and_health(url: str) -> None:
    [model] = CLIENT.get(f"{url}/v1/models").json()["data"]
    assert model == CLIENT.get(f"{url}/v1/models/mine").json()
    assert CLIENT.get(f"{url}/v1/models/other").status_code == 404
    assert CLIENT.get(f"{url}/health").json() == {"status": "ok", "open": 0, "room": 3}


USER = {"role": "user", "content": "Where?"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[" * 100_000, 400),
        (b'{"model": "mine", "messages": [{"role": "user", "content": "\\ud800"}]}', 400),
        ({}, 400),
        ({"model": "other", "messages": [USER]}, 404),
        ({"model": "mine", "messages": []}, 400),
        ({"model": "mine", "messages": [USER] * 1001}, 400),
        ({"model": "mine", "messages": [USER, {"role": "assistant", "content": "There"}]}, 400),
        ({"model": "mine", "messages": [{"role": "user", "content": " "}]}, 400),
        ({"model": "mine", "messages": [{"role": "user", "content": None}]}, 400),
        ({"model": "mine", "messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400),
        ({"model": "mine", "messages": [{"role": "user", "content": "far " * 5000}]}, 400),
        ({"model": "mine", "messages": [USER], "temperature": -1}, 400),
        ({"model": "mine", "messages": [USER], "n": 2}, 400),
        ({"model": "mine", "messages": [USER], "tools": [{"type": "function"}]}, 400),
        ({"model": "mine", "messages": [USER], "stream": "sometimes"}, 400),
        (b" " * (2**20 + 1), 413),
    ],
)
def test_a_bad_request_is_refused_in_a_sentence_and_the_server_goes_on(url: str, body: Any, status: int) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    for path in ("chat/completions", "responses") if isinstance(body, bytes) else ("chat/completions",):
        response = CLIENT.post(f"{url}/v1/{path}", content=content)
        assert response.status_code == status
        assert 0 < len(response.json()["error"]["message"]) < 300
    assert chat(url).status_code == 200


def test_no_such_path_or_method(url: str) -> None:
    assert CLIENT.get(f"{url}/v1/embeddings").status_code == 404
    assert CLIENT.get(f"{url}/v1/responses").json()["error"]["type"] == "invalid_request_error"


def connected(url: str) -> socket.socket:
    place = urlsplit(url)
    return socket.create_connection((str(place.hostname), int(place.port or 0)), timeout=20)


def test_slow_senders_and_such_as_send_no_http_are_told(url: str) -> None:
    head = b"POST /v1/responses HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
    with connected(url) as slow, connected(url) as odd:
        slow.sendall(head + b'{"model"')
        odd.sendall(b"\x16\x03\x01 no HTTP\r\n\r\n")
        assert odd.recv(2**16).startswith(b"HTTP/1.1 400")
        assert slow.recv(2**16).startswith(b"HTTP/1.1 408")
    assert chat(url).status_code == 200


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.parametrize("stream", [False, True])
def test_who_goes_is_given_up_and_who_is_too_many_is_told(
    stream: bool, there: tuple[str, Questions], gate: Gate
) -> None:
    url, questions = there
    body = json.dumps({"model": "mine", "messages": [USER], "stream": stream}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    engine = questions.agent.stage.engine
    assert isinstance(engine, ScriptedEngine)
    gate.open.clear()
    try:
        with contextlib.ExitStack() as held:
            for _ in range(3):
                held.enter_context(connected(url)).sendall(head + body)
            until(lambda: questions.open == 3)
            refused = chat(url)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        until(lambda: questions.open == 0)
    finally:
        gate.open.set()
    assert chat(url).status_code == 200
    until(lambda: not engine.pending)


def test_a_search_that_fails_is_no_answer(tiny_chat: Chat) -> None:
    with served(agent_of(tiny_chat, Gate(), down=("Bor",))) as (url, questions):
        assert (chat(url).status_code, respond(url).status_code) == (502, 502)
        assert "the index is down" in chat(url, stream=True).text
        assert data_of(respond(url, stream=True))[-1]["type"] == "response.failed"
        assert questions.open == 0


def test_an_engine_that_dies_is_said_to_everyone(tiny_chat: Chat) -> None:
    def dies(request: Generate) -> str:
        raise EngineLost("no more power")

    with served(agent_of(tiny_chat, dies)) as (url, _):
        assert chat(url).status_code == 500
        for response in (chat(url), CLIENT.get(f"{url}/health")):
            assert response.status_code == 503
            assert "no more power" in response.json()["error"]["message"]


def test_an_answer_that_was_cut_says_so(tiny_chat: Chat) -> None:
    agent = agent_of(tiny_chat, lambda request: searching("Bor"))
    with served(agent) as (url, _):
        [choice] = chat(url).json()["choices"]
        assert (choice["finish_reason"], choice["message"]["content"]) == ("length", "")
        assert respond(url).json()["incomplete_details"] == {"reason": "max_output_tokens"}


@pytest.mark.slow
def test_many_at_once_are_answered_as_ask_answers() -> None:
    agent = load_agent("base", **{"engine.threads": 1, "engine.slots": 8})
    asked = [question.question for question in default_world().heldout[:4]]
    alone = [agent.ask(question).to_dict() for question in asked]
    drawn = agent.ask(asked[0], temperature=1.0, seed=7).to_dict()
    with served(agent) as (url, questions), ThreadPoolExecutor(len(asked)) as pool:
        plain = pool.map(lambda question: chat(url, question).json()["piplay"], asked)
        streamed = pool.map(lambda question: data_of(chat(url, question, stream=True))[-1]["piplay"], asked[:2])
        assert list(plain) == alone
        assert list(streamed) == alone[:2]
        same = pool.map(lambda _: chat(url, asked[0], temperature=1.0, seed=7).json()["piplay"], range(3))
        assert list(same) == [drawn] * 3
        assert questions.open == 0
        assert not agent.stage.engine._samplers  # type: ignore[attr-defined]


def test_a_question_joins_those_under_way(tiny_chat: Chat) -> None:
    """The second question's first turn is asked for while the first question's turn is being written."""
    asked: list[set[Any]] = []

    async def play() -> None:
        async def reply(question: str) -> str:
            ticket = questions.take(question)
            try:
                return [step async for step in ticket.steps()][-1].answer  # type: ignore[union-attr]
            finally:
                questions.leave(ticket)

        first = asyncio.create_task(reply("one"))
        await asyncio.sleep(0.1)
        second = asyncio.create_task(reply("two"))
        await asyncio.sleep(0.1)
        gate.open.set()
        assert [await first, await second] == ["Tamsin", "Tamsin"]

    gate = Gate()
    gate.open.clear()
    agent = agent_of(tiny_chat, gate)
    engine = agent.stage.engine
    assert isinstance(engine, ScriptedEngine)
    engine.choose = lambda requests: asked.append({request.key[2] for request in requests}) or requests[:1]  # type: ignore[func-returns-value]
    questions = Questions(agent, room=8)
    asyncio.run(play())
    questions.close()
    assert {1, 2} in asked
