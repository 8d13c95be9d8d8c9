"""Sessions that are discarded while a stop of one of their timers is on its way to Keito."""

from datetime import timedelta
from typing import Any

import anyio
import pytest

from tests.kit import Agent, Desk, FakeClock, Keito, until

pytestmark = pytest.mark.anyio

_ON_ITS_WAY = 0.3
"""Seconds that Keito takes for the stop."""

NOT_NOW: dict[str, Any] = {"method": "DELETE", "status": 503}
UNSEEN: dict[str, Any] = {"method": "GET", "status": 429, "retry_after": 60}
"""Faults that keep a delete waiting; with the second one, what the journal knows is to be deleted."""


async def discard_while_the_stop_is_on_its_way(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock, fault: dict[str, Any]
) -> str:
    """Returns the timer's id."""
    started = await agent.call("start_timer", notes="Fix")
    clock.pass_time(timedelta(hours=1))
    async with keito.away():
        assert (await agent.call("stop_timer"))["status"] == "queued"
    clock.pass_time(timedelta(minutes=1))
    async with anyio.create_task_group() as tasks:
        keito.fails("PATCH", delay=_ON_ITS_WAY)
        tasks.start_soon(desk.deliver)
        await until(lambda: "PATCH" in keito.methods)
        keito.fails(**fault)
        answer = await agent.call("discard_session")
    assert answer["queued"] == [started["id"]]
    keito.faults.clear()
    clock.pass_time(timedelta(minutes=5))
    return str(started["id"])


@pytest.mark.parametrize("fault", [NOT_NOW, UNSEEN], ids=["not-now", "unseen"])
async def test_a_timer_that_our_own_stop_reached_after_its_session_was_discarded_is_deleted(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock, fault: dict[str, Any]
) -> None:
    await discard_while_the_stop_is_on_its_way(agent, desk, keito, clock, fault)
    await desk.deliver_all()
    assert keito.entries() == []


@pytest.mark.parametrize("edit", [{"hours": 3}, {"notes": "Billed to another"}], ids=["hours", "notes"])
async def test_what_a_person_changed_after_our_stop_is_kept(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock, edit: dict[str, Any]
) -> None:
    timer = await discard_while_the_stop_is_on_its_way(agent, desk, keito, clock, NOT_NOW)
    assert keito.entry(timer)["is_running"] is False
    await keito.person("PATCH", timer, **edit)
    await desk.deliver_all()
    [entry] = keito.entries()
    assert {name: entry[name] for name in edit} == edit


async def test_a_timer_that_a_person_stopped_while_our_stop_waited_is_kept(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    started = await agent.call("start_timer")
    clock.pass_time(timedelta(hours=1))
    async with keito.away():
        await agent.call("stop_timer")
        await agent.call("discard_session")
    await keito.person("PATCH", started["id"], is_running=False, hours=0.75)
    clock.pass_time(timedelta(minutes=5))
    await desk.deliver_all()
    assert keito.entry(started["id"])["hours"] == 0.75
