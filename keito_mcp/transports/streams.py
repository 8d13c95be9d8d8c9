"""The streams that clients hold open, and the SSE sessions among them."""

import math
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

import anyio
from starlette.datastructures import QueryParams
from starlette.types import Message, Receive, Scope

from keito_mcp.settings.principal import Principal
from keito_mcp.transports.edges import Edges, Unfit

_SESSION = re.compile(rb"session_id=([0-9a-f]{32})")


@dataclass(eq=False, slots=True)
class Stream:
    """A stream that a client holds open, until the client or this server ends it.

    Attributes:
        principal: On whose behalf it was opened.
        is_session: Whether it is an SSE session, which ends with it.
        session: The id of the session, once it has one.
    """

    principal: Principal | None
    is_session: bool
    session: str | None = None
    _deadline: float = math.inf
    _scope: anyio.CancelScope | None = None

    async def receive(self, receive: Receive) -> Message:
        """The next message of the client, or that it is gone: so an application ends a stream in order."""
        with anyio.CancelScope(deadline=self._deadline) as self._scope:
            return await receive()
        return {"type": "http.disconnect"}

    def ends_at(self, deadline: float) -> None:
        """End it then, by the event loop's clock."""
        self._deadline = deadline
        if self._scope is not None:
            self._scope.deadline = deadline


class Streams:
    """Keeps count of streams, ends what is idle, and what belongs to somebody who isn't let in any more."""

    def __init__(self, edges: Edges) -> None:
        """No stream is open yet."""
        self._edges = edges
        self._open: set[Stream] = set()
        self._sessions: dict[str, Stream] = {}

    @contextmanager
    def opened(self, principal: Principal | None, *, is_session: bool) -> Iterator[Stream]:
        """A stream for as long as it is open; raises `Unfit` where there are as many sessions as there may be."""
        if is_session:
            sessions = [stream for stream in self._open if stream.is_session]
            own = sum(stream.principal == principal for stream in sessions)
            if len(sessions) >= self._edges.most_sessions or (principal and own >= self._edges.most_of_one):
                raise Unfit(503, "too many sessions are open")
        stream = Stream(principal, is_session)
        self._open.add(stream)
        try:
            yield stream
        finally:
            self._open.discard(stream)
            if stream.session is not None:
                del self._sessions[stream.session]

    def announced(self, stream: Stream, body: bytes) -> None:
        """Take note of the id that the first event of an SSE session gives it; from then on it may be idle so long."""
        if stream.is_session and stream.session is None and (found := _SESSION.search(body)):
            stream.session = found[1].decode()
            self._sessions[stream.session] = stream
            self._used(stream)

    def message(self, scope: Scope) -> None:
        """Take note of a message to an SSE session."""
        session = sse_session(scope["query_string"])
        if session and (stream := self._sessions.get(session)):
            self._used(stream)

    def end_those_of_strangers(self, names: Collection[str]) -> None:
        """End the streams of all whose token isn't one of these names' any more."""
        for stream in self._open:
            if stream.principal is not None and stream.principal.name not in names:
                stream.ends_at(anyio.current_time())

    def _used(self, stream: Stream) -> None:
        stream.ends_at(anyio.current_time() + self._edges.idle)


def sse_session(query: bytes) -> str | None:
    """Return the id of the SSE session that the query of an address names, read as the SDK reads it."""
    try:
        return UUID(hex=QueryParams(query).get("session_id", "")).hex
    except ValueError:
        return None
