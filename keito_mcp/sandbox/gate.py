"""What every request to the API passes: it is recorded, and meets the fault planned for it."""

import json
import logging
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keito_mcp.sandbox.faults import MAX_SECONDS, ConnectionCut, Fault, Faults

CONTROL_PREFIX = "/_sandbox"
"""Requests below it steer the sandbox: they are neither recorded nor disturbed."""

CUT_EXTENSION = "keito.sandbox.cut"
"""The ASGI extension by which `serve` lets the app close the connection: a function without arguments."""

MAX_BODY_BYTES = 1024 * 1024
MAX_RECORDED = 10_000

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class RecordedRequest:
    """A request as it came in.

    `path` is raw, as on the wire; header names are in lower case and `authorization` has lost its value;
    `body` is the parsed JSON, `None` where there is none. `status` is what was answered: `None` as long as
    nothing is, and for good where the connection was cut.
    """

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: Any
    status: int | None = None


class LateWork:
    """Work that happens after its request is over, whatever became of the request's own task or event loop.

    Each piece waits in a thread of its own, for at most `MAX_SECONDS`.
    """

    def __init__(self) -> None:
        self._timers: list[threading.Timer] = []

    def schedule(self, delay: float, work: Callable[[], Any]) -> None:
        """Run the coroutine function in an event loop of its own, `delay` seconds from now."""

        def run() -> None:
            try:
                anyio.run(work)
            except Exception:  # noqa: BLE001 -- nobody waits above this thread's top
                _log.exception("a late commit failed")

        timer = threading.Timer(delay, run)
        timer.daemon = True
        self._timers = [*(timer for timer in self._timers if timer.is_alive()), timer]
        timer.start()

    def cancel(self) -> None:
        """Drop what still waits, and wait for what already runs."""
        for timer in self._timers:
            timer.cancel()
            timer.join()


class Gate:
    """ASGI middleware that records requests and makes faults happen.

    Args:
        app: The API behind it.
        faults: The faults to come.
        requests: Where requests are recorded; the oldest go when there are more than `MAX_RECORDED`.
        late: Where commits go that happen after their request is over.
        refusal: Makes the API's error answer to a path, from that path, a status and a message.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        faults: Faults,
        requests: list[RecordedRequest],
        late: LateWork,
        refusal: Callable[[str, int, str], Response],
    ) -> None:
        self._app = app
        self._faults = faults
        self._requests = requests
        self._late = late
        self._refusal = refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102 -- ASGI's own
        if scope["type"] != "http" or scope["path"].startswith(f"{CONTROL_PREFIX}/"):
            await self._app(scope, receive, send)
            return
        try:
            body = await _read_body(receive)
        except ClientDisconnect:
            return
        record = _recorded(scope, body)
        self._requests.append(record)
        del self._requests[:-MAX_RECORDED]
        exchange = _Exchange(self._app, scope, body or b"", receive, _watched(send, record))
        if body is None:
            message = f"the request body is larger than {MAX_BODY_BYTES} bytes"
            await exchange.answer_with(self._refusal(scope["path"], 413, message))
            return
        fault = self._faults.take(scope["method"], scope["path"])
        if fault is None:
            await exchange.answer()
        else:
            await self._disturb(exchange, fault)

    async def _disturb(self, exchange: "_Exchange", fault: Fault) -> None:
        if fault.delay and not fault.late_commit:
            await exchange.client_gone(fault.delay)
        if fault.late_commit:
            await self._commit_late(exchange, fault.delay)
        elif fault.hang:
            await exchange.client_gone(MAX_SECONDS)
            await exchange.cut()
        elif fault.cut_before:
            await exchange.cut()
        elif fault.cut_after:
            await exchange.commit()
            await exchange.cut()
        elif fault.status is not None:
            if fault.commit:
                await exchange.commit()
            await exchange.answer_with(self._faulty_answer(exchange.path, fault.status, fault))
        else:
            await exchange.answer()

    async def _commit_late(self, exchange: "_Exchange", delay: float) -> None:
        try:
            await exchange.client_gone(MAX_SECONDS)
        finally:
            # Above all when this task is cancelled: that is how a client in the same process gives up.
            self._late.schedule(delay, exchange.commit)
        await exchange.cut()

    def _faulty_answer(self, path: str, status: int, fault: Fault) -> Response:
        if fault.body is not None:
            response = Response(fault.body, status, media_type=fault.content_type)
        elif status >= 400:  # noqa: PLR2004 -- where errors begin
            response = self._refusal(path, status, f"the sandbox was told to answer {status}")
        else:
            response = Response(status_code=status)
        if fault.retry_after is not None:
            after = fault.retry_after
            response.headers["Retry-After"] = after if isinstance(after, str) else f"{after:g}"
        return response


class _Exchange:
    """One request, whose body was read, and the ways in which it can end."""

    def __init__(self, app: ASGIApp, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        self._app = app
        self._scope = scope
        self._body = body
        self._receive = receive
        self._send = send

    @property
    def path(self) -> str:
        return str(self._scope["path"])

    async def answer(self) -> None:
        """Let the API answer."""
        await self._app(self._scope, self._replay, self._send)

    async def answer_with(self, response: Response) -> None:
        await response(self._scope, self._receive, self._send)

    async def commit(self) -> None:
        """Let the API do the work, and drop its answer."""
        await self._app(self._scope, self._replay, _drop)

    async def client_gone(self, seconds: float) -> None:
        """Wait until the client has disconnected, but only so many seconds."""
        with anyio.move_on_after(seconds):
            # The request was read to its end: all that can still come is the news that the client has gone.
            await self._receive()

    async def cut(self) -> None:
        """Cut the connection without another byte.

        Raises:
            ConnectionCut: The app is not served by `serve`, but called in process.
        """
        abort = self._scope.get("extensions", {}).get(CUT_EXTENSION)
        if abort is None:
            raise ConnectionCut("the sandbox was told to cut the connection")
        abort()
        # Only once uvicorn has noticed may the app return without an answer: before, it would send a 500.
        await self.client_gone(MAX_SECONDS)

    async def _replay(self) -> Message:
        return {"type": "http.request", "body": self._body, "more_body": False}


async def _read_body(receive: Receive) -> bytes | None:
    """Return the whole body, or `None` where it is too large; such a one is read to its end, not kept.

    A client that still writes when the connection is closed would never see the answer.

    Raises:
        ClientDisconnect: The client left before its request was complete.
    """
    body = bytearray()
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= MAX_BODY_BYTES:
            body += chunk
        if not message.get("more_body", False):
            return bytes(body) if size <= MAX_BODY_BYTES else None


def _recorded(scope: Scope, body: bytes | None) -> RecordedRequest:
    headers = dict(Headers(scope=scope))
    if "authorization" in headers:
        headers["authorization"] = ""
    try:
        parsed = json.loads(body or b"null")
    except (ValueError, RecursionError):
        parsed = None
    return RecordedRequest(
        method=scope["method"],
        path=(scope.get("raw_path") or quote(scope["path"]).encode()).decode("ascii"),
        query=scope["query_string"].decode("ascii"),
        headers=headers,
        body=parsed,
    )


def _watched(send: Send, record: RecordedRequest) -> Send:
    """Return a `send` that gives the answer its request id and notes its status."""

    async def watched(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["X-Request-Id"] = f"req_{secrets.token_hex(8)}"
            record.status = message["status"]
        await send(message)

    return watched


async def _drop(_message: Message) -> None:
    """Send nothing."""
