"""The embedded Keito on a real socket, under uvicorn."""

import asyncio
import socket
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from typing import TypedDict, Unpack

import anyio
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from keito_mcp.sandbox.app import create_app
from keito_mcp.sandbox.catalogue import Catalogue
from keito_mcp.sandbox.faults import Faults
from keito_mcp.sandbox.gate import CUT_EXTENSION, RecordedRequest
from keito_mcp.sandbox.store import Store

_TICK = 0.1
_GRACE = 1.0


class AppOptions(TypedDict, total=False):
    """The keyword arguments of `create_app`."""

    api_keys: Collection[str] | None
    honour_idempotency: bool
    faults: Faults | None
    clock: Callable[[], datetime]
    forbidden_projects: Collection[str]
    control: bool
    requests: list[RecordedRequest] | None
    catalogue: Catalogue


async def serve(
    store: Store,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    on_ready: Callable[[str], None],
    **options: Unpack[AppOptions],
) -> None:
    """Serve the embedded Keito until cancelled; needs the asyncio backend of anyio.

    Args:
        store: Where the entries are; it stays open.
        host: The address to listen on.
        port: The port to listen on; 0 takes one that is free.
        on_ready: Called with the base URL as soon as connections are accepted.
        **options: What `create_app` takes beside the store.

    Raises:
        OSError: The address is not to be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.create_server((host, port), family=family)) as listener:
        # asyncio does this only for sockets that it makes itself; without it each answer waits 40 ms for Nagle.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        address = f"[{host}]" if ":" in host else host
        url = f"http://{address}:{listener.getsockname()[1]}"
        config = uvicorn.Config(
            create_app(store, **options),
            http=_CuttableProtocol,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
        )
        server = _Server(config, lambda: on_ready(url))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_run, server, listener)
            try:
                await anyio.sleep_forever()
            finally:
                server.stop()


async def _run(server: "_Server", listener: socket.socket) -> None:
    # Shielded: uvicorn ends when it is told to, not by being cancelled; only so it closes what it opened.
    with anyio.CancelScope(shield=True):
        await server.serve(sockets=[listener])


class _Server(uvicorn.Server):
    """Stops at once: uvicorn's own loops look only every tenth of a second, and tests stop hundreds of servers."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._stopped = anyio.Event()

    def stop(self) -> None:
        """Take no more connections, and end those that there are."""
        self.should_exit = True
        self._stopped.set()

    async def main_loop(self) -> None:
        counter = 0
        while not await self.on_tick(counter):
            counter += 1
            with anyio.move_on_after(_TICK):
                await self._stopped.wait()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the program that this server is a part of."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        # A request that hangs ends only with its connection.
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=_GRACE)
        await self.lifespan.shutdown()


class _CuttableProtocol(H11Protocol):
    """HTTP/1.1 that lets the app close the connection without another byte, by `CUT_EXTENSION`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        super().connection_made(transport)
        app = self.app

        async def cuttable(scope: Scope, receive: Receive, send: Send) -> None:
            scope.setdefault("extensions", {})[CUT_EXTENSION] = transport.abort
            await app(scope, receive, send)

        self.app = cuttable
