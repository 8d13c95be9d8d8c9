"""Stops of timers whose hours Keito counts itself (v2): what follows the stop, and what came between."""

from datetime import timedelta
from typing import Any

import pytest

from tests.kit import LOST_ANSWERS, Agent, Desk, FakeClock, Keito, MakeDesk, Neighbour
from tests.support.cores import ends_unrecorded

pytestmark = pytest.mark.anyio

HOUR = timedelta(hours=1)
A_REST = timedelta(seconds=10)


@pytest.fixture
def api_version() -> str:
    return "v2"


def _standing(keito: Keito) -> list[tuple[float, bool]]:
    return [(entry["hours"], entry["is_running"]) for entry in keito.entries()]


async def _begun_late(agent: Agent, desk: Desk, keito: Keito, clock: FakeClock) -> str:
    """A timer of 12:00 that reached Keito at 13:00; it is 14:00 now."""
    async with keito.away():
        await agent.call("start_timer", notes="Fix")
        clock.pass_time(HOUR)
    await desk.deliver()
    clock.pass_time(HOUR)
    return str(keito.entries()[0]["id"])


async def test_a_stop_is_one_request_and_its_hours_are_those_that_keito_counts(
    agent: Agent, keito: Keito, clock: FakeClock
) -> None:
    started = await agent.call("start_timer")
    clock.pass_time(HOUR)
    stopped = await agent.call("stop_timer")

    assert (stopped["status"], stopped["id"], stopped["hours"]) == ("stopped", started["id"], 1)
    assert keito.methods == ["POST", "PATCH"]
    assert keito.requests[-1].body is None


async def test_a_timer_that_reached_keito_late_has_the_hours_since_its_start(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    await _begun_late(agent, desk, keito, clock)
    stopped = await agent.call("stop_timer")

    assert (stopped["status"], stopped["hours"]) == ("stopped", 2)
    assert _standing(keito) == [(2, False)]


@pytest.mark.parametrize("fault", [{"status": 429, "retry_after": 60}, {"cut_before": True}, {"status": 503}])
async def test_hours_that_could_not_follow_the_stop_follow_later(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock, fault: dict[str, Any]
) -> None:
    await _begun_late(agent, desk, keito, clock)
    keito.fails("PATCH", after=1, **fault)
    waits = await agent.call("stop_timer")
    assert _standing(keito) == [(1, False)]
    again = await agent.call("stop_timer")
    clock.pass_time(3 * HOUR)
    await desk.deliver_all()
    told = await agent.call("list_entries")

    assert (waits["status"], waits["hours"]) == (again["status"], again["hours"]) == ("queued", 2)
    assert _standing(keito) == [(2, False)]
    assert len(keito.stops) == 1
    assert "message" not in told


@pytest.mark.parametrize("arguments", [{}, {"hours": 0.5}, {"hours": 3}, {"notes": "Done"}])
async def test_what_should_follow_the_stop_of_a_process_that_is_gone_follows_all_the_same(
    make_desk: MakeDesk,
    desk: Desk,
    neighbour: Neighbour,
    keito: Keito,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    arguments: dict[str, Any],
) -> None:
    ending = make_desk(process=neighbour.name)
    async with ending.client() as agent:
        await _begun_late(agent, ending, keito, clock)
        ends_unrecorded(ending, monkeypatch)
        keito.fails("PATCH", after=1, cut_before=True)
        await agent.call("stop_timer", **arguments)
    neighbour.end()
    assert _standing(keito) == [(1, False)]
    clock.pass_time(HOUR)
    await desk.deliver_all()

    [entry] = keito.entries()
    assert entry["hours"] == arguments.get("hours", 2)
    assert entry["notes"] == arguments.get("notes", "Fix")


@pytest.mark.parametrize("fault", LOST_ANSWERS)
@pytest.mark.parametrize("half", [0, 1])
async def test_a_lost_answer_to_either_half_is_seen_to_be_made_in_the_same_call(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock, half: int, fault: dict[str, Any]
) -> None:
    await _begun_late(agent, desk, keito, clock)
    keito.fails("PATCH", after=half, **fault)
    stopped = await agent.call("stop_timer", notes="Done")

    assert (stopped["status"], stopped["hours"], stopped["notes"]) == ("stopped", 2, "Done")
    assert [(entry["hours"], entry["notes"]) for entry in keito.entries()] == [(2, "Done")]
    assert keito.methods.count("PATCH") == 2
    assert await desk.deliver_all() == []


async def test_a_stop_that_was_not_answered_is_a_persons_where_its_hours_are(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    started = await agent.call("start_timer")
    clock.pass_time(HOUR)
    keito.fails("PATCH", cut_before=True)
    await agent.call("stop_timer", hours=1)
    await keito.person("PATCH", started["id"], is_running=False, hours=0.25)
    await desk.deliver_all()

    assert _standing(keito) == [(0.25, False)]
    assert "A person stopped it" in (await agent.call("list_entries"))["message"]


async def test_a_pause_that_a_person_made_in_keito_is_not_counted(agent: Agent, keito: Keito, clock: FakeClock) -> None:
    started = await agent.call("start_timer", notes="Fix")
    clock.pass_time(HOUR)
    await keito.person("PATCH", started["id"], is_running=False)
    clock.pass_time(2 * HOUR)
    await keito.person("PATCH", started["id"], is_running=True)
    clock.pass_time(HOUR)
    stopped = await agent.call("stop_timer")

    assert (stopped["status"], stopped["hours"]) == ("stopped", 2)
    assert "Keito counts 2 h of the 4 h since its start: a person changed the timer" in stopped["message"]
    assert _standing(keito) == [(2, False)]


async def test_notes_that_keito_refuses_leave_the_timer_stopped_and_are_no_persons_doing(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    started = await agent.call("start_timer")
    clock.pass_time(HOUR)
    keito.fails("PATCH", after=1, status=422)
    refused = await agent.call("stop_timer", notes="Done")
    again = await agent.call("stop_timer", entry_id=started["id"], notes="Done, really")

    assert refused.is_error
    assert "The timer itself is stopped, with 1 h" in refused.text
    assert "person" not in refused.text
    assert (again["status"], again["notes"], again["hours"]) == ("updated", "Done, really", 1)
    assert await desk.deliver_all() == []


@pytest.mark.parametrize("change", [{"task_id": "tsk_1"}, {"notes": "A person's words"}])
async def test_what_a_person_edited_of_a_running_timer_stays_and_its_notes_too(
    agent: Agent, keito: Keito, clock: FakeClock, change: dict[str, str]
) -> None:
    started = await agent.call("start_timer", notes="Fix")
    clock.pass_time(HOUR)
    await keito.person("PATCH", started["id"], **change)
    stopped = await agent.call("stop_timer", notes="Mine")

    assert (stopped["status"], stopped["hours"]) == ("stopped", 1)
    assert "A person changed its" in stopped["message"]
    entry = keito.entry(started["id"])
    assert {name: entry[name] for name in change} == change
    assert entry["notes"] == change.get("notes", "Fix")


async def test_a_timer_that_was_locked_meanwhile_is_an_error_and_stays_as_it_is(
    agent: Agent, keito: Keito, clock: FakeClock
) -> None:
    started = await agent.call("start_timer", notes="Fix")
    clock.pass_time(HOUR)
    keito.store.approve(started["id"])
    refused = await agent.call("stop_timer", notes="Mine", hours=3)

    assert refused.is_error
    assert "approved" in refused.text
    assert (keito.entry(started["id"])["is_running"], keito.entry(started["id"])["notes"]) == (True, "Fix")


async def test_a_stop_that_arrives_late_counts_up_to_its_call(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    await agent.call("start_timer")
    clock.pass_time(HOUR)
    async with keito.away():
        await agent.call("stop_timer")
    clock.pass_time(5 * HOUR)
    keito.fails("PATCH", after=1, cut_before=True)
    await desk.deliver()
    assert _standing(keito) == [(6, False)]
    await desk.deliver_all()

    assert _standing(keito) == [(1, False)]
    assert len(keito.stops) == 1


async def _stopped_late(agent: Agent, keito: Keito, clock: FakeClock) -> str:
    """A timer of 12:00 whose stop of 13:00 is to be delivered at 18:00."""
    started = await agent.call("start_timer")
    clock.pass_time(HOUR)
    async with keito.away():
        await agent.call("stop_timer")
    clock.pass_time(5 * HOUR)
    return str(started["id"])


async def test_hours_that_are_not_let_in_with_the_key_any_more_wait_for_the_next_one(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    await _stopped_late(agent, keito, clock)
    keito.fails("PATCH", after=1, status=401)
    await desk.deliver()
    assert _standing(keito) == [(6, False)]
    await desk.deliver_all()

    assert _standing(keito) == [(1, False)]


async def test_hours_that_keito_refuses_after_a_late_stop_are_told(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    entry_id = await _stopped_late(agent, keito, clock)
    keito.fails("PATCH", after=1, status=422)
    await desk.deliver_all()
    told = await agent.call("list_entries")
    again = await agent.call("list_entries")

    assert _standing(keito) == [(6, False)]
    assert f"Not made: the update of entry {entry_id}" in told["message"]
    assert "The timer itself is stopped, with 6 h as Keito counts them." in told["message"]
    assert "message" not in again


@pytest.mark.parametrize("fault", LOST_ANSWERS)
async def test_a_late_stop_without_an_answer_is_followed_by_its_hours_at_once(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock, fault: dict[str, Any]
) -> None:
    await _stopped_late(agent, keito, clock)
    keito.fails("PATCH", **fault)
    [delivered] = await desk.deliver()

    assert (delivered.waits, delivered.refused) == (None, None)
    assert _standing(keito) == [(1, False)]
