"""What an HTTP server takes of a request before anything of this project sees it: how much, how slowly, from where."""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import anyio
import h11
from mcp.server.transport_security import TransportSecuritySettings
from starlette.datastructures import Headers
from starlette.types import Message, Receive
from uvicorn.protocols.http.h11_impl import H11Protocol

_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
_HEADER_SECONDS = 10.0
"""Seconds in which a request's line and headers must have come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edges:
    """How far a server opens itself.

    Attributes:
        allowed_hosts: Names that a request's Host header may have, beside those of this machine.
        allowed_origins: Origins whose web pages may send requests, beside those of this machine.
        trusted_proxies: Addresses and networks whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.
        most_sessions: Sessions that may be open at a time, of either transport.
        most_of_one: Those of them that one caller may have open.
        idle: Seconds after which a session that nobody uses is closed.
        body_limit: The most bytes of a request's body.
        body_seconds: Seconds in which a body must have come.
        most_held: The most memory, in bytes, that all messages may take which are being worked on or answered.
        most_held_of_session: What those of one session may take; and one message, whoever sends it.
    """

    allowed_hosts: Sequence[str] = ()
    allowed_origins: Sequence[str] = ()
    trusted_proxies: Sequence[str] = ()
    most_sessions: int = 10_000
    most_of_one: int = 1_000
    idle: float = 12 * 3600.0
    body_limit: int = 1024 * 1024
    body_seconds: float = 30.0
    most_held: int = 128 * 1024 * 1024
    most_held_of_session: int = 8 * 1024 * 1024

    @property
    def hosts(self) -> list[str]:
        """All names that a Host header may have, without ports."""
        return [*_LOOPBACK_NAMES, *self.allowed_hosts]

    @property
    def security(self) -> TransportSecuritySettings:
        """The same for the SDK, which checks Host and Origin: no web page may reach a server through a browser."""
        origins = [f"http://{name}{port}" for name in _LOOPBACK_NAMES for port in ("", ":*")]
        return TransportSecuritySettings(
            enable_dns_rebinding_protection=True,
            allowed_hosts=[spelling for name in self.hosts for spelling in (name, f"{name}:*")],
            allowed_origins=[*origins, *self.allowed_origins],
        )


class Unfit(Exception):
    """A request can't be taken as it is.

    Attributes:
        status: The HTTP status that says so.
        headers: What goes with it.
    """

    def __init__(self, status: int, why: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(why)
        self.status = status
        self.headers = headers or {}


def refuse_ambiguous(headers: Headers) -> None:
    """Refuse a request of which a proxy and this server might disagree where it ends (RFC 9112, 6.1).

    Raises:
        Unfit: It gives its length in two ways.
    """
    if "transfer-encoding" in headers and "content-length" in headers:
        raise Unfit(400, "a request has a Content-Length or a Transfer-Encoding, not both")


async def whole_body(headers: Headers, receive: Receive, edges: Edges, take: Callable[[bytes], None]) -> Receive:
    """Take in a request's body, and return what gives it to the application, and then what comes after it.

    Args:
        headers: What the request says of it.
        receive: Gives the body.
        edges: How much of it is taken, and how long.
        take: Told each part of it; may raise `Unfit`.

    Raises:
        Unfit: It is too large, or comes too slowly.
    """
    declared = headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > edges.body_limit:
        raise _too_large(edges)
    messages: deque[Message] = deque()
    size = 0
    with anyio.move_on_after(edges.body_seconds) as patience:
        while True:
            message = await receive()
            messages.append(message)
            part = message.get("body", b"")
            size += len(part)
            if size > edges.body_limit:
                raise _too_large(edges)
            take(part)
            if message["type"] != "http.request" or not message.get("more_body", False):
                break
    if patience.cancelled_caught:
        raise Unfit(408, f"the body of a request must come within {edges.body_seconds:g} s")

    async def replay() -> Message:
        return messages.popleft() if messages else await receive()

    return replay


def _too_large(edges: Edges) -> Unfit:
    return Unfit(413, f"the body of a request may take {edges.body_limit} bytes at most")


class PatientProtocol(H11Protocol):
    """uvicorn's HTTP/1.1, which lets nobody hold a connection open by never finishing a request's headers."""

    _deadline = math.inf

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """A client connected: it has some time to say what it wants."""
        super().connection_made(transport)
        self._wait_for_headers()

    def data_received(self, data: bytes) -> None:
        """Something came."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._deadline = math.inf
        elif math.isinf(self._deadline):
            self._wait_for_headers()

    def _wait_for_headers(self) -> None:
        self._deadline = self.loop.time() + _HEADER_SECONDS
        self.loop.call_at(self._deadline, self._give_up)

    def _give_up(self) -> None:
        if self.loop.time() >= self._deadline and not self.transport.is_closing():
            self.transport.close()
