"""The access log: a line of JSON on stderr for each HTTP request, without anything that would let somebody in."""

import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers
from starlette.types import Message, Scope, Send

from keito_mcp.server.shown import LogFormatter
from keito_mcp.settings.config import variable

if TYPE_CHECKING:
    from keito_mcp.settings.principal import Principal

_LONGEST = 100
_NAME = 12

_log = logging.getLogger(__name__)


def begin() -> None:
    """Write the log, unless the operator wants less on stderr (`KEITO_LOG_LEVEL` is WARNING or ERROR)."""
    if os.environ.get(variable("log_level"), "").strip() not in {"WARNING", "ERROR"}:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(LogFormatter("%(message)s"))
        _log.addHandler(handler)
        _log.setLevel(logging.INFO)
    _log.propagate = False


class Response:
    """The answer to a request, as it is sent: its status and whether it is complete."""

    def __init__(self, send: Send) -> None:
        """Nothing was sent yet."""
        self._send = send
        self.status: int | None = None
        self.is_complete = False
        self.principal: Principal | None = None

    async def __call__(self, message: Message) -> None:
        """Send a part of it."""
        if message["type"] == "http.response.start":
            if self.status is not None:
                # The SDK begins a second, empty answer where an SSE session ends; its body completes the first.
                return
            self.status = message["status"]
        elif message["type"] == "http.response.body":
            self.is_complete = not message.get("more_body", False)
        await self._send(message)

    async def end(self) -> None:
        """Complete what was begun."""
        if self.status is not None and not self.is_complete:
            await self({"type": "http.response.body", "body": b"", "more_body": False})


@contextmanager
def written_down(scope: Scope, send: Send) -> Iterator[Response]:
    """The answer to a request; a line of the log once it was given.

    The query is left out, because it may hold a session's id, and so are all headers but the two that say what is
    called (`Mcp-Method`, `Mcp-Name`).
    """
    response = Response(send)
    begun = time.perf_counter()
    try:
        yield response
    finally:
        if _log.isEnabledFor(logging.INFO):
            _log.info("%s", json.dumps(_line(scope, response, time.perf_counter() - begun)))


def _line(scope: Scope, response: Response, seconds: float) -> dict[str, Any]:
    headers = Headers(scope=scope)
    client = scope.get("client")
    line = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "client": client[0] if client else None,
        "caller": response.principal.name[:_NAME] if response.principal else None,
        "method": scope["method"],
        "path": scope["path"][:_LONGEST],
        "rpc": headers.get("mcp-method", "")[:_LONGEST] or None,
        "name": headers.get("mcp-name", "")[:_LONGEST] or None,
        "status": response.status,
        "ms": round(seconds * 1000, 1),
    }
    return {name: value for name, value in line.items() if value is not None}
