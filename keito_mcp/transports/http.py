"""Streamable HTTP and SSE in one ASGI app, on a socket."""

from __future__ import annotations

import logging
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import uvicorn
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette

from keito_mcp.config import is_loopback
from keito_mcp.transports.ending import end_within

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from types import FrameType

    from keito_mcp.server import KeitoServer

HTTP_PATH = "/mcp"
SSE_PATH = "/sse"
MESSAGES_PATH = "/messages/"

_AFTER_SIGTERM = 3
"""Seconds that calls in flight have once the server is told to stop."""

_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")


class NotLoopback(Exception):
    """An address was asked for that other machines can reach."""


def http_app(server: KeitoServer) -> Starlette:
    """Streamable HTTP and SSE in one ASGI app, for callers on this machine.

    The SDK checks the Host and Origin of each request, so that no web page can reach it through a browser.
    """
    security = TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=[spelling for name in _LOOPBACK_NAMES for spelling in (name, f"{name}:*")],
        allowed_origins=[f"http://{name}{port}" for name in _LOOPBACK_NAMES for port in ("", ":*")],
    )
    http = server.streamable_http_app(streamable_http_path=HTTP_PATH, transport_security=security)
    sse = server.sse_app(sse_path=SSE_PATH, message_path=MESSAGES_PATH, transport_security=security)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks, server.session_manager.run():
            tasks.start_soon(server.runtime.work_in_background)
            yield
            tasks.cancel_scope.cancel()
        await server.runtime.aclose()

    return Starlette(routes=[*http.routes, *sse.routes], lifespan=lifespan)


async def serve_http(server: KeitoServer, *, host: str, port: int, on_ready: Callable[[str], None]) -> None:
    """Serve HTTP and SSE until cancelled or told to stop by a signal.

    Args:
        server: What is served.
        host: A loopback address.
        port: A port, or 0 for any that is free.
        on_ready: Told the address, such as `http://127.0.0.1:8787`, once connections are taken.

    Raises:
        NotLoopback: The address can be reached from other machines, and callers can't be told apart yet.
        OSError: The address can't be listened on.
    """
    listener = _listen(host, port)
    with listener:
        name, bound, *_ = listener.getsockname()
        on_ready(f"http://[{name}]:{bound}" if ":" in name else f"http://{name}:{bound}")
        await _http_server(http_app(server)).serve(sockets=[listener])


def _http_server(app: Starlette) -> uvicorn.Server:
    class CrashOnlyServer(uvicorn.Server):
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            """Take no new calls, and give those in flight their time; what is left is in the journal."""
            # Streams that are cut off now are no errors that anyone should read of.
            logging.getLogger("uvicorn.error").disabled = True
            end_within(_AFTER_SIGTERM)
            super().handle_exit(sig, frame)

    return CrashOnlyServer(
        uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=_AFTER_SIGTERM)
    )


def _listen(host: str, port: int) -> socket.socket:
    if not is_loopback(host):
        raise NotLoopback(
            f"keito-mcp serves on a loopback address only (127.0.0.1, localhost or ::1), not {host}: "
            "it can't tell callers apart, so whoever reached it would write under your key."
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family)
    # asyncio does this only for sockets that it makes itself; without it each answer waits 40 ms for Nagle.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
