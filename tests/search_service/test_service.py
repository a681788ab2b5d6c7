"""The service over sockets: the contract of Search-R1's clients, batches, limits, and requests that are wrong."""

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from toys.services import serving

from piplay.cli.main import main
from piplay.envs.search.bm25 import BM25Searcher
from piplay.envs.search.corpus import read_corpus
from piplay.envs.search.folder import SearchIndex, open_index
from piplay.envs.search.searcher import Hit
from piplay.search_service.app import make_app
from piplay.search_service.batching import Batcher, QueueFullError

CLIENT = httpx.Client(trust_env=False, timeout=60)


@pytest.fixture(scope="module")
def index(towns: Path) -> SearchIndex:
    return open_index(towns)


@pytest.fixture(scope="module")
def url(index: SearchIndex) -> Iterator[str]:
    with serving(make_app(index, topk=3, seconds=0.5)) as address:
        yield address


def post(url: str, body: Any, **more: Any) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return CLIENT.post(f"{url}/retrieve", content=content, **more)


def test_the_contract_of_search_r1(url: str, towns: Path) -> None:
    queries = ["river R7", "Town 3", ""]
    local = BM25Searcher(read_corpus(towns)).search(queries, 2)
    result = post(url, {"queries": queries, "topk": 2, "return_scores": True}).json()["result"]
    for found, passages in zip(result, local, strict=True):
        assert [hit["document"]["id"] for hit in found] == [passage.id for passage in passages]
        for hit, passage in zip(found, passages, strict=True):
            # As its clients show a passage: the first line of its contents is the title, the others are the text.
            title, *text = hit["document"]["contents"].split("\n")
            assert (title, "\n".join(text)) == (f'"{passage.title}"', passage.text)
            assert (hit["document"]["title"], hit["document"]["text"]) == (passage.title, passage.text)
            assert isinstance(hit["score"], float)
    bare = post(url, {"queries": queries, "topk": 2}).json()["result"]
    assert bare == [[hit["document"] for hit in found] for found in result]


@pytest.mark.parametrize(
    ("counts", "k"),
    [({}, 3), ({"topk": None}, 3), ({"topk_retrieval": 5}, 5), ({"topk_retrieval": 5, "topk_rerank": 2}, 2)],
)
def test_how_many_are_found(url: str, counts: dict[str, Any], k: int) -> None:
    [found] = post(url, {"queries": ["town"], **counts}).json()["result"]
    assert len(found) == k


def test_health_and_info(url: str, index: SearchIndex) -> None:
    assert CLIENT.get(f"{url}/health").json() == {"status": "ok", "waiting": 0}
    info = CLIENT.get(f"{url}/info").json()
    assert (info["index"], info["passages"], info["topk"]) == (index.about["index"], 40, 3)
    assert post(url, {"queries": []}).headers["piplay-index"] == info["index"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 422),
        (b'{"queries": ["\xff"]}', 422),
        (b'{"queries": ["\\ud800"]}', 422),
        (b"[" * 100_000, 422),
        (b'{"queries": ["a"], "topk": 1' + b"0" * 5000 + b"}", 422),
        (b'{"queries": ["a"], "topk": NaN}', 422),
        ({}, 422),
        ({"queries": "river"}, 422),
        ({"queries": [None]}, 422),
        ({"queries": ["a"], "topk": 0}, 422),
        ({"queries": ["a"], "topk": 10**6}, 422),
        ({"queries": ["a" * 70_000]}, 422),
        ({"queries": ["a"] * 4097}, 413),
        ({"queries": ["a"] * 4000, "topk": 100}, 413),
        (b" " * (16 * 2**20 + 1), 413),
    ],
)
def test_a_bad_request_is_refused_in_a_sentence_and_the_server_goes_on(url: str, body: Any, status: int) -> None:
    response = post(url, body)
    assert response.status_code == status
    assert isinstance(response.json()["detail"], str)
    assert len(response.text) < 300
    assert post(url, {"queries": ["river R7"]}).status_code == 200


def test_as_many_queries_as_allowed_are_answered(url: str) -> None:
    assert len(post(url, {"queries": [f"R{i}" for i in range(4096)], "topk": 1}).json()["result"]) == 4096


def raw(url: str, *parts: bytes, pause: float = 0) -> bytes:
    """What comes back for bytes that are sent as they are."""
    place = urlsplit(url)
    with socket.create_connection((str(place.hostname), int(place.port or 0)), timeout=20) as sent:
        for part in parts:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                sent.sendall(part)
            time.sleep(pause)
        return sent.recv(2**16)


@pytest.mark.slow
def test_slow_and_broken_senders_do_not_hold_the_others_up(url: str) -> None:
    head = b"POST /retrieve HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
    chunked = b"POST /retrieve HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with ThreadPoolExecutor(4) as pool:
        slow = [
            pool.submit(raw, url, head, b'{"queries"'),
            pool.submit(raw, url, chunked, *[b"1\r\n \r\n"] * 8, pause=0.1),
        ]
        assert post(url, {"queries": ["river R7"]}).status_code == 200
        assert all(answer.result().startswith(b"HTTP/1.1 408") for answer in slow)
    assert raw(url, b"\x16\x03\x01 no HTTP\r\n\r\n").startswith(b"HTTP/1.1 400")
    assert raw(url, b"GET /" + b"a" * 100_000).startswith(b"HTTP/1.1 4")
    place = urlsplit(url)
    with socket.create_connection((str(place.hostname), int(place.port or 0))) as gone:
        gone.sendall(head)  # and hangs up
    assert CLIENT.get(f"{url}/retrieve").status_code == 405
    assert CLIENT.get(f"{url}/nothing").status_code == 404
    assert post(url, {"queries": ["river R7"]}).status_code == 200


class Counted:
    """A ranking that counts its batches and waits to be let go."""

    def __init__(self) -> None:
        self.batches: list[tuple[list[str], int]] = []
        self.go = threading.Event()
        self.go.set()

    def rank(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        self.batches.append((list(queries), k))
        assert self.go.wait(20)
        if "bad" in queries:
            raise RuntimeError("cannot be ranked")
        return [[(len(query), float(k))] for query in queries]


def test_requests_that_come_together_share_a_batch_and_are_remembered() -> None:
    counted = Counted()

    async def play() -> None:
        batcher = Batcher(counted.rank, window=0.05, kept=3)
        found = await asyncio.gather(*[batcher.ranked(["a", f"{i}" * i], 2) for i in range(2, 5)])
        assert found == [[[(1, 2.0)], [(i, 2.0)]] for i in range(2, 5)]
        assert counted.batches == [(["a", "22", "333", "4444"], 2)]
        await batcher.ranked(["4444", "333"], 2)
        assert len(counted.batches) == 1
        await batcher.ranked(["a"], 2)  # the least lately used of four, of which three are kept
        await batcher.ranked(["4444"], 1)  # another k is another question
        assert counted.batches[1:] == [(["a"], 2), (["4444"], 1)]
        assert batcher.waiting == 0

    asyncio.run(play())


def test_a_batch_that_fails_fails_its_requests_and_no_other() -> None:
    counted = Counted()

    async def play() -> None:
        batcher = Batcher(counted.rank)
        with pytest.raises(RuntimeError, match="cannot be ranked"):
            await batcher.ranked(["bad"], 1)
        assert await batcher.ranked(["good"], 1) == [[(4, 1.0)]]

    asyncio.run(play())


def test_a_full_queue_turns_requests_away_until_it_is_not() -> None:
    counted = Counted()

    async def play() -> None:
        batcher = Batcher(counted.rank, room=3)
        counted.go.clear()
        first = asyncio.create_task(batcher.ranked(["a", "b"], 1))
        await asyncio.sleep(0.1)
        with pytest.raises(QueueFullError):
            await batcher.ranked(["c", "d"], 1)
        second = asyncio.create_task(batcher.ranked(["c"], 1))
        await asyncio.sleep(0)
        counted.go.set()
        await asyncio.gather(first, second)
        assert await batcher.ranked(["c", "d", "e", "f"], 1)  # more than there is room, with nobody waiting

    asyncio.run(play())


def test_a_full_queue_is_503_and_a_failing_search_500(index: SearchIndex) -> None:
    counted = Counted()
    with serving(make_app(index, 3, Batcher(counted.rank, room=1))) as url, ThreadPoolExecutor(1) as pool:
        counted.go.clear()
        waiting = pool.submit(post, url, {"queries": ["a"]})
        while not counted.batches:
            time.sleep(0.01)
        full = post(url, {"queries": ["b"]})
        assert (full.status_code, full.headers["retry-after"]) == (503, "1")
        counted.go.set()
        assert waiting.result().status_code == 200
        assert post(url, {"queries": ["bad"]}).status_code == 500
        assert post(url, {"queries": ["b"]}).status_code == 200


def test_many_clients_at_once_get_what_one_gets(url: str, towns: Path) -> None:
    local = BM25Searcher(read_corpus(towns))

    def ask(client: int) -> bool:
        queries = [f"river R{(client * 7 + i) % 40} town {i % 8}" for i in range(20)]
        result = post(url, {"queries": queries, "topk": 3}).json()["result"]
        expected = local.search(queries, 3)
        return [[d["id"] for d in found] for found in result] == [[p.id for p in found] for found in expected]

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(ask, range(32)))


@pytest.mark.slow
def test_the_command_serves_until_it_is_interrupted(towns: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-m", "piplay", "search", "serve", str(towns), "--port", "0"]
    # Where the tests run in the background a child would inherit that interrupts are ignored.
    usual = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=usual
    ) as served:
        assert served.stdout is not None
        assert served.stderr is not None
        url = served.stdout.readline().split(" at ")[1].split("/retrieve")[0]
        assert main(["search", "ask", url, "river R7", "--topk", "1"]) == 0
        assert "lies on the river R7." in capsys.readouterr().out
        assert main(["search", "serve", str(towns), "--port", url.rpartition(":")[2]]) == 2
        assert "cannot be listened on" in capsys.readouterr().err
        served.send_signal(signal.SIGINT)
        assert served.wait(30) == 130
        assert served.stderr.read() == "piplay: interrupted\n"
    assert main(["search", "ask", url, "river"]) == 2
    assert "does not answer" in capsys.readouterr().err
