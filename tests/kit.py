"""What the tests work with: the embedded Keito on a real socket, a clock in the hand, agents that call tools."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import httpx
from mcp import Client
from mcp.types import CallToolResult, Implementation, TextContent

from keito_mcp.clock import Instant
from keito_mcp.keito import Timeouts
from keito_mcp.runtime import Runtime
from keito_mcp.sandbox import Fault, Faults, RecordedRequest, Store
from keito_mcp.server import KeitoServer

NOON = datetime(2026, 3, 6, 12, 0, tzinfo=UTC)
PROJECT = "prj_abc"
KEY = "keito_sk_made_up"
PERSONS_KEY = "keito_sk_another"

QUICK = Timeouts(attempt=0.5, read=1.0, write=1.5, retry_after=0.3, backoff=0.01)
"""Time limits for tests of answers that never come."""


async def until(condition: Callable[[], object], seconds: float = 10) -> None:
    """Wait for something that happens outside of this event loop."""
    with anyio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 -- nobody here can set an event for it
            await anyio.sleep(0.01)


class FakeClock:
    """Both clocks in the test's hand."""

    def __init__(self, start: datetime = NOON) -> None:
        self.wall = start
        self.monotonic = 1000.0
        self.boot_id = "boot-1"

    def now(self) -> Instant:
        return Instant(self.wall, self.monotonic, self.boot_id)

    def pass_time(self, duration: timedelta) -> None:
        self.wall += duration
        self.monotonic += duration.total_seconds()


@dataclass
class Keito:
    """The embedded Keito on a real socket, and what came in there."""

    url: str
    store: Store
    faults: Faults
    clock: FakeClock
    requests: list[RecordedRequest] = field(default_factory=list)

    @property
    def sent(self) -> list[tuple[str, str]]:
        """Method and path of each request, in order."""
        return [(request.method, request.path) for request in self.requests]

    @property
    def methods(self) -> list[str]:
        return [request.method for request in self.requests]

    def body(self, number: int = -1) -> dict[str, Any]:
        body = self.requests[number].body
        assert isinstance(body, dict)
        return body

    def entries(self) -> list[dict[str, Any]]:
        return self.store.entries(self.clock.wall)

    def entry(self, entry_id: str) -> dict[str, Any]:
        [entry] = [entry for entry in self.entries() if entry["id"] == entry_id]
        return entry

    async def person(self, method: str, entry_id: str = "", **body: Any) -> dict[str, Any]:
        """A person creates, changes or deletes an entry in Keito's own pages; it isn't counted as a request."""
        headers = {"Authorization": f"Bearer {PERSONS_KEY}"}
        path = f"/v1/time-entries/{entry_id}".rstrip("/")
        async with httpx.AsyncClient(base_url=self.url, headers=headers) as pages:
            answer = (await pages.request(method, path, json=body or None)).raise_for_status()
        self.requests.pop()
        return dict(answer.json()) if answer.content else {}

    def fails(self, method: str | None = None, **fault: Any) -> None:
        self.faults.add(Fault(method=method, **fault))


@dataclass
class Answer:
    """A tool's result, as a test reads it."""

    result: CallToolResult

    @property
    def text(self) -> str:
        [content] = self.result.content
        assert isinstance(content, TextContent)
        return content.text

    @property
    def is_error(self) -> bool:
        return bool(self.result.is_error)

    def __getitem__(self, name: str) -> Any:
        assert not self.is_error, self.text
        assert self.result.structured_content is not None
        return self.result.structured_content[name]

    def __contains__(self, name: str) -> bool:
        return name in (self.result.structured_content or {})


@dataclass
class Agent:
    """A client that calls tools."""

    client: Client

    async def call(self, tool: str, /, *, meta: dict[str, Any] | None = None, **arguments: Any) -> Answer:
        result = await self.client.call_tool(tool, arguments, meta=meta)  # type: ignore[arg-type]
        assert isinstance(result, CallToolResult)
        return Answer(result)


@dataclass
class Desk:
    """A server over the embedded Keito, and the parts that a test looks at."""

    runtime: Runtime
    server: KeitoServer
    commits: list[str]

    @asynccontextmanager
    async def client(
        self, mode: str = "auto", name: str = "claude-code", version: str = "2.1.330"
    ) -> AsyncIterator["Agent"]:
        info = Implementation(name=name, version=version)
        async with Client(self.server, mode=mode, client_info=info) as client:
            yield Agent(client)


MakeDesk = Callable[..., Desk]
