"""A small world for the model: an embedded Keito, servers that come and go over one journal, and a person."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from keito_mcp.identity import Fact, Identity
from keito_mcp.journal import Journal
from keito_mcp.keito import Timeouts
from keito_mcp.runtime import Runtime
from keito_mcp.sandbox import Fault
from keito_mcp.sandbox.gate import LateWork
from keito_mcp.server.answers import DiscardAnswer, EntryAnswer, Status
from keito_mcp.settings.config import Settings
from keito_mcp.timesheet import Delivered, Worker
from tests.kit import API_VERSION, NOON, PERSONS_KEY, PROJECT, SPOKEN, FakeClock, Keito, embedded_keito
from tests.support import cores

NO_RATE = 10**9
IMPATIENT = Timeouts(attempt=0.3, read=0.5, write=0.8, retry_after=0.0, backoff=0.001)
LATEST_CHANGE = timedelta(seconds=115)
"""A change or a delete that got no answer arrives within this, as the design supposes."""

LATEST_CREATE = timedelta(seconds=280)
"""A create may arrive even after it was sent again, but before it is looked for once more."""


class Killed(BaseException):
    """The server is gone: it does nothing more, not even what stands in a `finally`."""


class MortalJournal(Journal):
    """A journal whose process can die after any of its commits."""

    commits_left: int | None = None
    dead = False

    def _use(self, work: Callable[[Any], Any]) -> Any:
        if self.dead:
            raise Killed
        return super()._use(work)

    def counted(self, _: str) -> None:
        if self.commits_left is None:
            return
        self.commits_left -= 1
        if self.commits_left <= 0:
            self.dead = True
            raise Killed


@dataclass
class Server:
    """One server process: a session of one agent."""

    number: int
    session: str
    runtime: Runtime
    journal: MortalJournal

    @property
    def worker(self) -> Worker:
        facts = {"agent_id": "tester", "session_id": self.session, "agent_type": "claude-code"}
        identity = Identity({field: Fact(value, "the test") for field, value in facts.items()})
        return Worker(identity=identity, owner=self.runtime.own.owner(identity))


@dataclass
class Late:
    """Work that Keito does after everyone stopped waiting for it."""

    method: str
    monotonic: float
    work: Callable[[], Awaitable[Any]]


@dataclass
class World:
    """Everything there is."""

    keito: Keito
    folder: Path
    clock: FakeClock
    late: list[Late] = field(default_factory=list)
    dead: set[str] = field(default_factory=set)
    servers: list[Server] = field(default_factory=list)
    started: int = 0

    def new_server(self, session: str | None = None) -> Server:
        self.started += 1
        process = f"host boot ns {self.started} 0"
        settings = Settings(
            **SPOKEN[API_VERSION],
            api_url=self.keito.url,
            project_id=PROJECT,
            timezone="UTC",
            state_dir=self.folder,
        )
        runtime = Runtime(load=lambda _: settings, clock=self.clock, timeouts=IMPATIENT)
        journal = MortalJournal(self.folder, process=process, is_gone=self.dead.__contains__)
        journal._on_commit = journal.counted  # noqa: SLF001 -- a journal that counts its own commits
        runtime.__dict__["journal"] = journal
        return Server(self.started, session or f"session-{self.started}", runtime, journal)

    def bury(self, server: Server) -> None:
        """A server is gone, and everybody can see it."""
        server.journal.dead = True
        self.dead.add(server.journal.process)

    async def arrive(self, *methods: str, before: timedelta | None = None, passing: timedelta = timedelta()) -> None:
        """What was late arrives: of these methods; of those that would be later than `before` after `passing`."""
        now = self.clock.monotonic + passing.total_seconds()
        due = [
            late
            for late in self.late
            if late.method in methods and (before is None or now - late.monotonic >= before.total_seconds())
        ]
        for late in due:
            self.late.remove(late)
            await late.work()

    async def pass_time(self, seconds: float) -> None:
        passing = timedelta(seconds=seconds)
        await self.arrive("PATCH", "DELETE", before=LATEST_CHANGE, passing=passing)
        await self.arrive("POST", before=LATEST_CREATE, passing=passing)
        self.clock.pass_time(passing)

    @contextmanager
    def disturbed(self, *faults: dict[str, Any]) -> Iterator[None]:
        """Faults that are over afterwards."""
        for fault in faults:
            self.keito.faults.add(Fault(**fault))
        try:
            yield
        finally:
            self.keito.faults.clear()

    async def person(self, method: str, entry_id: str, **body: Any) -> int:
        """A person does something in Keito's own pages; what was on its way there has arrived before."""
        await self.arrive("PATCH", "DELETE")
        async with httpx.AsyncClient(base_url=self.keito.url) as pages:
            answer = await pages.request(
                method,
                f"/v1/time-entries/{entry_id}",
                json=body or None,
                headers={"Authorization": f"Bearer {PERSONS_KEY}"},
            )
        return answer.status_code

    async def log(self, server: Server, hours: Decimal, op: int) -> EntryAnswer:
        return await server.runtime.own.timesheet.log(
            server.worker,
            hours=hours,
            project_id=None,
            task_id=None,
            notes=f"log {op}",
            is_billable=None,
            metadata={"op": str(op)},
        )

    async def start(self, server: Server, op: int, *, replace_running: bool) -> EntryAnswer:
        return await server.runtime.own.timesheet.start(
            server.worker,
            replace_running=replace_running,
            project_id=None,
            task_id=None,
            notes=f"timer {op}",
            is_billable=None,
            metadata={"op": str(op)},
        )

    async def discard(self, server: Server) -> DiscardAnswer:
        async def silent(_: int, __: int, ___: str) -> None:
            pass

        return await server.runtime.own.timesheet.discard(server.worker, reason="it failed", progress=silent)

    async def deliver(self, server: Server) -> list[Delivered]:
        told: list[Delivered] = []
        await server.runtime.own.courier(NO_RATE).run(told.append)
        return told

    async def run_dry(self, server: Server) -> None:
        """Deliver until nothing waits any more; the clock passes as it must.

        A second copy is looked for after five minutes, and over rows once more after an hour.
        """
        self.keito.faults.clear()
        for _ in range(200):
            await self.arrive("POST", "PATCH", "DELETE")
            rest = await server.runtime.own.courier(NO_RATE).run(lambda _: None)
            if not await cores.waiting(server.runtime):
                return
            await self.pass_time((rest.seconds or 0) + 1)
        raise AssertionError(f"still waiting: {await cores.waiting(server.runtime)}")

    async def stop_what_runs_here(self, server: Server) -> None:
        """Stop the timers that Keito has no room for, so that their time is in Keito too."""
        for session, handle in await cores.held(server.runtime):
            agent = replace(server, session=session)
            answer = await server.runtime.own.timesheet.stop(agent.worker, entry_id=handle)
            assert answer.status in {Status.STOPPED, Status.QUEUED}

    def standing(self) -> dict[str, list[dict[str, Any]]]:
        """What stands in Keito, by the operation that made it."""
        found: dict[str, list[dict[str, Any]]] = {}
        for entry in self.keito.entries():
            found.setdefault(str((entry["metadata"] or {}).get("op")), []).append(entry)
        return found


@asynccontextmanager
async def world(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A new world, in which what is late arrives when the model says so."""
    clock = FakeClock()
    late: list[Late] = []

    def hold(_: LateWork, __: float, work: Callable[[], Awaitable[Any]]) -> None:
        exchange = work.__self__  # type: ignore[attr-defined]  # the bound method of one exchange
        late.append(Late(exchange._scope["method"], clock.monotonic, work))  # noqa: SLF001

    monkeypatch.setattr(LateWork, "schedule", hold)
    began = clock.monotonic

    def keitos_time() -> datetime:
        # Nobody sets Keito's clock.
        return NOON + timedelta(seconds=clock.monotonic - began)

    async with embedded_keito(folder / "keito.sqlite3", clock, now=keitos_time) as keito:
        made = World(keito, folder / "state", clock, late)
        yield made
        for server in made.servers:
            server.journal.dead = False
            await server.runtime.aclose()
