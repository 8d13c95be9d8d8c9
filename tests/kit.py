"""What the tests work with: the embedded Keito on a real socket, a clock in the hand, agents that call tools."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx
from anyio.abc import TaskGroup
from mcp import Client
from mcp.types import CallToolResult, Implementation, TextContent

from keito_mcp.clock import Instant
from keito_mcp.keito import Project as KeitoProject
from keito_mcp.keito import Task as KeitoTask
from keito_mcp.keito import Timeouts
from keito_mcp.runtime import Runtime
from keito_mcp.sandbox import (
    SANDBOX,
    Catalogue,
    Fault,
    Faults,
    Project,
    RecordedRequest,
    Store,
    Task,
    serve,
)
from keito_mcp.server.server import KeitoServer
from keito_mcp.timesheet import Delivered
from keito_mcp.timesheet.candidates import Kind, Named
from keito_mcp.timesheet.directory import _Listed
from tests.wire import WIRES, Wire

NOON = datetime(2026, 3, 6, 12, 0, tzinfo=UTC)
PROJECT = "prj_abc"
TASK = "tsk_development"
API_VERSION = os.environ.get("KEITO_MCP_TEST_API", "v1")
"""The version of Keito's API that everything is tested with, where a test doesn't choose one itself."""

CORE = os.environ.get("KEITO_MCP_TEST_CORE", "")
"""Which of two cores works, while the new one is being proved: `rows`, or the old one."""

LOOKS_FIRST = ["GET"] if CORE == "rows" else []
"""What comes before a create that is sent later than two minutes after it was asked for."""

COPY_LOOKS = ["GET", "GET"] if CORE == "rows" else ["GET"]
"""The looks for a second copy of what was sent twice: after five minutes, and after an hour."""

CATALOGUE = replace(
    SANDBOX,
    projects=(
        *SANDBOX.projects,
        *(
            Project(id=f"prj_{name}", name=f"Project {name}", client_id="cli_lighthouse")
            for name in ("abc", "other", "a", "b", "elsewhere", "forbidden", "1", "2", "shop", "default")
        ),
    ),
    tasks=(*SANDBOX.tasks, Task(id="tsk_1", name="Task 1"), Task(id="tsk_2", name="Task 2")),
)
"""What there is in Keito, where a version of its API asks for that."""
KEY = "keito_sk_made_up"
V2_KEY = "kto_made_up"
PERSONS_KEY = "keito_sk_another"
TEAM_KEYS = [f"keito_sk_of_agent_{number}" for number in range(20)]

SPOKEN: dict[str, dict[str, Any]] = {
    "v1": {"api_key": KEY},
    "v2": {"api_key": V2_KEY, "account_id": "co_made_up", "task_id": TASK},
}
"""The settings with which each version of the API is spoken."""

QUICK = Timeouts(attempt=0.8, read=1.6, write=2.4, retry_after=0.3, backoff=0.01)
"""Time limits for tests of answers that never come."""

UNHURRIED = 10_000
"""So many requests a minute that a courier never waits for its turn: turns are waited for by the machine's clock."""

LOST_ANSWERS: list[dict[str, Any]] = [
    {"cut_after": True},
    {"status": 500, "commit": True},
    {"status": 201, "commit": True, "body": "<html>", "content_type": "text/html"},
    {"status": 200, "commit": True, "body": "{}"},
]
"""Faults after which a write stands in Keito, and nobody said so."""

NEVER_WRITTEN: list[dict[str, Any]] = [{"cut_before": True}, {"status": 503}, {"hang": True}, {"status": 302}]
"""Faults after which a write doesn't stand in Keito, and nobody said so."""


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


class Serving:
    """Keito at one address, which can go away and come back there."""

    def __init__(self, tasks: TaskGroup, serve: Callable[[int, Callable[[str], None]], Awaitable[None]]) -> None:
        self._tasks = tasks
        self._serve = serve
        self._scope = anyio.CancelScope()
        self._ended = anyio.Event()
        self.url = ""

    async def begin(self) -> None:
        self._scope, self._ended, ready = anyio.CancelScope(), anyio.Event(), anyio.Event()

        def announce(url: str) -> None:
            self.url = url
            ready.set()

        self._tasks.start_soon(self._run, self._scope, self._ended, announce)
        with anyio.fail_after(10):
            await ready.wait()

    async def end(self) -> None:
        self._scope.cancel()
        with anyio.fail_after(10):
            await self._ended.wait()

    async def _run(self, scope: anyio.CancelScope, ended: anyio.Event, announce: Callable[[str], None]) -> None:
        with scope:
            await self._serve(urlsplit(self.url).port or 0, announce)
        ended.set()


@dataclass
class Keito:
    """The embedded Keito on a real socket, and what came in there."""

    serving: Serving
    store: Store
    faults: Faults
    clock: FakeClock
    requests: list[RecordedRequest] = field(default_factory=list)
    wire: Wire = WIRES["v1"]
    persons_key: str = PERSONS_KEY

    @property
    def url(self) -> str:
        return self.serving.url

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """Nobody listens at Keito's address meanwhile."""
        await self.serving.end()
        try:
            yield
        finally:
            await self.serving.begin()

    @property
    def sent(self) -> list[tuple[str, str]]:
        """Method and path of each request, in order."""
        return [(request.method, request.path) for request in self.requests]

    @property
    def methods(self) -> list[str]:
        return [request.method for request in self.requests]

    @property
    def stops(self) -> list[str]:
        """The id of the entry that each request to stop a timer was about, in order."""
        stopped: list[str] = []
        for request in self.requests:
            path = request.path.removesuffix("/stop")
            stops = isinstance(request.body, dict) and request.body.get("is_running") is False
            if request.method == "PATCH" and (path != request.path or stops):
                stopped.append(path.rpartition("/")[2])
        return stopped

    def body(self, number: int = -1) -> dict[str, Any]:
        body = self.requests[number].body
        assert isinstance(body, dict)
        return body

    def entries(self) -> list[dict[str, Any]]:
        return self.store.entries(self.clock.wall)

    def entry(self, handle: str) -> dict[str, Any]:
        """An entry by its id, or by the key with which it waited."""
        [entry] = [
            entry for entry in self.entries() if handle in {entry["id"], (entry["metadata"] or {}).get("entry_key")}
        ]
        return entry

    async def person(self, method: str, entry_id: str = "", **body: Any) -> dict[str, Any]:
        """A person creates, changes or deletes an entry in Keito's own pages; it isn't counted as a request."""
        headers = {"Authorization": f"Bearer {self.persons_key}"}
        path = f"/v1/time-entries/{entry_id}".rstrip("/")
        async with httpx.AsyncClient(base_url=self.url, headers=headers) as pages:
            answer = (await pages.request(method, path, json=body or None)).raise_for_status()
        self.requests.pop()
        return dict(answer.json()) if answer.content else {}

    def fails(self, method: str | None = None, **fault: Any) -> None:
        self.faults.add(Fault(method=method, **fault))


@asynccontextmanager
async def embedded_keito(
    file: Path,
    clock: FakeClock,
    api_version: str = API_VERSION,
    *,
    now: Callable[[], datetime] | None = None,
    catalogue: Catalogue = CATALOGUE,
) -> AsyncIterator[Keito]:
    """The embedded Keito on a socket of its own, with its entries in a file, and by default with the test's clock."""
    store, faults, requests = Store(file), Faults(), list[RecordedRequest]()

    async def run(port: int, announce: Callable[[str], None]) -> None:
        await serve(
            store,
            port=port,
            faults=faults,
            requests=requests,
            clock=now or (lambda: clock.wall),
            api_keys=[KEY, V2_KEY, PERSONS_KEY, *TEAM_KEYS],
            forbidden_projects=["prj_forbidden"],
            catalogue=catalogue,
            on_ready=announce,
        )

    async with anyio.create_task_group() as tasks:
        serving = Serving(tasks, run)
        await serving.begin()
        yield Keito(serving, store, faults, clock, requests, WIRES[api_version])
        tasks.cancel_scope.cancel()
    store.close()


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

    async def deliver(self) -> list[Delivered]:
        """Deliver what may be delivered at this moment."""
        delivered: list[Delivered] = []
        await self.runtime.own.courier(UNHURRIED).run(delivered.append)
        return delivered

    async def deliver_all(self, within: timedelta = timedelta(hours=2)) -> list[Delivered]:
        """Deliver until nothing is left, and let the time pass for which the queue rests meanwhile."""
        clock, delivered = self.runtime.clock, list[Delivered]()
        assert isinstance(clock, FakeClock)
        latest = clock.wall + within
        while (rest := await self.runtime.own.courier(UNHURRIED).run(delivered.append)).seconds is not None:
            clock.pass_time(timedelta(seconds=rest.seconds, milliseconds=1))
            assert clock.wall < latest, "the queue doesn't get dry"
        return delivered


class Neighbour:
    """Another process of this machine."""

    def __init__(self) -> None:
        said = "from keito_mcp.process import this_process; print(this_process(), flush=True); input()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", said], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.name = self._process.stdout.readline().strip()
        """What the journal knows it by."""

    def end(self) -> None:
        """End it, and see that it ended."""
        if self._process.returncode is None:
            self._process.communicate("\n")


def acquaint(runtime: Runtime, catalogue: Catalogue) -> None:
    """Let a server know what there is in Keito, for good, so that its calls are no different from those of v1."""
    never = Instant(datetime(9000, 1, 1, tzinfo=UTC), 1e12, "")
    directory = runtime.directories.of(runtime.settings.account)
    projects = [KeitoProject(id=one.id, name=one.name, code=one.code) for one in catalogue.projects if one.is_active]
    tasks = [KeitoTask(id=one.id, name=one.name, is_default=one.is_default) for one in catalogue.tasks if one.is_active]
    for kind, known in ((Kind.PROJECT, projects), (Kind.TASK, tasks)):
        directory._lists[kind] = _Listed(tuple(Named.of(one) for one in known), never)  # noqa: SLF001


MakeDesk = Callable[..., Desk]
