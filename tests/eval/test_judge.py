"""The judge: checked in both orders, kept on disk, beside exact match and never in its place."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from piplay.cli.main import main
from piplay.errors import InputError, Unavailable
from piplay.eval import judge as room
from piplay.eval.judge import PAIRS, Judge
from piplay.eval.statistics import wilson

KNOWN = {frozenset((gold, answer)): same for _, gold, answer, same in PAIRS}


def sensible(question: str, first: str, second: str) -> str:
    """A judge that knows the fixed pairs, and takes others for the same where they share a word."""
    same = KNOWN.get(frozenset((first, second)), bool(set(first.lower().split()) & set(second.lower().split())))
    return "<think>no, wait</think>\nYes." if same else "no"


class Endpoint(ThreadingHTTPServer):
    """An OpenAI endpoint with one answer a pair."""

    def __init__(self, say: Callable[[str, str, str], str]) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.say, self.asked, self.status = say, 0, 200
        self.keys: set[str | None] = set()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Answer(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        assert (self.path, body["model"], body["temperature"]) == ("/v1/chat/completions", "wise", 0)
        found = re.match(r"Question: (.*)\nFirst answer: (.*)\nSecond answer: (.*)\n", body["messages"][0]["content"])
        assert found
        self.server.asked += 1
        self.server.keys.add(self.headers["authorization"])
        said = self.server.say(*found.groups())
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(json.dumps({"choices": [{"message": {"content": said}}]}).encode())

    def log_message(self, *told: object) -> None: ...


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., Endpoint]]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    started: list[Endpoint] = []

    def start(say: Callable[[str, str, str], str] = sensible) -> Endpoint:
        started.append(Endpoint(say))
        threading.Thread(target=started[-1].serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return started[-1]

    yield start
    for endpoint in started:
        endpoint.shutdown()
        endpoint.server_close()


ROWS: list[dict[str, Any]] = [
    {"question": "Where?", "golds": ["Bor"], "answer": "Bor", "em": 1.0},
    {"question": "Where?", "golds": ["Quil", "Bor"], "answer": "in Bor", "em": 0.0},
    {"question": "Where?", "golds": ["Bor"], "answer": "Quil", "em": 0.0},
    {"question": "Where?", "golds": ["Bor"], "answer": "", "em": 0.0},
]


def test_numbers_stand_beside_exact_match(serve: Callable[..., Endpoint]) -> None:
    numbers = Judge(serve().url, "wise").measure(ROWS)
    assert (numbers["n"], numbers["right"], numbers["agreement_with_em"]) == (4, 0.5, 0.75)
    assert (numbers["only_em"], numbers["only_judge"]) == (0, 1)
    assert numbers["interval"] == list(wilson(2, 4))


def test_what_it_said_is_not_asked_again(serve: Callable[..., Endpoint], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPLAY_JUDGE_KEY", "s3cret")
    endpoint = serve()
    first = Judge(endpoint.url, "wise").measure(ROWS)
    asked = endpoint.asked
    assert asked == 2 * len(PAIRS) + 4
    assert endpoint.keys == {"Bearer s3cret"}
    [file] = room.cache_folder().glob("judges/*.jsonl")
    file.write_text(file.read_text() + '{"asked": "cut o')
    assert Judge(endpoint.url, "wise").measure(ROWS) == first
    assert endpoint.asked == asked
    assert "s3cret" not in file.read_text()
    monkeypatch.setattr(room, "PROMPT", room.PROMPT + " Think.")
    assert Judge(endpoint.url, "wise").prompt != room.sha256(b"").hexdigest()
    assert endpoint.asked == asked + 2 * len(PAIRS)  # another prompt, another judge


@pytest.mark.parametrize(
    "say",
    [
        lambda question, first, second: "yes",
        lambda question, first, second: "",
        # By its place: the first answer has to be the gold.
        lambda question, first, second: sensible(question, first, second) if first in {p[1] for p in PAIRS} else "no",
    ],
)
def test_a_judge_that_goes_by_the_place_is_refused(serve: Callable[..., Endpoint], say: Any) -> None:
    with pytest.raises(InputError, match=r"is wrong on \d+ of 16 fixed pairs"):
        Judge(serve(say).url, "wise")


def test_a_judge_that_does_not_answer(serve: Callable[..., Endpoint]) -> None:
    endpoint = serve()
    endpoint.status = 500
    with pytest.raises(Unavailable, match=r"does not answer \(status 500\)"):
        Judge(endpoint.url, "wise")
    for url, model in (("here", "wise"), (endpoint.url, "")):
        with pytest.raises(InputError, match="--judge"):
            Judge(url, model)


@pytest.mark.slow
def test_eval_prints_and_keeps_its_agreement(
    serve: Callable[..., Endpoint], small_world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    endpoint, out = serve(), tmp_path / "out"
    command = ["eval", "--world", small_world, "--limit", "1", "--engine.threads", "1", "--judge", endpoint.url]
    assert main([*map(str, command), "--judge-model", "wise", "--out", str(out)]) == 0
    found = json.loads((out / "eval.json").read_text())["judge"]
    assert (found["model"], len(found["prompt_sha256"])) == ("wise", 64)
    assert found["base"]["n"] == 4
    told = " ".join(capsys.readouterr().out.split())
    assert f"agrees with exact match on {found['base']['agreement_with_em']:.3f}" in told
