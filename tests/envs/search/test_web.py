"""Web searchers against a local server that answers as theirs do: keys, rate, budget, what is kept."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from piplay.cli.main import main
from piplay.envs.search import web
from piplay.envs.search.environment import SearchEnvironment
from piplay.envs.search.question import Passage
from piplay.envs.search.web import Brave, SearXNG, Serper, Tavily, WebSearcher
from piplay.errors import InputError
from piplay.rollout.tools import ToolError

KEYED: list[type[WebSearcher]] = [Serper, Tavily, Brave]


def shapes(query: str, place: str) -> Any:
    """What each service answers, as its documentation has it."""
    hits = [{"title": f"{query} {i}", "url": f"http://x/{i}", "link": f"http://x/{i}"} for i in range(5)]
    for hit in hits:
        hit |= dict.fromkeys(("snippet", "content", "description"), f"about {query}")
    return {"organic": hits, "results": hits, "web": {"results": hits}}


class Web(ThreadingHTTPServer):
    """Notes what it is asked; answers with the next of ``statuses``, 200 when there is none."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.asked: list[tuple[float, str, str, dict[str, Any], dict[str, str]]] = []
        self.statuses: list[int] = []
        self.body: bytes | None = None


class _Answer(BaseHTTPRequestHandler):
    server: Web

    def do_GET(self) -> None:
        given = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        self._say(given)

    def do_POST(self) -> None:
        self._say(json.loads(self.rfile.read(int(self.headers["content-length"]))))

    def _say(self, given: dict[str, Any]) -> None:
        where = urlsplit(self.path).path
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.asked.append((time.monotonic(), self.command, where, given, headers))
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 200)
        self.end_headers()
        body = json.dumps(shapes(given.get("q") or given["query"], where)).encode()
        self.wfile.write(body if self.server.body is None else self.server.body)

    def log_message(self, *told: object) -> None: ...


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Web]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(web, "PAUSE", 0.01)
    with Web() as made:
        for kind in KEYED:
            monkeypatch.setattr(kind, "address", f"{made.url}/{kind.__name__}")
            monkeypatch.setenv(kind.key, "s3cret")
        threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield made
        made.shutdown()


def make(kind: type[WebSearcher], server: Web, **options: Any) -> WebSearcher:
    more = {"url": server.url} if kind is SearXNG else {}
    return kind((), **more, **{"rate": 1000.0, **options})


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*KEYED, SearXNG])
def test_each_service_is_asked_as_it_wants_and_once(kind: type[WebSearcher], server: Web) -> None:
    searcher = make(kind, server)
    found = searcher.search(["river", "", "town", "river"], 2)
    assert found[0] == [Passage(f"http://x/{i}", f"river {i}", "about river") for i in range(2)]
    assert (found[1], found[3], found[2][0].title) == ([], found[0], "town 0")
    assert len(server.asked) == 2
    _, _, _, given, headers = server.asked[0]
    told = {"Serper": headers.get("x-api-key"), "Brave": headers.get("x-subscription-token")}
    told["Tavily"] = headers.get("authorization", "").removeprefix("Bearer ")
    assert told.get(kind.__name__, "s3cret") == "s3cret"
    counts = {"Serper": "num", "Tavily": "max_results", "Brave": "count"}
    if kind is not SearXNG:
        assert int(given[counts[kind.__name__]]) == 2
    # What was told is kept on disk: another process is told the same, and asks for nothing.
    assert make(kind, server, budget=0).search(["town", "river"], 2) == [found[2], found[0]]
    assert len(server.asked) == 2


@pytest.mark.parametrize("kind", KEYED)
def test_a_missing_key_is_a_sentence(kind: type[WebSearcher], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(kind.key, raising=False)
    with pytest.raises(InputError, match=f"needs a key of yours: export {kind.key}$"):
        kind(())


def test_a_run_without_its_key_ends_before_it_begins(
    toy_recipe: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SERPER_API_KEY", raising=False)
    place = tmp_path / "run"
    assert main(["train", str(toy_recipe), "--run-dir", str(place), "--searcher", "web:Serper"]) == 2
    assert "export SERPER_API_KEY" in capfd.readouterr().err
    assert not place.exists()


def test_the_rate_and_the_budget_are_kept(server: Web) -> None:
    searcher = make(Serper, server, rate=20.0, budget=4)
    searcher.search([f"q{i}" for i in range(4)], 1)
    times = [asked[0] for asked in server.asked]
    assert times[-1] - times[0] > 0.1  # three pauses of 0.05 s, as the server sees them
    with pytest.raises(ToolError, match=r"budget of requests to .* is used up"):
        searcher.search(["one more"], 1)


def test_what_passes_is_asked_again_and_what_stays_is_a_sentence(server: Web) -> None:
    server.statuses = [500, 429]
    assert make(Serper, server).search(["river"], 1)[0]
    for status, sentence in ((401, "refuses the key in SERPER_API_KEY"), (400, "refuses a search: status 400")):
        server.statuses = [status]
        with pytest.raises(ToolError, match=sentence) as caught:
            make(Serper, server).search([f"status {status}"], 1)
        assert "s3cret" not in str(caught.value)
    server.statuses = [503] * 2
    with pytest.raises(ToolError, match=r"does not answer \(status 503\), asked 2 times"):
        make(Serper, server, tries=2).search(["gone"], 1)
    server.body = b'{"results": 3}'
    with pytest.raises(ToolError, match="no result of a search"):
        make(Tavily, server).search(["odd"], 1)


def test_such_a_run_cannot_be_repeated(server: Web, towns: Path) -> None:
    assert SearchEnvironment(corpus=towns).repeatable
    assert not SearchEnvironment(corpus=towns, searcher="web:Serper").repeatable


@pytest.mark.parametrize("options", [{"rate": 0.0}, {"budget": -1}, {"timeout": 0.0}, {"tries": 0}])
def test_options_out_of_range_are_refused(server: Web, options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="a web search has"):
        make(Serper, server, **options)
    with pytest.raises(InputError, match="the url of web:SearXNG"):
        SearXNG((), url="here")
