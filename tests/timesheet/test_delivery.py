from datetime import datetime, timedelta
from functools import partial
from typing import Any

import anyio
import pytest

from keito_mcp.timesheet import Delivered, wait_for_turn
from tests.kit import COPY_LOOKS, Agent, Desk, FakeClock, Keito, MakeDesk, Neighbour
from tests.support.cores import IS_OF_ROWS, ends_unrecorded

pytestmark = pytest.mark.anyio

A_REST = timedelta(seconds=10)
"""Longer than a write rests after Keito couldn't be reached."""


def _finished(keito: Keito) -> list[dict[str, Any]]:
    """All of the entries but the hours of what runs, which grow."""
    return [{**entry, "hours": None if entry["is_running"] else entry["hours"]} for entry in keito.entries()]


async def test_what_waits_is_delivered_the_oldest_first(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    async with keito.away():
        for notes in "abcde":
            await agent.call("log_time", hours=1, notes=notes)
    clock.pass_time(A_REST)
    await desk.deliver()

    assert [entry["notes"] for entry in keito.entries()] == list("abcde")


async def test_the_changes_of_an_entry_keep_their_order_and_hold_up_no_other_entry(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    started = await agent.call("start_timer")
    clock.pass_time(timedelta(hours=1))
    keito.fails("PATCH", cut_before=True)
    await agent.call("stop_timer")
    corrected = await agent.call("stop_timer", entry_id=started["id"], hours=2)
    async with keito.away():
        await agent.call("log_time", hours=3)
    clock.pass_time(timedelta(minutes=1))
    await desk.deliver()
    assert keito.stops == [started["id"]]
    assert [entry["hours"] for entry in keito.entries() if not entry["is_running"]] == [3]

    await desk.deliver_all()

    assert corrected["status"] == "queued"
    patches = [request.body for request in keito.requests if request.method == "PATCH"]
    with_the_stops = [] if keito.wire.counts else [1]
    # What was asked for first is made no more where something else is wanted by now.
    in_between = [] if IS_OF_ROWS else [1]
    assert [body["hours"] for body in patches if isinstance(body, dict)] == [*with_the_stops, *in_between, 2]
    assert [(entry["hours"], entry["is_running"]) for entry in keito.entries()] == [(2, False), (3, False)]


async def test_a_stop_waits_until_the_start_without_an_answer_is_cleared_up(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    keito.fails("POST", cut_before=True)
    await agent.call("start_timer")
    clock.pass_time(timedelta(minutes=1))
    await agent.call("stop_timer", hours=0.5)
    too_early = await desk.deliver()
    await desk.deliver_all()

    assert too_early == []
    # What didn't arrive as a timer is made as finished work.
    stops = [] if IS_OF_ROWS else ["GET", "PATCH", *keito.wire.after_a_stop]
    assert keito.methods == ["POST", "GET", "GET", "POST", *stops, *COPY_LOOKS]
    assert [(entry["hours"], entry["is_running"]) for entry in keito.entries()] == [(0.5, False)]


@pytest.mark.parametrize("change", [{"hours": 3}, {"notes": "A person's words"}, {"is_running": True}])
async def test_what_a_person_changed_before_a_correction_arrives_is_left_alone_and_told_once(
    agent: Agent, desk: Desk, keito: Keito, change: dict[str, object]
) -> None:
    logged = await agent.call("log_time", hours=1, notes="Review")
    async with keito.away():
        await agent.call("stop_timer", entry_id=logged["id"], hours=2)
    await keito.person("PATCH", logged["id"], **change)
    before = _finished(keito)
    await desk.deliver_all()
    told = await agent.call("list_entries")
    again = await agent.call("list_entries")

    assert _finished(keito) == before
    assert "PATCH" not in keito.methods
    assert f"Not made: the update of entry {logged['id']}" in told["message"]
    assert "message" not in again


async def test_what_a_person_deleted_before_a_correction_arrives_stays_deleted_and_is_told(
    agent: Agent, desk: Desk, keito: Keito
) -> None:
    logged = await agent.call("log_time", hours=1)
    async with keito.away():
        await agent.call("stop_timer", entry_id=logged["id"], hours=2)
    await keito.person("DELETE", logged["id"])
    await desk.deliver_all()
    told = await agent.call("list_entries")

    assert keito.entries() == []
    assert f"Not made: the update of entry {logged['id']}" in told["message"]
    assert "no longer in Keito" in told["message"]


async def test_a_person_who_edited_a_running_timer_keeps_the_notes_when_the_queued_stop_arrives(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    started = await agent.call("start_timer", notes="Fix")
    clock.pass_time(timedelta(hours=1))
    async with keito.away():
        await agent.call("stop_timer", notes="Fixed")
    await keito.person("PATCH", started["id"], notes="A person's words")
    await desk.deliver_all()

    [entry] = keito.entries()
    assert (entry["hours"], entry["is_running"], entry["notes"]) == (1, False, "A person's words")


@pytest.mark.parametrize("change", [{"hours": 3}, {"notes": "A person's words"}])
async def test_a_delete_that_waits_reads_first_and_keeps_what_a_person_changed(
    agent: Agent, desk: Desk, keito: Keito, change: dict[str, object]
) -> None:
    logged = await agent.call("log_time", hours=1, notes="Review")
    other = await agent.call("log_time", hours=2)
    async with keito.away():
        await agent.call("discard_session")
    await keito.person("PATCH", logged["id"], **change)
    await desk.deliver_all()
    told = await agent.call("list_entries")
    again = await agent.call("list_entries")

    assert [entry["id"] for entry in keito.entries()] == [logged["id"]]
    assert keito.sent.count(("DELETE", keito.wire.entry(other["id"]))) == 1
    assert f"Not made: the delete of entry {logged['id']}" in told["message"]
    assert "A person changed its" in told["message"]
    assert "message" not in again


async def test_a_stop_that_waits_is_not_made_once_its_session_is_discarded(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    await agent.call("start_timer")
    clock.pass_time(timedelta(hours=1))
    async with keito.away():
        await agent.call("stop_timer")
        await agent.call("discard_session")
    delivered = await desk.deliver_all()

    assert [one.write.kind for one in delivered] == ["delete"]
    assert keito.methods == ["POST", "GET", "DELETE"]
    assert keito.entries() == []


@pytest.mark.parametrize(("stops_first", "hours"), [(True, 1), (False, 3)])
@pytest.mark.parametrize("waits_for", ["the look", "the delete"])
async def test_a_discarded_timer_that_a_person_edited_is_stopped_where_its_work_ended_and_kept(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock, waits_for: str, *, stops_first: bool, hours: float
) -> None:
    started = await agent.call("start_timer", notes="Fix")
    clock.pass_time(timedelta(hours=1))
    async with keito.away():
        if stops_first:
            await agent.call("stop_timer")
        clock.pass_time(timedelta(hours=2))
        if waits_for == "the look":
            await agent.call("discard_session")
    if waits_for == "the delete":
        keito.fails("DELETE", status=503)
        await agent.call("discard_session")
    await keito.person("PATCH", started["id"], notes="A person's words")
    clock.pass_time(timedelta(hours=20))
    await desk.deliver_all()
    told = await agent.call("stop_timer", entry_id=started["id"])

    [entry] = keito.entries()
    assert (entry["is_running"], entry["hours"], entry["notes"]) == (False, hours, "A person's words")
    assert (told["status"], told["hours"]) == ("already_stopped", hours)
    assert f"Not made: the delete of entry {started['id']}" in told["message"]


async def test_a_discarded_timer_that_was_approved_is_told_to_run_on(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    started = await agent.call("start_timer", notes="Fix")
    clock.pass_time(timedelta(hours=1))
    async with keito.away():
        await agent.call("discard_session")
    keito.store.approve(started["id"])
    await desk.deliver_all()
    told = await agent.call("stop_timer", entry_id=started["id"])

    # Only one version shows that it is approved before it is to be stopped.
    assert told.is_error is not keito.wire.counts
    assert "approved" in told.text
    assert f"Not made: the delete of entry {started['id']}" in told.text
    assert f"Not made: the update of entry {started['id']}" in told.text
    assert (await agent.call("start_timer", notes="Write"))["status"] == keito.wire.beside


async def test_two_couriers_of_two_processes_send_no_write_twice(
    make_desk: MakeDesk, neighbour: Neighbour, keito: Keito, clock: FakeClock
) -> None:
    one, other = make_desk(), make_desk(process=neighbour.name)
    async with one.client() as agent, keito.away():
        for number in range(12):
            await agent.call("log_time", hours=1, notes=f"work {number}")
    clock.pass_time(A_REST)
    keito.fails("POST", delay=0.02, times=100)
    delivered: list[list[Delivered]] = []

    async def deliver(desk: Desk) -> None:
        delivered.append(await desk.deliver())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(deliver, one)
        tasks.start_soon(deliver, other)

    assert all(delivered)
    assert sum(map(len, delivered)) == 12
    assert keito.methods == ["POST"] * 12
    assert len({entry["notes"] for entry in keito.entries()}) == 12


@pytest.fixture
async def ending(make_desk: MakeDesk, neighbour: Neighbour, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A server in another process that ends before it records what became of its writes."""
    desk = make_desk(process=neighbour.name)
    ends_unrecorded(desk, monkeypatch)
    return desk


@pytest.mark.parametrize("tool", ["log_time", "start_timer"])
async def test_what_a_process_that_is_gone_has_sent_is_looked_up_at_once_and_not_sent_again(
    ending: Desk, desk: Desk, neighbour: Neighbour, keito: Keito, tool: str
) -> None:
    async with ending.client() as agent:
        await agent.call(tool, hours=1) if tool == "log_time" else await agent.call(tool)
    neighbour.end()
    delivered = await desk.deliver()

    assert delivered[0].waits is None
    assert keito.methods[:2] == ["POST", "GET"]
    assert keito.methods.count("POST") == 1
    assert len(keito.entries()) == 1


async def test_what_a_process_that_is_gone_has_sent_in_vain_is_sent_again_after_two_minutes_only(
    ending: Desk, desk: Desk, neighbour: Neighbour, keito: Keito, clock: FakeClock
) -> None:
    keito.fails("POST", cut_before=True)
    async with ending.client() as agent:
        await agent.call("log_time", hours=1)
    neighbour.end()
    [looked] = await desk.deliver()
    clock.pass_time(timedelta(seconds=119))
    too_early = await desk.deliver()

    assert looked.waits is not None
    assert too_early == []
    assert keito.methods == ["POST", "GET", "GET"]
    await desk.deliver_all()
    assert keito.methods.count("POST") == 2
    assert len(keito.entries()) == 1


async def test_what_a_process_that_lives_has_in_hand_is_taken_over_after_a_minute_and_looked_up(
    ending: Desk, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    async with ending.client() as agent:
        await agent.call("log_time", hours=1)
    clock.pass_time(timedelta(seconds=59))
    too_early = await desk.deliver()
    clock.pass_time(timedelta(seconds=1))
    [delivered] = await desk.deliver()

    assert too_early == []
    assert (delivered.waits, delivered.refused) == (None, None)
    assert keito.methods == ["POST", "GET"]
    assert len(keito.entries()) == 1


async def test_a_stop_that_a_process_that_is_gone_has_sent_is_read_before_it_is_sent_again(
    make_desk: MakeDesk,
    desk: Desk,
    neighbour: Neighbour,
    keito: Keito,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ending = make_desk(process=neighbour.name)
    async with ending.client() as agent:
        await agent.call("start_timer")
        clock.pass_time(timedelta(hours=1))
        ends_unrecorded(ending, monkeypatch)
        await agent.call("stop_timer")
    neighbour.end()
    await desk.deliver_all()

    assert keito.methods == ["POST", *keito.wire.before_a_stop, "PATCH", "GET"]
    assert [(entry["hours"], entry["is_running"]) for entry in keito.entries()] == [(1, False)]


async def test_a_discard_that_a_process_that_is_gone_has_begun_is_made_whole(
    make_desk: MakeDesk,
    agent: Agent,
    desk: Desk,
    neighbour: Neighbour,
    keito: Keito,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ending = make_desk(process=neighbour.name)
    async with ending.client() as doomed:
        logged = await doomed.call("log_time", hours=1)
        await doomed.call("start_timer")
        ends_unrecorded(ending, monkeypatch)
        keito.fails("DELETE", cut_before=True)
        await doomed.call("discard_session")
    neighbour.end()
    await desk.deliver_all()
    sent = len(keito.requests)
    again = await agent.call("log_time", hours=1)
    await agent.call("start_timer")

    assert again["status"] == "logged"
    assert again["id"] != logged["id"]
    assert keito.methods[sent:] == ["POST", "POST"]
    assert len(keito.entries()) == 2


async def test_a_third_sending_is_preceded_by_two_looks_of_its_own(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    keito.fails("POST", cut_before=True, times=2)
    await agent.call("log_time", hours=1)
    keito.fails("GET", after=1, status=500, times=1000)
    clock.pass_time(timedelta(minutes=2))
    await desk.deliver()
    keito.faults.clear()
    assert keito.methods.count("POST") == 2
    sent = len(keito.requests)

    await desk.deliver_all()

    assert keito.methods[sent : sent + 3] == ["GET", "GET", "POST"]
    assert len(keito.entries()) == 1


ON_THEIR_WAY = 2
"""Requests, one of each process, that had their turn and reach Keito when the clock was moved on meanwhile."""


async def test_delivering_keeps_to_its_rate_also_when_two_processes_deliver(
    make_desk: MakeDesk, neighbour: Neighbour, keito: Keito, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[datetime, int]] = []

    async def sleep(seconds: float) -> None:
        seen.append((clock.wall, len(keito.requests)))
        clock.pass_time(timedelta(seconds=seconds))
        await anyio.lowlevel.checkpoint()

    monkeypatch.setattr("keito_mcp.timesheet.wait_for_turn", partial(wait_for_turn, sleep=sleep))
    one, other = make_desk(), make_desk(process=neighbour.name)
    async with one.client() as agent, keito.away():
        for number in range(30):
            await agent.call("log_time", hours=1, notes=f"work {number}")
    clock.pass_time(A_REST)

    async def deliver(desk: Desk) -> None:
        await desk.runtime.own.courier(12).run(lambda _: None)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(deliver, one)
        tasks.start_soon(deliver, other)

    assert len(seen) > 1
    for moment, made in seen:
        earlier = [count for at, count in seen if at <= moment - timedelta(minutes=1)]
        assert made - max(earlier, default=0) <= 12 + ON_THEIR_WAY
    await one.deliver_all()
    assert keito.methods.count("POST") == 30
    assert len({entry["notes"] for entry in keito.entries()}) == len(keito.entries()) == 30
