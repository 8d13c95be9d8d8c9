"""Commands that die right after a commit of their journal, or while a request is in flight, and are run again."""

import os
import signal
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from keito_mcp.keito import Timeouts
from tests.kill.commits import ADOPT, DISCARD, DUE, LAST_LOOK, MANY_KILLS, RESTORE, SYNC, steps
from tests.kill.machine import Machine
from tests.kit import PERSONS_KEY, Keito, MakeDesk
from tests.profile import profile

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(os.name != "posix", reason="the signals of POSIX"),
]

_AT_ONCE = Timeouts(attempt=1.0, read=1.0, write=1.0, retry_after=0.0, backoff=60.0)
"""Nothing is tried a second time within a call."""

WAITING = {"logged": 0.25, "logged, too": 0.75, "stopped": 0.5}
"""Notes and hours of what stands in Keito once the queue is delivered."""


async def leave_a_queue(machine: Machine, make_desk: MakeDesk) -> None:
    """Two creates, a stop and a delete wait."""
    stopped, discarded = (make_desk(session_id=name, timeouts=_AT_ONCE) for name in ("stopped", "discarded"))
    async with stopped.client() as one, discarded.client() as other:
        await one.call("start_timer", notes="stopped")
        await other.call("log_time", hours=3)
        async with machine.keito.away():
            await one.call("stop_timer", hours=0.5)
            await one.call("log_time", hours=0.25, notes="logged")
            await one.call("log_time", hours=0.75, notes="logged, too")
            await other.call("discard_session")
    machine.pass_time(DUE)


async def sync(machine: Machine) -> None:
    """The next command delivers everything that a dead one left."""
    for later in (DUE, LAST_LOOK):
        machine.pass_time(later)
        done = await machine.command("sync")
        assert done.returncode == 0, done.stdout + done.stderr
    assert machine.waiting() == 0


async def run_dry(machine: Machine) -> None:
    """The same where a real minute would pass: a courier that moves the clock."""
    async with machine.deliverer():
        await machine.run_dry()
    assert machine.waiting() == 0


def sent_twice(keito: Keito) -> list[tuple[str, str, str | None]]:
    """The writes that came in more than once, creates by their Idempotency-Key."""
    writes = [request for request in keito.requests if request.method != "GET"]
    sent = Counter((write.method, write.path, write.headers.get("idempotency-key")) for write in writes)
    return [write for write, times in sent.items() if times > 1]


def standing(keito: Keito) -> Counter[tuple[str, float, bool]]:
    """Notes, hours and whether it runs of each entry."""
    return Counter((entry["notes"], entry["hours"], entry["is_running"]) for entry in keito.entries())


def expected(hours: dict[str, float]) -> Counter[tuple[str, float, bool]]:
    return Counter((notes, number, False) for notes, number in hours.items())


def whole(keito: Keito) -> list[dict[str, Any]]:
    """All of each entry that a restored one has again."""
    changes = {"id", "created_at", "updated_at"}
    kept = [{name: value for name, value in entry.items() if name not in changes} for entry in keito.entries()]
    return sorted(kept, key=lambda entry: str(entry["notes"]))


@pytest.mark.parametrize("step", SYNC)
async def test_a_sync_that_dies_after_a_commit_loses_nothing_and_doubles_nothing(
    machine: Machine, make_desk: MakeDesk, step: str
) -> None:
    await leave_a_queue(machine, make_desk)
    assert (await machine.command("sync", KILL_AT=step)).returncode == -signal.SIGKILL
    await run_dry(machine)
    assert standing(machine.keito) == expected(WAITING)


@pytest.mark.parametrize("method", steps(["POST"], ["PATCH", "DELETE"]))
async def test_a_sync_that_is_killed_while_its_request_is_in_flight_sends_nothing_twice_and_loses_nothing(
    machine: Machine, make_desk: MakeDesk, method: str
) -> None:
    await leave_a_queue(machine, make_desk)
    await machine.command_killed_at_a(method, "sync")
    machine.keito.faults.clear()
    await sync(machine)
    assert standing(machine.keito) == expected(WAITING)
    assert sent_twice(machine.keito) == []


@pytest.mark.parametrize("step", ADOPT)
async def test_a_sync_that_dies_while_it_adopts_moves_all_of_a_queue_or_nothing(
    machine: Machine, make_desk: MakeDesk, step: str
) -> None:
    async with (
        make_desk(api_key=PERSONS_KEY, account_id="co_another", timeouts=_AT_ONCE).client() as agent,
        machine.keito.away(),
    ):
        await agent.call("log_time", hours=0.25, notes="logged")
        await agent.call("log_time", hours=0.75, notes="logged, too")
    machine.pass_time(DUE)
    died = await machine.command("sync", "--adopt", "--yes", KILL_AT=step)
    assert died.returncode == -signal.SIGKILL
    await run_dry(machine)
    assert standing(machine.keito) == expected({"logged": 0.25, "logged, too": 0.75})


async def log_and_stop(machine: Machine, make_desk: MakeDesk) -> None:
    """A session with two entries in Keito, one of them a finished timer."""
    async with make_desk().client() as agent:
        await agent.call("log_time", hours=1.25, notes="Review", is_billable=False, metadata={"ticket": "A"})
        await agent.call("start_timer", notes="Fix")
        machine.pass_time(timedelta(minutes=15))
        await agent.call("stop_timer")


@pytest.mark.parametrize("step", RESTORE)
async def test_a_restore_that_dies_and_is_run_again_makes_each_entry_again_once(
    machine: Machine, make_desk: MakeDesk, step: str
) -> None:
    await log_and_stop(machine, make_desk)
    before = whole(machine.keito)
    async with make_desk().client() as agent:
        await agent.call("discard_session")
    assert machine.keito.entries() == []

    died = await machine.command("restore", "session-1", KILL_AT=step)
    assert died.returncode == -signal.SIGKILL
    await run_dry(machine)
    await machine.command("restore", "session-1")
    await run_dry(machine)
    assert whole(machine.keito) == before


@pytest.mark.parametrize("step", DISCARD)
async def test_what_a_discard_that_died_deleted_can_be_restored_whole(
    machine: Machine, make_desk: MakeDesk, step: str
) -> None:
    await log_and_stop(machine, make_desk)
    before = whole(machine.keito)
    died = await machine.command("discard", "session-1", KILL_AT=step)
    assert died.returncode == -signal.SIGKILL
    machine.pass_time(DUE)
    await machine.command("discard", "session-1")
    await run_dry(machine)
    assert machine.keito.entries() == []

    restored = await machine.command("restore", "session-1")
    assert restored.returncode == 0, restored.stdout + restored.stderr
    assert whole(machine.keito) == before


@pytest.mark.skipif(profile().kills < MANY_KILLS, reason="a sync that is killed so stands for it")
async def test_a_discard_that_is_killed_while_its_delete_is_in_flight_is_made_whole_by_sync(
    machine: Machine, make_desk: MakeDesk
) -> None:
    await log_and_stop(machine, make_desk)
    await machine.command_killed_at_a("DELETE", "discard", "session-1")
    machine.keito.faults.clear()
    await sync(machine)
    assert machine.keito.entries() == []
    assert sent_twice(machine.keito) == []
