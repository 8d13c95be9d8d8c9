"""How a host reaches the server: stdio, or Streamable HTTP and SSE in one ASGI app."""

from __future__ import annotations

import logging
import os
import signal
import socket
from contextlib import asynccontextmanager
from io import TextIOWrapper
from threading import Timer
from typing import TYPE_CHECKING, NoReturn

import anyio
from mcp.server.stdio import stdio_server
from mcp.server.transport_security import TransportSecuritySettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from types import FrameType

    from starlette.applications import Starlette
    from uvicorn import Server

    from keito_mcp.server import KeitoServer

HTTP_PATH = "/mcp"
SSE_PATH = "/sse"
MESSAGES_PATH = "/messages/"

_AFTER_EOF = 0.5
"""Seconds that answers on their way have once the host has closed its end."""

_AFTER_SIGTERM = 3
"""Seconds that HTTP calls in flight have once the server is told to stop."""

_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")


class NotLoopback(Exception):
    """An address was asked for that other machines can reach."""


def run_stdio(server: KeitoServer) -> NoReturn:
    """Serve one host over stdin and stdout until it is gone, then end the process at once.

    There is no shutdown work: what matters is in the journal before it is acted on. Waiting for threads would
    only keep a host waiting that sends SIGKILL half a second later anyway.
    """
    end_on_signals()
    anyio.run(_serve_stdio, server)
    _end()


async def _serve_stdio(server: KeitoServer) -> None:
    low_level = server._lowlevel_server  # noqa: SLF001 -- the SDK takes streams for stdio nowhere else
    host = _HostInput(_take_stdin()), _HostOutput(_take_stdout())
    async with anyio.create_task_group() as tasks, stdio_server(*host) as (received, sent):
        tasks.start_soon(server.runtime.work_in_background)
        await low_level.run(received, sent, low_level.create_initialization_options())
        tasks.cancel_scope.cancel()


class _HostInput(anyio.AsyncFile[str]):
    """What the host says; when it says no more, the process has little time left."""

    async def readline(self) -> str:
        """The next line, or nothing once the host has hung up."""
        line = await super().readline()
        if not line:
            _end_within(_AFTER_EOF)
        return line


class _HostOutput(anyio.AsyncFile[str]):
    """What the host hears; when it doesn't listen any more, nothing is left to do."""

    async def write(self, b: str) -> int:
        """Say something to the host."""
        try:
            return await super().write(b)
        except OSError:
            _end()

    async def flush(self) -> None:
        """Let the host hear what was said."""
        try:
            await super().flush()
        except OSError:
            _end()


def _take_stdin() -> TextIOWrapper:
    """Standard input for the protocol alone: children of this process read an empty one."""
    wire = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return TextIOWrapper(os.fdopen(wire, "rb"), encoding="utf-8", errors="replace")


def _take_stdout() -> TextIOWrapper:
    """Standard output for the protocol alone: what anything else prints goes to stderr."""
    wire = os.dup(1)
    try:
        os.dup2(2, 1)
    except OSError:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.close(nothing)
    return TextIOWrapper(os.fdopen(wire, "wb"), encoding="utf-8")


def end_on_signals() -> None:
    """From now on SIGINT, SIGTERM and SIGHUP end the process at once, like the end of input."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: _end())


def _end() -> NoReturn:
    os._exit(0)


def _end_within(seconds: float) -> None:
    """End the process by then, whatever still holds it."""
    last = Timer(seconds, _end)
    last.daemon = True
    last.start()


def http_app(server: KeitoServer) -> Starlette:
    """Streamable HTTP and SSE in one ASGI app, for callers on this machine.

    The SDK checks the Host and Origin of each request, so that no web page can reach it through a browser.
    """
    from starlette.applications import Starlette

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


def _http_server(app: Starlette) -> Server:
    import uvicorn

    class CrashOnlyServer(uvicorn.Server):
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            """Take no new calls, and give those in flight their time; what is left is in the journal."""
            # Streams that are cut off now are no errors that anyone should read of.
            logging.getLogger("uvicorn.error").disabled = True
            _end_within(_AFTER_SIGTERM)
            super().handle_exit(sig, frame)

    return CrashOnlyServer(
        uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=_AFTER_SIGTERM)
    )


def _listen(host: str, port: int) -> socket.socket:
    from keito_mcp.address import is_loopback

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
