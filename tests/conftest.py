import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.types import CallToolResult, Implementation, TextContent

from keito_mcp.clock import Instant
from keito_mcp.config import Settings
from keito_mcp.keito import Timeouts
from keito_mcp.runtime import Runtime
from keito_mcp.sandbox import Fault, Faults, RecordedRequest, Store, serve
from keito_mcp.server import KeitoServer, build_server

NOON = datetime(2026, 3, 6, 12, 0, tzinfo=UTC)
PROJECT = "prj_abc"
KEY = "keito_sk_made_up"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the machine that runs the tests, nor of a host that runs them, reaches the code under test."""
    for name in list(os.environ):
        if name.startswith(("KEITO_", "CLAUDE", "XDG_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("KEITO_STATE_DIR", str(tmp_path / "state"))


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
        return self.store.entries()

    def fails(self, method: str | None = None, **fault: Any) -> None:
        self.faults.add(Fault(method=method, **fault))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def keito(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Keito]:
    store, faults, requests = Store(tmp_path / "keito.sqlite3"), Faults(), list[RecordedRequest]()
    urls: list[str] = []
    ready = anyio.Event()

    def announce(url: str) -> None:
        urls.append(url)
        ready.set()

    async def run() -> None:
        await serve(
            store,
            faults=faults,
            requests=requests,
            clock=lambda: clock.wall,
            api_keys=[KEY, "keito_sk_another"],
            forbidden_projects=["prj_forbidden"],
            on_ready=announce,
        )

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        with anyio.fail_after(10):
            await ready.wait()
        yield Keito(urls[0], store, faults, requests)
        tasks.cancel_scope.cancel()
    store.close()


QUICK = Timeouts(attempt=0.5, read=1.0, write=1.5, retry_after=0.3, backoff=0.01)
"""Time limits for tests of answers that never come."""


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


@pytest.fixture
async def make_desk(keito: Keito, clock: FakeClock, tmp_path: Path) -> AsyncIterator[MakeDesk]:
    made: list[Runtime] = []

    def make(*, timeouts: Timeouts | None = None, serves_one_user: bool = True, **settings: Any) -> Desk:
        commits: list[str] = []
        given = {
            "api_key": KEY,
            "api_url": keito.url,
            "project_id": PROJECT,
            "agent_id": "tester",
            "session_id": "session-1",
            "timezone": "UTC",
            "state_dir": tmp_path / "state",
            **settings,
        }
        runtime = Runtime(
            load=lambda: Settings(**{name: value for name, value in given.items() if value is not None}),
            clock=clock,
            timeouts=timeouts or QUICK,
            on_commit=commits.append,
            serves_one_user=serves_one_user,
        )
        runtime.__dict__["repository"] = None
        made.append(runtime)
        return Desk(runtime, build_server(runtime), commits)

    yield make
    for runtime in made:
        await runtime.aclose()


@pytest.fixture
async def desk(make_desk: MakeDesk) -> Desk:
    return make_desk()


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


@pytest.fixture(params=["auto", "legacy"], ids=["2026", "2025"])
def mode(request: pytest.FixtureRequest) -> str:
    """Both protocol eras."""
    return str(request.param)


@pytest.fixture
async def agent(desk: Desk) -> AsyncIterator[Agent]:
    async with desk.client() as connected:
        yield connected


def hours(value: object) -> Decimal:
    """Hours of an answer or an entry, exactly."""
    return Decimal(repr(value))


@pytest.fixture
def repository_root() -> Iterator[Path]:
    yield Path(__file__).parent.parent
