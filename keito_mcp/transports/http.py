"""Streamable HTTP and SSE in one ASGI app, on a socket."""

from __future__ import annotations

import logging
import signal
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from keito_mcp.journal import JournalError
from keito_mcp.settings.config import SettingsError
from keito_mcp.transports.access import Access
from keito_mcp.transports.edges import Edges, PatientProtocol
from keito_mcp.transports.ending import end_within
from keito_mcp.transports.gate import HTTP_PATH, MESSAGES_PATH, SSE_PATH, Gate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from types import FrameType

    from anyio.abc import TaskStatus
    from starlette.requests import Request
    from starlette.types import ASGIApp

    from keito_mcp.runtime import Runtime
    from keito_mcp.server.server import KeitoServer

_AFTER_SIGTERM = 3
"""Seconds that calls in flight have once the server is told to stop."""

_log = logging.getLogger(__name__)


def http_app(server: KeitoServer, access: Access | None = None, edges: Edges | None = None) -> Gate:
    """Streamable HTTP and SSE in one ASGI app, and what a load balancer asks.

    Args:
        server: What is served.
        access: Who may connect; everybody who reaches it by default.
        edges: How far it opens itself; to this machine by default.
    """
    access, edges = access or Access(), edges or Edges()
    http = server.streamable_http_app(
        streamable_http_path=HTTP_PATH,
        transport_security=edges.security,
        max_request_body_size=edges.body_limit,
        max_sessions=edges.most_sessions,
        session_idle_timeout=edges.idle,
    )
    sse = server.sse_app(
        sse_path=SSE_PATH,
        message_path=MESSAGES_PATH,
        transport_security=edges.security,
        max_request_body_size=edges.body_limit,
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks, server.session_manager.run():
            tasks.start_soon(server.runtime.work_in_background)
            if access.tokens is not None and hasattr(signal, "SIGHUP"):
                await tasks.start(_read_tokens_at_sighup, gate)
            yield
            tasks.cancel_scope.cancel()
        await server.runtime.aclose()

    health = [Route("/healthz", _is_alive), Route("/readyz", _readiness_of(server.runtime))]

    def sessions_of(user: str) -> int:
        owners = server.session_manager._session_owners  # noqa: SLF001 -- the SDK counts them nowhere else
        return sum(owner["client_id"] == user for owner in owners.values())

    app = Starlette(routes=[*http.routes, *sse.routes, *health], lifespan=lifespan)
    gate = Gate(app, access, edges, sessions_of)
    return gate


async def _is_alive(_: Request) -> JSONResponse:
    return JSONResponse({"alive": True})


def _readiness_of(runtime: Runtime) -> Callable[[Request], Awaitable[JSONResponse]]:
    async def readiness(_: Request) -> JSONResponse:
        try:
            waiting = sum(queue.writes for queue in await runtime.overview.queues())
        except (SettingsError, JournalError) as error:
            return JSONResponse({"ready": False, "problem": str(error)}, 503)
        return JSONResponse({"ready": True, "waiting_writes": waiting})

    return readiness


async def _read_tokens_at_sighup(gate: Gate, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
    with anyio.open_signal_receiver(signal.SIGHUP) as signals:
        task_status.started()
        async for _ in signals:
            try:
                for name in gate.read_tokens_again():
                    _log.warning(
                        "%s has no token any more; what waits for it is delivered by `keito-mcp sync --token %s`",
                        name,
                        name,
                    )
            except SettingsError as error:
                _log.error("The tokens stay what they were: %s", error)


async def serve_http(
    server: KeitoServer,
    *,
    host: str,
    port: int,
    on_ready: Callable[[str], None],
    access: Access | None = None,
    edges: Edges | None = None,
) -> None:
    """Serve HTTP and SSE until cancelled or told to stop by a signal.

    Args:
        server: What is served.
        host: An address of this machine.
        port: A port, or 0 for any that is free.
        on_ready: Told the address, such as `http://127.0.0.1:8787`, once connections are taken.
        access: Who may connect.
        edges: How far it opens itself.

    Raises:
        Refused: The address can be reached from other machines, and callers aren't told apart.
        OSError: The address can't be listened on.
    """
    access, edges = access or Access.of(None, host, None), edges or Edges()
    listener = _listen(host, port)
    with listener:
        name, bound, *_ = listener.getsockname()
        on_ready(f"http://[{name}]:{bound}" if ":" in name else f"http://{name}:{bound}")
        await _http_server(http_app(server, access, edges), edges).serve(sockets=[listener])


def _http_server(app: ASGIApp, edges: Edges) -> uvicorn.Server:
    class CrashOnlyServer(uvicorn.Server):
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            """Take no new calls, and give those in flight their time; what is left is in the journal."""
            # Streams that are cut off now are no errors that anyone should read of.
            logging.getLogger("uvicorn.error").disabled = True
            end_within(_AFTER_SIGTERM)
            super().handle_exit(sig, frame)

    # What is refused is in the access log; here it would be said a second time, and with ids of sessions.
    for name in ("uvicorn.error", "mcp.server"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return CrashOnlyServer(
        uvicorn.Config(
            app,
            http=PatientProtocol,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(edges.trusted_proxies),
            forwarded_allow_ips=list(edges.trusted_proxies),
            timeout_graceful_shutdown=_AFTER_SIGTERM,
        )
    )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family)
    # asyncio does this only for sockets that it makes itself; without it each answer waits 40 ms for Nagle.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
