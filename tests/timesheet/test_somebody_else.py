"""What a load balancer, a proxy or a captive portal says in Keito's place."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from keito_mcp.journal import Write
from keito_mcp.timesheet.pending import Pending
from tests.kit import Agent, Desk, FakeClock, Keito

pytestmark = pytest.mark.anyio

PAGE: dict[str, Any] = {"body": "<!doctype html><title>404</title>", "content_type": "text/html"}
A_REST = timedelta(seconds=10)
AN_HOUR = timedelta(hours=1)


async def waiting(desk: Desk) -> Sequence[Write | Pending]:
    return await desk.runtime.overview.unsettled(desk.runtime.own.name)


async def test_a_timer_whose_stop_meets_a_page_of_404_is_stopped_later_once(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    started = await agent.call("start_timer")
    clock.pass_time(AN_HOUR)
    keito.fails("PATCH", status=404, **PAGE)
    stopped = await agent.call("stop_timer")
    assert keito.entry(started["id"])["is_running"]
    clock.pass_time(timedelta(seconds=110))
    await desk.deliver()
    assert len(keito.stops) == 1
    clock.pass_time(A_REST)
    await desk.deliver_all()

    assert stopped["status"] == "queued"
    assert "something else answered 404 in Keito's place" in stopped["message"]
    assert [(entry["hours"], entry["is_running"]) for entry in keito.entries()] == [(1, False)]
    assert len(keito.stops) == 2


async def test_a_timer_that_a_page_of_404_hides_from_a_read_is_stopped_later(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    started = await agent.call("start_timer")
    clock.pass_time(AN_HOUR)
    keito.fails(status=404, times=2, **PAGE)
    stopped = await agent.call("stop_timer", entry_id=started["id"])
    keito.faults.clear()
    await desk.deliver_all()

    assert stopped["status"] == "queued"
    assert [(entry["hours"], entry["is_running"]) for entry in keito.entries()] == [(1, False)]


async def test_an_entry_whose_delete_meets_a_page_of_404_is_not_said_to_be_discarded_and_is_in_the_end(
    agent: Agent, desk: Desk, keito: Keito
) -> None:
    logged = await agent.call("log_time", hours=1)
    keito.fails("DELETE", status=404, **PAGE)
    discarded = await agent.call("discard_session")
    standing = [entry["id"] for entry in keito.entries()]
    await desk.deliver_all()

    assert standing == [logged["id"]]
    assert (discarded["discarded"], discarded["queued"], discarded["kept"]) == ([], [logged["id"]], [])
    assert keito.entries() == []


@pytest.mark.parametrize("shape", [PAGE, {"body": ""}, {"body": '{"error": "blocked"}'}], ids=["page", "empty", "json"])
@pytest.mark.parametrize("status", [400, 403, 404, 405, 407, 409, 410, 413, 421, 425, 451, 499])
async def test_an_entry_is_not_believed_to_be_gone_by_what_answers_a_read_of_a_write_that_was_promised(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock, status: int, shape: dict[str, Any]
) -> None:
    logged = await agent.call("log_time", hours=1)
    keito.fails("PATCH", status=429)
    await agent.call("stop_timer", entry_id=logged["id"], hours=2)
    clock.pass_time(A_REST)
    keito.fails("GET", status=status, **shape)
    [delivered] = await desk.deliver()
    await desk.deliver_all()

    assert delivered.refused is None
    assert [entry["hours"] for entry in keito.entries()] == [2]


async def test_a_rate_limit_that_is_not_keitos_is_waited_for_and_its_write_looked_up_first(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    keito.fails("POST", status=429, commit=True, retry_after=0.01, **PAGE)
    keito.fails("GET", status=429, retry_after=600, **PAGE)
    logged = await agent.call("log_time", hours=1)
    clock.pass_time(timedelta(minutes=5))
    await desk.deliver_all()

    assert logged["status"] == "queued"
    assert keito.methods.count("POST") == 1
    assert [entry["hours"] for entry in keito.entries()] == [1]


@pytest.mark.parametrize("after", ["1773316800", "3153600000", "inf", "Wed, 06 Mar 2126 12:00:00 GMT"])
@pytest.mark.parametrize(("tool", "arguments"), [("log_time", {"hours": 1}), ("start_timer", {})])
async def test_a_write_waits_no_longer_than_an_hour_however_long_keito_asks_for(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock, tool: str, arguments: dict[str, Any], after: str
) -> None:
    keito.fails("POST", status=429, retry_after=after)
    answer = await agent.call(tool, **arguments)
    [write] = await waiting(desk)
    clock.pass_time(timedelta(minutes=59))
    too_early = await desk.deliver()
    clock.pass_time(timedelta(minutes=1))
    [delivered] = await desk.deliver()

    assert answer["status"] == "queued"
    assert write.is_to_be_made
    assert too_early == []
    assert (delivered.waits, delivered.refused) == (None, None)
    assert len(keito.entries()) == 1


async def test_a_clock_that_was_days_ahead_delays_nothing_that_waits(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    clock.wall += timedelta(days=3)
    keito.fails("POST", cut_before=True)
    await agent.call("log_time", hours=1, notes="lost")
    keito.fails("POST", status=429, retry_after=600)
    await agent.call("log_time", hours=1, notes="limited")
    clock.wall -= timedelta(days=3)
    clock.boot_id, clock.monotonic = "boot-2", 10.0
    await desk.deliver_all()

    assert sorted(entry["notes"] for entry in keito.entries()) == ["limited", "lost"]
