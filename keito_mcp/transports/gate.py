"""The way of an HTTP request to the transports: looked at, let in or not, limited, and written down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp.server.streamable_http import MCP_SESSION_ID_HEADER
from mcp.shared.inbound import MCP_PROTOCOL_VERSION_HEADER
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse

from keito_mcp.server.caller import HELD, PRINCIPAL
from keito_mcp.transports.access import Denied, user
from keito_mcp.transports.access_log import written_down
from keito_mcp.transports.edges import Unfit, refuse_ambiguous, whole_body
from keito_mcp.transports.load import Held, Load, unpacked
from keito_mcp.transports.streams import Streams, sse_session

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from keito_mcp.settings.principal import Principal
    from keito_mcp.transports.access import Access
    from keito_mcp.transports.access_log import Response
    from keito_mcp.transports.edges import Edges

HTTP_PATH = "/mcp"
SSE_PATH = "/sse"
MESSAGES_PATH = "/messages/"
HEALTH_PATHS = ("/healthz", "/readyz")
"""What a load balancer asks, without a credential."""

_METHODS = {HTTP_PATH: ("GET", "POST", "DELETE"), SSE_PATH: ("GET",), MESSAGES_PATH: ("POST",)}
_SPELLINGS = {f"{HTTP_PATH}/": HTTP_PATH, f"{SSE_PATH}/": SSE_PATH, MESSAGES_PATH.removesuffix("/"): MESSAGES_PATH}


class Gate:
    """Lets in requests that are fit and whose credential is somebody's, before any of their body is read."""

    def __init__(self, app: ASGIApp, access: Access, edges: Edges, sessions_of: Callable[[str], int]) -> None:
        """A gate before an application.

        Args:
            app: What serves those who were let in.
            access: Who is let in.
            edges: What is taken of them.
            sessions_of: Counts the Streamable HTTP sessions that a user of the SDK's has open.
        """
        self._sessions_of = sessions_of
        self._app = app
        self._access = access
        self._edges = edges
        self._streams = Streams(edges)
        self._load = Load(edges)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with written_down(scope, send) as response:
            try:
                await self._serve(scope, receive, response)
            except Denied as error:
                challenge = {"WWW-Authenticate": error.challenge}
                await _refuse(401, str(error), challenge, scope, receive, response)
            except Unfit as error:
                await _refuse(error.status, str(error), error.headers, scope, receive, response)

    def read_tokens_again(self) -> list[str]:
        """Read the file of tokens again, and end the streams of those who are in it no longer; returns their names.

        Raises:
            SettingsError: It can't be used; the tokens stay what they were.
        """
        tokens = self._access.tokens
        if tokens is None:
            return []
        before = tokens.names
        tokens.read_again()
        self._streams.end_those_of_strangers(tokens.names)
        return sorted(before - tokens.names)

    async def _serve(self, scope: Scope, receive: Receive, response: Response) -> None:
        headers = Headers(scope=scope)
        refuse_ambiguous(headers)
        path = scope["path"] = _SPELLINGS.get(scope["path"], scope["path"])
        if path in HEALTH_PATHS:
            await self._app(scope, receive, response)
            return
        if path not in _METHODS:
            raise Unfit(404, f"there is nothing here; Streamable HTTP is at {HTTP_PATH}, SSE at {SSE_PATH}")
        principal = response.principal = self._access.principal(headers)
        if principal is not None:
            scope[PRINCIPAL], scope["user"] = principal, user(principal)
        if scope["method"] not in _METHODS[path]:
            raise Unfit(405, "this address doesn't take that method", {"Allow": ", ".join(_METHODS[path])})
        if scope["method"] == "GET":
            await self._serve_stream(scope, receive, response, principal)
            return
        if principal is not None and path == HTTP_PATH and _opens_a_session(headers):
            self._refuse_one_too_many(principal)
        session = sse_session(scope["query_string"]) if path == MESSAGES_PATH else headers.get(MCP_SESSION_ID_HEADER)
        held = Held(self._load, user(principal).username if principal else "", session)
        body = await whole_body(headers, receive, self._edges, lambda part: held.add(unpacked(part)))
        if path == MESSAGES_PATH:
            self._streams.message(scope)
        # The server keeps its own scope for as long as the connection is open.
        await self._app({**scope, HELD: held}, body, response)

    def _refuse_one_too_many(self, principal: Principal) -> None:
        """Leave room for others: raises `Unfit` where a caller has as many Streamable HTTP sessions as one may."""
        if self._sessions_of(user(principal).username) >= self._edges.most_of_one:
            raise Unfit(503, "too many sessions of this caller are open")

    async def _serve_stream(
        self, scope: Scope, receive: Receive, response: Response, principal: Principal | None
    ) -> None:
        with self._streams.opened(principal, is_session=scope["path"] == SSE_PATH) as stream:

            async def send(message: Message) -> None:
                self._streams.announced(stream, message.get("body", b""))
                await response(message)

            await self._app(scope, lambda: stream.receive(receive), send)
        await response.end()


def _opens_a_session(headers: Headers) -> bool:
    """Whether a POST may open a session: clients of the 2026-07-28 protocol have none."""
    version = headers.get(MCP_PROTOCOL_VERSION_HEADER)
    return MCP_SESSION_ID_HEADER not in headers and (version is None or version in HANDSHAKE_PROTOCOL_VERSIONS)


async def _refuse(
    status: int, why: str, headers: dict[str, str], scope: Scope, receive: Receive, response: Response
) -> None:
    """Answer without the application; what is left of the request's body isn't waited for."""
    if response.status is None:
        text = f"{why[:1].upper()}{why[1:]}.\n"
        await PlainTextResponse(text, status, {**headers, "Connection": "close"})(scope, receive, response)
