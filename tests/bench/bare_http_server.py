"""The yardstick over HTTP: a bare server of the SDK whose one tool asks Keito for the same list, and returns it.

It listens on a free port and says its address on stdout. `BENCH_KEITO` is Keito's address.
"""

import os
import socket
import sys
from typing import Any

import httpx
import uvicorn
from mcp.server import MCPServer

mcp = MCPServer("bare", log_level="WARNING")
keito = httpx.AsyncClient(base_url=os.environ["BENCH_KEITO"], headers={"Authorization": "Bearer keito_sk_bench"})


@mcp.tool()
async def list_entries(limit: int = 50) -> dict[str, Any]:
    """Ask Keito for entries."""
    answer = await keito.get("/v1/time-entries", params={"source": "agent", "limit": str(limit)})
    page: dict[str, Any] = answer.raise_for_status().json()
    return page


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sys.stdout.write(f"listens on http://127.0.0.1:{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    server = uvicorn.Server(uvicorn.Config(mcp.streamable_http_app(), http="h11", log_level="warning"))
    server.run(sockets=[listener])
