"""MCP on both sides, in one process; left out where the extra ``mcp`` is not installed (``make test-clients``)."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from piplay.envs.search import mcp as client_side
from piplay.envs.search.bm25 import BM25Searcher
from piplay.envs.search.corpus import read_corpus
from piplay.envs.search.folder import open_index
from piplay.envs.search.mcp import MCPSearcher
from piplay.envs.search.question import Passage
from piplay.errors import InputError, InputWarning
from piplay.registry import package_alone
from piplay.rollout.tools import ToolError


@pytest.fixture
def server(towns: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("mcp")
    from piplay.search_service.mcp_server import make_server

    made = make_server(open_index(towns), topk=3)
    monkeypatch.setattr(client_side, "_target", lambda url, command: made)
    return made


def searcher(**options: Any) -> MCPSearcher:
    with pytest.warns(InputWarning, match="does not name its index"):
        return MCPSearcher((), url="http://127.0.0.1:9/mcp", **options)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_it_finds_what_the_index_finds(server: Any, towns: Path) -> None:
    queries = ["river R7", "Town 3", "", "river R7"]
    local = BM25Searcher(read_corpus(towns)).search(queries, 2)
    mine = searcher()
    assert mine.search(queries, 2) == local
    assert mine.search(queries[:1], 1) == [local[0][:1]]
    assert not mine.repeatable


def test_a_passage_is_fetched_by_its_id(server: Any, towns: Path) -> None:
    from mcp import Client

    async def asked() -> tuple[Any, ...]:
        async with Client(server) as client:
            tools = sorted(tool.name for tool in (await client.list_tools()).tools)
            [hit] = (await client.call_tool("search", {"query": "river R7", "topk": 1})).structured_content["results"]
            fetched = await client.call_tool("fetch", {"id": hit["id"]})
            bad = [await client.call_tool("fetch", {"id": "nowhere"}), await client.call_tool("search", {"topk": 0})]
            return tools, hit, fetched.structured_content, [one.is_error for one in bad]

    tools, hit, fetched, bad = asyncio.run(asked())
    assert (tools, bad) == (["fetch", "search"], [True, True])
    assert Passage(fetched["id"], fetched["title"], fetched["text"]) in list(read_corpus(towns))
    assert {name: hit[name] for name in fetched} == fetched


def test_other_tools_and_other_results(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mcp")
    from mcp.server.mcpserver import MCPServer

    other: MCPServer[Any] = MCPServer("other")

    @other.tool()
    def look(q: str) -> dict[str, Any]:
        return {"data": {"hits": [{"contents": f"{q}\nIt is here."}]}}

    @other.tool(structured_output=False)
    def say(q: str) -> str:
        return f"All about {q}."

    @other.tool()
    def fail(q: str) -> str:
        raise RuntimeError("no more")

    monkeypatch.setattr(client_side, "_target", lambda url, command: other)
    options: dict[str, Any] = {"query": "q", "count": ""}
    [[hit]] = searcher(tool="look", result="data.hits", **options).search(["Bor"], 3)
    assert (hit.title, hit.text) == ("Bor", "It is here.")
    [[said]] = searcher(tool="say", result="", **options).search(["Bor"], 3)
    assert said.text == "All about Bor."
    for tool, result, sentence in (
        ("fail", "", "fails: "),
        ("look", "nothing", "has no passages at nothing"),
        ("say", "results", "answers with no data"),
    ):
        with pytest.raises(ToolError, match=sentence):
            searcher(tool=tool, result=result, **options).search(["Bor"], 1)
    with pytest.raises(InputError, match="has no tool 'find': it has look, say, fail"):
        MCPSearcher((), url="http://127.0.0.1:9/mcp", tool="find")


def test_a_server_that_is_not_there() -> None:
    pytest.importorskip("mcp")
    with pytest.raises(InputError, match="does not answer"):
        MCPSearcher((), url="http://127.0.0.1:9/mcp", timeout=5)
    with pytest.raises(InputError, match="does not answer"):
        MCPSearcher((), command=(sys.executable, "-c", "raise SystemExit"), timeout=5)


def test_a_program_of_somebody_elses_run_is_not_started(tmp_path: Path) -> None:
    command = (sys.executable, "-c", f"open({str(tmp_path / 'ran')!r}, 'w')")
    with package_alone(), pytest.raises(InputError, match="--trust"):
        MCPSearcher((), command=command)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("options", [{}, {"url": "http://x", "command": ("y",)}, {"url": "here"}])
def test_one_server_is_named(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="mcp:MCPSearcher"):
        MCPSearcher((), **options)
