"""The server over HTTP on a socket of this machine, and clients that connect to it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import httpx2
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import Implementation

from keito_mcp.server.server import KeitoServer
from keito_mcp.transports.access import Access
from keito_mcp.transports.edges import Edges
from keito_mcp.transports.http import serve_http
from tests.kit import Agent, until
from tests.processes import LEGACY, PATIENCE


@asynccontextmanager
async def streamable_http(url: str, headers: dict[str, str] | None) -> AsyncIterator[Any]:
    async with (
        httpx2.AsyncClient(headers=headers, timeout=PATIENCE, trust_env=False) as http,
        streamable_http_client(f"{url}/mcp", http_client=http) as streams,
    ):
        yield streams


TRANSPORTS: dict[str, Callable[..., Any]] = {
    "http": streamable_http,
    "sse": lambda url, headers: sse_client(f"{url}/sse", headers=headers),
}
GREETING = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}},
}
ACCEPT = {"Accept": "application/json, text/event-stream"}


@asynccontextmanager
async def serving(
    server: KeitoServer, host: str = "127.0.0.1", *, access: Access | None = None, edges: Edges | None = None
) -> AsyncIterator[str]:
    """The server on a socket of this machine."""
    urls: list[str] = []
    async with anyio.create_task_group() as tasks:

        async def serve() -> None:
            await serve_http(server, host=host, port=0, on_ready=urls.append, access=access, edges=edges)

        tasks.start_soon(serve)
        await until(lambda: urls)
        yield urls[0]
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def connected(
    url: str,
    transport: str,
    mode: str = "legacy",
    name: str = "claude-code",
    headers: dict[str, str] | None = None,
) -> AsyncIterator[Agent]:
    info = Implementation(name=name, version="2.1.330")
    async with Client(
        TRANSPORTS[transport](url, headers), mode=mode, client_info=info, read_timeout_seconds=PATIENCE
    ) as client:
        yield Agent(client)


def raw(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, headers=ACCEPT, timeout=PATIENCE, trust_env=False)
