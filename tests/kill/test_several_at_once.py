"""Several programs over one journal: two servers and a `sync`, and the heir of a server that was killed."""

import os
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from keito_mcp.keito import Timeouts
from tests.kill.machine import Machine
from tests.kit import Answer, FakeClock, Keito, MakeDesk, until
from tests.processes import run

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(os.name != "posix", reason="the signals of POSIX"),
]

_LOGS, _STOPS, _DISCARDED = 8, 3, 3
_AT_ONCE = Timeouts(attempt=1.0, read=1.0, write=1.0, retry_after=0.0, backoff=60.0)
"""Nothing is tried a second time within a call."""


@pytest.fixture
def clock() -> FakeClock:
    """What waits was asked for an hour ago, so that none of it rests any more."""
    return FakeClock(datetime.now(UTC) - timedelta(hours=1))


async def fill_the_queue(keito: Keito, make_desk: MakeDesk) -> None:
    """Writes that wait: creates, stops and deletes; few enough for one minute of a `sync`."""

    async def call(session: str, tool: str, **arguments: Any) -> Answer:
        async with make_desk(session_id=session, timeouts=_AT_ONCE).client() as agent:
            return await agent.call(tool, **arguments)

    for number in range(_STOPS):
        await call(f"stopped-{number}", "start_timer")
    for number in range(_DISCARDED):
        await call(f"discarded-{number}", "log_time", hours=3)
    async with keito.away():
        for number in range(_STOPS):
            await call(f"stopped-{number}", "stop_timer", hours=0.5)
        for number in range(_DISCARDED):
            await call(f"discarded-{number}", "discard_session")
        for number in range(_LOGS):
            answer = await call("logged", "log_time", hours=0.25 * (number + 1), notes=f"log {number}")
            assert answer["status"] == "queued"


async def test_two_servers_and_a_sync_deliver_everything_and_send_nothing_twice(
    keito: Keito, make_desk: MakeDesk, clock: FakeClock, tmp_path: Path
) -> None:
    await fill_the_queue(keito, make_desk)
    clock.wall = datetime.now(UTC)
    machine = Machine(keito, tmp_path)
    assert machine.waiting() == _LOGS + _STOPS + _DISCARDED
    keito.requests.clear()
    keito.fails(delay=0.1, times=1000)

    async with machine.server("one") as one, machine.server("two") as two, anyio.create_task_group() as tasks:
        await one.wire.greet()
        await two.wire.greet()
        synced: list[int] = []

        async def sync() -> None:
            done = await run("sync", env=machine.environment(), cwd=tmp_path)
            assert done.returncode == 0, done.stdout + done.stderr
            synced.append(done.returncode)

        tasks.start_soon(sync)
        await until(lambda: keito.requests)
        await one.call("list_entries")
        await two.call("list_entries")
        await until(lambda: synced and not machine.waiting(), 20)

    made = Counter(request.headers["idempotency-key"] for request in keito.requests if request.method == "POST")
    changed = Counter((request.method, request.path) for request in keito.requests if request.method != "GET")
    del changed["POST", keito.wire.entries]
    # Where Keito runs one timer of a user, the others are logged when they stop; and hours follow a stop.
    in_keito, requests = (1, 2) if keito.wire.counts else (_STOPS, 1)
    assert (len(made), set(made.values())) == (_LOGS + _STOPS - in_keito, {1})
    assert (len(changed), set(changed.values())) == (in_keito * requests + _DISCARDED, {1})
    entries = keito.entries()
    assert sorted(entry["hours"] for entry in entries) == sorted(
        [0.5] * _STOPS + [0.25 * (number + 1) for number in range(_LOGS)]
    )
    assert not any(entry["is_running"] for entry in entries)


async def test_the_next_session_closes_a_killed_servers_timer_at_its_last_sign_of_life_and_says_so(
    machine: Machine,
) -> None:
    async with machine.server("killed") as agent:
        started = await agent.call("start_timer", "timer")
        machine.pass_time(timedelta(minutes=45))
        await agent.call("list_entries")
        await agent.kill()
    assert started is not None
    machine.pass_time(timedelta(minutes=30))

    async with machine.server("heir") as agent:
        answer = await agent.log("a", 0.5)
        await agent.until(lambda: not machine.waiting())
    assert answer is not None
    assert f"Timer {started['id']} ('work timer') of session killed was left running" in answer["message"]
    assert "stopped at its last sign of life" in answer["message"]
    closed = machine.keito.entry(started["id"])
    assert (closed["is_running"], closed["hours"]) == (False, pytest.approx(0.75, abs=0.01))
    assert len(machine.keito.entries()) == 2


async def test_a_heartbeat_moves_the_last_sign_of_life_of_a_server_with_a_running_timer(machine: Machine) -> None:
    def last_sign() -> datetime:
        [(text,)] = machine.query("SELECT seen_at FROM sessions")
        return datetime.fromisoformat(text)

    async with machine.server(KILL_BEAT="0.05") as agent:
        await agent.call("start_timer", "timer")
        begun = last_sign()
        machine.pass_time(timedelta(minutes=20))
        await agent.until(lambda: last_sign() >= begun + timedelta(minutes=20))
