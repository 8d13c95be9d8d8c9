"""One machine: a state folder, servers that are killed over it, and clocks that can be moved."""

import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import Process

from tests.kill.book import Book, Tally
from tests.kit import Keito, until
from tests.processes import Wire, environment, gone, run, spawned, wire
from tests.support import cores

DRIVER = (sys.executable, str(Path(__file__).with_name("driver.py")))
_DRY = 60.0


class Dead(Exception):
    """The server was killed before it answered."""


@dataclass
class Agent:
    """An agent that calls the tools of one server, and what it was answered."""

    machine: "Machine"
    wire: Wire

    async def call(self, tool: str, op: str | None = None, **arguments: Any) -> dict[str, Any] | None:
        """Call a tool: its answer, or nothing where it failed; raises `Dead`."""
        return await self.hear(tool, op, await self.begin(tool, op, **arguments))

    async def begin(self, tool: str, op: str | None = None, **arguments: Any) -> int:
        """Call a tool and don't wait for its answer."""
        book = self.machine.book
        book.asks(tool, op, arguments.get("hours"), self.machine.moved)
        if op is not None:
            arguments = {"notes": f"work {op}", "metadata": {"op": op}, **arguments}
        try:
            return await self.wire.start(tool, **arguments)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            raise Dead from None

    async def hear(self, tool: str, op: str | None, number: int) -> dict[str, Any] | None:
        try:
            message = await self.wire.answer(number)
        except (anyio.IncompleteRead, anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise Dead from None
        result = message["result"]
        if result.get("isError"):
            return None
        answer: dict[str, Any] = result["structuredContent"]
        self.machine.book.hears(tool, op, answer)
        return answer

    async def log(self, op: str, hours: float, **more: Any) -> dict[str, Any] | None:
        return await self.call("log_time", op, hours=hours, **more)

    async def correct(self, op: str, handle: str, hours: float) -> dict[str, Any] | None:
        self.machine.book.corrects(op, hours, answered=False)
        answer = await self.call("stop_timer", entry_id=handle, hours=hours)
        if answer is not None:
            self.machine.book.corrects(op, hours, answered=True)
        return answer

    async def kill(self) -> None:
        """SIGKILL, and see that it is gone."""
        process = self.wire.process
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await gone(process)

    async def close(self) -> None:
        """Give back what the machine holds of a server that is gone."""
        await self.wire.process.aclose()

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for what the server does by itself; raises `Dead` where it died before."""
        await until(lambda: condition() or self.wire.process.returncode is not None, 15)
        if self.wire.process.returncode is not None:
            raise Dead


@dataclass
class Machine:
    """Where servers come and go."""

    keito: Keito
    folder: Path
    book: Book = field(default_factory=Book)
    moved: float = 0.0
    _dry: Process = field(init=False)

    def __post_init__(self) -> None:
        self._offset.write_text("0")

    @property
    def _offset(self) -> Path:
        return self.folder / "offset"

    @property
    def commits(self) -> Path:
        """The names of all commits of all servers."""
        return self.folder / "commits"

    def pass_time(self, duration: timedelta) -> None:
        """For everybody."""
        self.keito.clock.pass_time(duration)
        self.moved += duration.total_seconds()
        fresh = self._offset.with_suffix(".fresh")
        fresh.write_text(str(self.moved))
        fresh.replace(self._offset)

    def environment(self, session: str | None = "session-1", **more: str | None) -> dict[str, str]:
        return environment(
            self.keito,
            KEITO_SESSION_ID=session,
            KEITO_AGENT_ID="tester",
            KILL_OFFSET=str(self._offset),
            KILL_COMMITS=str(self.commits),
            **more,
        )

    @asynccontextmanager
    async def server(self, session: str = "session-1", **more: str | None) -> AsyncIterator[Agent]:
        """A server that is killed in the end."""
        env = self.environment(session, **more)
        async with wire(env=env, tmp_path=self.folder, program=DRIVER) as server:
            yield Agent(self, server)

    async def command(self, *arguments: str, **more: str | None) -> subprocess.CompletedProcess[str]:
        """A command of the command line, run to its end or to its death."""
        return await run(*arguments, env=self.environment(None, **more), cwd=self.folder, program=DRIVER)

    async def command_killed_at_a(self, method: str, *arguments: str) -> None:
        """A command that gets SIGKILL while Keito has the first request of this kind in its hands."""
        self.keito.fails(method, delay=5)
        seen = len(self.keito.requests)
        process = await anyio.open_process([*DRIVER, *arguments], env=self.environment(), cwd=self.folder)
        async with spawned(process):
            await until(lambda: method in self.keito.methods[seen:])
            process.kill()
            assert (await gone(process))[0] == -signal.SIGKILL

    @asynccontextmanager
    async def deliverer(self) -> AsyncIterator[None]:
        """A process that will deliver the queue; it is started early, to save the tests' time."""
        log = self.folder / "stderr-dry"
        with log.open("wb") as stderr:
            self._dry = await anyio.open_process(
                [*DRIVER, "dry"], stdout=subprocess.DEVNULL, stderr=stderr, env=self.environment(), cwd=self.folder
            )
        async with spawned(self._dry):
            yield

    async def run_dry(self) -> Tally:
        """No more faults, and a process that delivers until nothing waits; then count."""
        self.keito.faults.clear()
        assert self._dry.stdin is not None
        await self._dry.stdin.send(b"\n")
        code, _ = await gone(self._dry, _DRY)
        assert code == 0, (self.folder / "stderr-dry").read_text()
        dry = float(self._offset.read_text())
        self.keito.clock.pass_time(timedelta(seconds=dry - self.moved))
        self.moved = dry
        return self.book.against(self.keito.entries(), self.moved)

    def query(self, sql: str) -> list[Any]:
        """What the journal's file holds."""
        file = self.folder / "state" / "journal.sqlite3"
        if not file.exists():
            return []
        with closing(sqlite3.connect(file)) as connection:
            return connection.execute(sql).fetchall()

    def waiting(self) -> int:
        """How much is still to be done."""
        [(number,)] = self.query(cores.WAITING)
        return int(number)
