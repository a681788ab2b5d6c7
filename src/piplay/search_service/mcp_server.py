"""An index behind MCP: the tools ``search`` and ``fetch``, for agents that speak that protocol (extra ``mcp``)."""

from __future__ import annotations

from typing import Annotated, Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from piplay.envs.search.folder import SearchIndex
from piplay.search_service.batching import Batcher, QueueFullError

CHARACTERS = 65_536
"""Of a query or an id."""
TOP_K = 1000

SAYS = "Search a corpus, and fetch its passages by id."

Query = Annotated[str, Field(max_length=CHARACTERS, description="What to look for.")]
Count = Annotated[int, Field(ge=1, le=TOP_K, description="How many passages.")]
Id = Annotated[str, Field(max_length=CHARACTERS, description="A passage's id, as search gives it.")]


def make_server(index: SearchIndex, topk: int) -> MCPServer[Any]:
    """The server over an index; ``topk``: passages a query, where a client does not say."""
    server: MCPServer[Any] = MCPServer("piplay search", log_level="WARNING", instructions=SAYS)
    passages, batcher = index.searcher.passages, Batcher(index.searcher.ranked)
    places: dict[str, int] = {}

    async def search(query: Query, topk: Count = topk) -> dict[str, Any]:
        """Finds passages about a query, best first."""
        try:
            [hits] = await batcher.ranked([query], topk)
        except QueueFullError:
            raise ToolError("the queue is full: search again later") from None
        return {"results": [_shown(passages[i]) | {"score": score} for i, score in hits]}

    async def fetch(id: Id) -> dict[str, Any]:
        """A passage by its id."""
        if not places:
            places.update({passage.id: i for i, passage in enumerate(passages)})
        if id not in places:
            raise ToolError(f"there is no passage {id[:100]!r}: take an id that search gave")
        return _shown(passages[places[id]])

    server.add_tool(search)
    server.add_tool(fetch)
    return server


def _shown(passage: Any) -> dict[str, Any]:
    return {"id": passage.id, "title": passage.title, "text": passage.text}
