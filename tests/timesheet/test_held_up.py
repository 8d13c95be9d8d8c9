from datetime import timedelta
from typing import Any

import pytest

from tests.kit import LOOKS_FIRST, Agent, Desk, FakeClock, Keito, MakeDesk
from tests.support.cores import IS_OF_ROWS

pytestmark = pytest.mark.anyio

A_REST = timedelta(seconds=10)
"""Longer than a write rests after Keito couldn't be reached."""


@pytest.mark.parametrize(("tool", "arguments"), [("log_time", {"hours": 1}), ("start_timer", {})])
async def test_a_rate_limit_that_outlasts_the_call_is_waited_for_and_the_write_made_then(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock, tool: str, arguments: dict[str, Any]
) -> None:
    keito.fails("POST", status=429, retry_after=300)
    answer = await agent.call(tool, **arguments)
    clock.pass_time(timedelta(seconds=299))
    too_early = await desk.deliver()
    clock.pass_time(timedelta(seconds=1))
    [delivered] = await desk.deliver()

    assert answer["status"] == "queued"
    assert "rate limit" in answer["message"]
    assert too_early == []
    assert (delivered.waits, delivered.refused) == (None, None)
    assert keito.methods == ["POST", *LOOKS_FIRST, "POST"]
    assert len(keito.entries()) == 1


async def test_a_rate_limit_while_the_queue_is_delivered_ends_the_run_and_says_for_how_long(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    async with keito.away():
        for notes in "abc":
            await agent.call("log_time", hours=1, notes=notes)
    clock.pass_time(A_REST)
    keito.fails("POST", status=429, retry_after=90)
    [delivered] = await desk.deliver()
    assert delivered.waits is not None
    assert delivered.waits.seconds == 90
    assert keito.methods == ["POST"]

    await desk.deliver_all()

    assert sorted(entry["notes"] for entry in keito.entries()) == ["a", "b", "c"]
    assert keito.methods == ["POST"] * 4


async def test_a_rate_limit_on_a_look_up_is_waited_for_too(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    keito.fails("POST", cut_after=True)
    keito.fails("GET", hang=True, times=100)
    await agent.call("log_time", hours=1)
    keito.faults.clear()
    keito.fails("GET", status=429, retry_after=200)
    clock.pass_time(timedelta(seconds=30))
    [looked] = await desk.deliver()
    assert looked.waits is not None
    clock.pass_time(timedelta(seconds=199))
    too_early = await desk.deliver()
    clock.pass_time(timedelta(seconds=1))
    assert too_early == []
    [found] = await desk.deliver()

    assert looked.waits.seconds == 200
    assert found.waits is None
    assert keito.methods.count("POST") == 1


@pytest.mark.parametrize("what", ["create", "stop", "delete"])
async def test_a_key_that_keito_does_not_accept_keeps_what_was_promised(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock, what: str
) -> None:
    if what != "create":
        await agent.call("start_timer")
        clock.pass_time(timedelta(hours=1))
    async with keito.away():
        match what:
            case "create":
                await agent.call("log_time", hours=1)
            case "stop":
                await agent.call("stop_timer")
            case _:
                await agent.call("discard_session")
    clock.pass_time(A_REST)
    keito.fails(status=401)
    [delivered] = await desk.deliver()
    before = len(keito.requests)
    await desk.deliver_all()
    told = await agent.call("log_time", hours=5)

    assert delivered.waits is not None
    assert "the key (401)" in delivered.waits.why
    assert len(keito.requests) > before
    assert [(entry["hours"], entry["is_running"]) for entry in keito.entries()] == [
        *([] if what == "delete" else [(1, False)]),
        (5, False),
    ]
    assert "message" not in told


@pytest.mark.parametrize("status", [401, 403, 422])
async def test_what_keito_refuses_in_the_call_itself_is_an_error_and_nothing_is_kept(
    agent: Agent, desk: Desk, keito: Keito, status: int
) -> None:
    keito.fails("POST", status=status)
    answer = await agent.call("log_time", hours=1)
    delivered = await desk.deliver_all()

    assert answer.is_error
    assert "Nothing was written" in answer.text
    assert delivered == []
    assert keito.entries() == []


@pytest.mark.parametrize("status", [403, 422])
async def test_a_queued_entry_that_keito_refuses_is_told_once_at_the_next_call(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock, status: int
) -> None:
    async with keito.away():
        logged = await agent.call("log_time", hours=1, notes="Review")
    clock.pass_time(A_REST)
    keito.fails("POST", status=status, body='{"error": {"code": "c", "message": "the period is closed"}}')
    [delivered] = await desk.deliver()
    told = await agent.call("list_entries")
    again = await agent.call("list_entries")
    await desk.deliver_all()

    assert delivered.refused is not None
    assert f"Not made: the create of entry {logged['id']}" in told["message"]
    assert "the period is closed" in told["message"]
    assert "message" not in again
    assert keito.methods.count("POST") == 1
    assert keito.entries() == []


async def test_a_queued_entry_that_keito_refused_is_told_by_a_call_that_fails_too(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    async with keito.away():
        await agent.call("log_time", hours=1)
    clock.pass_time(A_REST)
    keito.fails("POST", status=422)
    await desk.deliver()
    failed = await agent.call("stop_timer")

    assert failed.is_error
    assert "Not made: the create" in failed.text


async def test_another_agent_is_not_told_what_was_refused(make_desk: MakeDesk, keito: Keito, clock: FakeClock) -> None:
    desk = make_desk(agent_id="a1")
    async with desk.client() as one, make_desk(agent_id="a2").client() as other:
        async with keito.away():
            await one.call("log_time", hours=1)
        clock.pass_time(A_REST)
        keito.fails("POST", status=422)
        await desk.deliver()
        others = await other.call("list_entries")
        own = await one.call("list_entries")

    assert "message" not in others
    assert "Not made" in own["message"]


async def test_a_queued_timer_that_keito_refuses_is_not_in_the_way_of_the_next(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    async with keito.away():
        started = await agent.call("start_timer", notes="Fix")
    clock.pass_time(A_REST)
    keito.fails("POST", status=403)
    await desk.deliver()
    second = await agent.call("start_timer", notes="Write")
    gone = await agent.call("stop_timer", entry_id=started["id"])

    assert second["status"] == "running"
    assert "Not made: the create" in second["message"]
    assert gone.is_error
    assert "log_time" in gone.text
    assert [entry["notes"] for entry in keito.entries()] == ["Write"]


@pytest.mark.parametrize("status", [403, 409, 422])
async def test_a_queued_stop_that_keito_refuses_is_told_and_not_in_the_way_of_the_next_timer(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock, status: int
) -> None:
    started = await agent.call("start_timer", notes="Fix")
    clock.pass_time(timedelta(hours=1))
    async with keito.away():
        await agent.call("stop_timer")
    clock.pass_time(A_REST)
    # One that was sent unread is sent again after a look, where it may have been about a timer that doesn't run.
    is_sent_twice = IS_OF_ROWS and keito.wire.counts and status == 422
    keito.fails("PATCH", status=status, times=2 if is_sent_twice else 1)
    await desk.deliver()
    second = await agent.call("start_timer", notes="Write")
    asked = await agent.call("stop_timer", entry_id=started["id"])
    stopped = await agent.call("stop_timer", entry_id=started["id"], hours=1)
    clock.pass_time(timedelta(hours=2))
    await agent.call("stop_timer", entry_id=second["id"])

    assert second["status"] == keito.wire.beside
    assert f"Not made: the update of entry {started['id']}" in second["message"]
    assert asked.is_error
    assert (stopped["status"], stopped["hours"]) == ("stopped", 1)
    standing = {entry["notes"]: (entry["hours"], entry["is_running"]) for entry in keito.entries()}
    assert standing == {"Fix": (1, False), "Write": (2, False)}


@pytest.mark.parametrize("fault", [{"status": 429, "retry_after": 60}, {"status": 503}, {"cut_before": True}])
async def test_the_work_that_was_logged_meanwhile_is_not_held_up_for_good(
    agent: Agent, desk: Desk, keito: Keito, fault: dict[str, Any]
) -> None:
    keito.fails("POST", times=3, **fault)
    for notes in "abc":
        await agent.call("log_time", hours=1, notes=notes)
    await desk.deliver_all()

    assert sorted(entry["notes"] for entry in keito.entries()) == ["a", "b", "c"]


@pytest.mark.parametrize("status", [400, 403])
async def test_a_correction_whose_entry_keito_refuses_to_show_is_refused_and_told(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock, status: int
) -> None:
    logged = await agent.call("log_time", hours=1)
    async with keito.away():
        await agent.call("stop_timer", entry_id=logged["id"], hours=2)
    clock.pass_time(A_REST)
    keito.fails("GET", status=status)
    [delivered] = await desk.deliver()
    told = await agent.call("list_entries")

    assert delivered.refused is not None
    assert f"Not made: the update of entry {logged['id']}" in told["message"]
    assert await desk.deliver_all() == []
    assert [entry["hours"] for entry in keito.entries()] == [1]
