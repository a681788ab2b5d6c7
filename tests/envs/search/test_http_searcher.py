"""The searcher over HTTP: the local searcher's passages, retries, what is kept, and which index it takes."""

import itertools
import json
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from toys.searching_runs import SMALL, bits, timeless
from toys.services import Scripted, free_port, serving

from piplay.cli.main import main
from piplay.envs.search.answers import Answers
from piplay.envs.search.bm25 import BM25Searcher
from piplay.envs.search.corpus import read_corpus
from piplay.envs.search.environment import SearchEnvironment
from piplay.envs.search.folder import open_index
from piplay.envs.search.http import HTTPSearcher
from piplay.envs.search.question import Passage
from piplay.errors import InputError, InputWarning
from piplay.rollout.tools import ToolError
from piplay.search_service.app import make_app
from piplay.training.run_directory import Run

ANSWER = (200, json.dumps({"result": [[{"document": {"id": "1", "contents": '"Bor"\nA town.'}, "score": 1}]]}).encode())


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "piplay"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("piplay.envs.search.http.PAUSE", 0.001)


@pytest.fixture(scope="module")
def url(towns: Path) -> Iterator[str]:
    with serving(make_app(open_index(towns), topk=1)) as address:
        yield address


def test_it_finds_what_the_index_finds_in_any_batches(url: str, towns: Path) -> None:
    queries = [f"river R{i} town {i % 8}" for i in range(40)] + ["", "R3", "R3", "unheard", "Ünïcode 漢字 \0"]
    expected = BM25Searcher(read_corpus(towns)).search(queries, 3)
    for options in ({}, {"batch": 4, "in_flight": 3}):
        searcher = HTTPSearcher((), url=f"{url}/retrieve", **options)
        searcher._kept = None
        assert searcher.search(queries, 3) == expected
    with pytest.raises(ValueError, match="at least 1"):
        searcher.search(["a"], 0)
    assert searcher.search([], 3) == []


def test_each_query_is_asked_once_in_batches_and_kept(quick: None) -> None:
    with Scripted([(200, b'{"result": [[], []]}')]) as service:
        searcher = HTTPSearcher((), url=service.url, batch=2)
        assert searcher.search(["a", "b", "a", "c", "d"], 3) == [[]] * 5
        asked = [json.loads(body) for body in service.bodies]
        assert sorted(body["queries"] for body in asked) == [["a", "b"], ["c", "d"]]
        assert all(body["topk"] == 3 and body["return_scores"] is True for body in asked)
        again = HTTPSearcher((), url=service.url)
        assert again.search(["d", "a"], 3) == [[], []]
        assert len(service.bodies) == 2
        again.search(["a", "b"], 2)  # of another k nothing is known
        assert len(service.bodies) == 3


def test_what_was_found_is_found_without_the_service(url: str, towns: Path) -> None:
    first = HTTPSearcher((), url=url)
    expected = first.search(["river R7", "Town 3"], 2)
    again = HTTPSearcher((), url=url)
    again._base = "http://127.0.0.1:1"  # nobody is there
    again._tries = 1
    assert again.search(["Town 3", "river R7"], 2) == expected[::-1]
    with pytest.raises(ToolError):
        again.search(["new"], 2)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_may_pass_is_tried_again(quick: None, status: int) -> None:
    with Scripted([(status, b"")] * 4 + [ANSWER]) as service:
        assert HTTPSearcher((), url=service.url).search(["a"], 1) == [[Passage("1", "Bor", "A town.")]]
        assert len(service.bodies) == 5


def test_after_five_tries_the_address_and_the_reason_are_said(quick: None) -> None:
    with Scripted([(503, b'{"detail": "the queue is full"}')]) as service:
        searcher = HTTPSearcher((), url=service.url)
        with pytest.raises(ToolError, match=rf"{service.url}/retrieve .*status 503: the queue is full.* 5 times"):
            searcher.search(["a"], 1)
        assert len(service.bodies) == 5
        for query in "bcd":  # as a tool is asked once a batch has failed: not five times again
            with pytest.raises(ToolError):
                searcher.search([query], 1)
        assert len(service.bodies) == 8
        service.script = [ANSWER]
        searcher.search(["a"], 1)
        service.script = [(503, b"")]
        with pytest.raises(ToolError):
            searcher.search(["b"], 1)
        assert len(service.bodies) == 9 + 5


@pytest.mark.slow
def test_the_pauses_are_half_a_second_doubled_each_time() -> None:
    with Scripted([(503, b"")] * 2 + [ANSWER]) as service:
        HTTPSearcher((), url=service.url).search(["a"], 1)
        pauses = [after - before for before, after in itertools.pairwise(service.times)]
    for pause, usual in zip(pauses, (0.5, 1.0), strict=True):
        assert 0.75 * usual <= pause <= 1.25 * usual + 0.5  # a busy machine is late


@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_what_will_not_pass_is_not_tried_again(status: int) -> None:
    with Scripted([(status, b'{"detail": "too much"}')]) as service:
        with pytest.raises(ToolError, match=f"status {status}: too much"):
            HTTPSearcher((), url=service.url).search(["a"], 1)
        assert len(service.bodies) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b'{"result": 1}', b'{"result": []}', b'{"result": [[1]]}', b'{"result": [[{"id": "1"}]]}'],
)
def test_an_answer_that_is_none_fails_the_tool(body: bytes) -> None:
    with Scripted([(200, body)]) as service, pytest.raises(ToolError, match=service.url):
        HTTPSearcher((), url=service.url).search(["a"], 1)


@pytest.mark.parametrize(
    "document",
    [
        {"document": {"id": "1", "title": "Bor", "text": "A town.", "contents": "other"}, "score": 0.5},
        {"document": {"id": 1, "contents": '"Bor"\nA town.'}, "score": 0.5},
        {"id": "1", "contents": "Bor\nA town."},
        {"document": {"id": "1", "title": "Bor", "contents": '"Bor"\nA town.'}},
        "Bor\nA town.",
        {"document": "Bor\nA town."},
    ],
)
def test_documents_as_services_give_them(document: Any) -> None:
    with Scripted([(200, json.dumps({"result": [[document] * 3]}).encode())]) as service:
        [[passage, _]] = HTTPSearcher((), url=service.url).search(["a"], 2)
    assert (passage.title, passage.text) == ("Bor", "A town.")
    assert isinstance(document, str) or isinstance(document.get("document"), str) or passage.id == "1"


def test_a_service_without_info_is_taken_with_a_warning_and_nothing_is_kept(cache: Path) -> None:
    with Scripted([ANSWER], info=None) as service:
        with pytest.warns(InputWarning, match="cannot be noticed"):
            searcher = HTTPSearcher((), url=service.url)
        searcher.search(["a"], 1)
        searcher.search(["a"], 1)
        assert len(service.bodies) == 2
        with pytest.raises(InputError, match="the run began with abc"):
            HTTPSearcher((), url=service.url, index="abc")
    assert not cache.exists()


def test_another_index_is_refused_at_the_start_and_while_it_answers(url: str) -> None:
    with pytest.raises(InputError, match="the run began with abc"):
        HTTPSearcher((), url=url, index="abc")
    with Scripted([ANSWER]) as service:
        searcher = HTTPSearcher((), url=service.url, index="abc")
        searcher._base = url  # as a service that was started again on something else
        with pytest.raises(InputError, match="the run began with abc"):
            searcher.search(["a"], 1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "needs the option 'url'"),
        ({"url": "127.0.0.1:8000"}, "give one as http"),
        ({"url": "http://:80"}, "give one as http"),
        ({"url": "http://x:99999"}, "give one as http"),
        ({"url": "http://127.0.0.1:1", "tries": 1}, "does not answer .*piplay search serve"),
        ({"url": "http://127.0.0.1:1", "tries": 0}, "tries is 0"),
        ({"url": "http://127.0.0.1:1", "timeout": 0.0}, "timeout is 0"),
        ({"url": "http://127.0.0.1:1", "batch": "x"}, "batch"),
        ({"uri": "http://127.0.0.1:1"}, "no option 'uri'.*did you mean 'url'"),
    ],
)
def test_wrong_options_are_one_sentence(towns: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        SearchEnvironment(corpus=towns, searcher="http:HTTPSearcher", searcher_options=options)


def test_a_damaged_cache_is_one_sentence(url: str, cache: Path) -> None:
    kept = HTTPSearcher((), url=url)._kept
    assert kept is not None
    kept.file.write_bytes(b"no database at all, but long enough to be read as one" * 100)
    with pytest.raises(InputError, match="remove it where it is damaged"):
        HTTPSearcher((), url=url).search(["a"], 1)


@pytest.mark.long
@pytest.mark.slow
def test_a_run_over_http_is_the_local_run_to_the_bit_and_so_is_one_that_resumes(
    small_world: Path, towns: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    local, remote = tmp_path / "local", tmp_path / "remote"
    url = f"http://127.0.0.1:{port}"
    command = ["train", "smoke", "--world", str(small_world), *SMALL.split(), "--run-dir"]
    over = ["--environment.searcher", "http:HTTPSearcher", "--environment.searcher_options.url", url]
    assert main([*command, str(local)]) == 0
    served = open_index(small_world)
    index = served.about["index"]
    with serving(make_app(served, topk=3), port):
        assert main([*command, str(remote), *over]) == 0
    assert bits(remote) == bits(local)
    assert timeless(remote) == timeless(local)
    assert Run.open(remote).config.environment.options["searcher_options"] == {"url": url, "index": index}
    with sqlite3.connect(Answers(index).file) as kept:
        assert kept.execute("SELECT COUNT(*) FROM answers").fetchone()[0] > 20

    # It goes on with no other index, and with the same one without a search: all that it finds is kept.
    (remote / "summary.json").unlink()
    shutil.rmtree(max((remote / "checkpoints").iterdir(), key=lambda path: int(path.name)))
    capsys.readouterr()
    with serving(make_app(open_index(towns), topk=3), port):
        assert main(["resume", str(remote)]) == 2
    assert f"the run began with {index}" in capsys.readouterr().err
    with Scripted([(422, b"")], json.dumps({"index": index}).encode(), port) as service:
        assert main(["resume", str(remote)]) == 0
        assert service.bodies == []
    assert bits(remote) == bits(local)
    assert timeless(remote) == timeless(local)


def test_a_failed_batch_gives_up_the_others() -> None:
    with Scripted([(422, b""), (503, b"")]) as service:
        searcher = HTTPSearcher((), url=service.url, batch=1, in_flight=1)
        started = time.monotonic()
        with pytest.raises(ToolError, match="422"):
            searcher.search(["a", "b", "c"], 1)
        assert time.monotonic() - started < 5
        searcher._pool.shutdown()  # what still waits to try again is told, and ends
        assert time.monotonic() - started < 5
