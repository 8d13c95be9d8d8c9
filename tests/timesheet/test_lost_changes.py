import json
from datetime import timedelta
from typing import Any

import pytest

from tests.kit import LOST_ANSWERS, NEVER_WRITTEN, Agent, Desk, FakeClock, Keito, until

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("fault", LOST_ANSWERS)
async def test_a_stop_whose_answer_was_lost_is_read_again_and_not_sent_twice(
    agent: Agent, keito: Keito, clock: FakeClock, fault: dict[str, Any]
) -> None:
    await agent.call("start_timer")
    clock.pass_time(timedelta(hours=1))
    keito.fails("PATCH", **fault)
    stopped = await agent.call("stop_timer", notes="Done")

    assert stopped["status"] == "stopped"
    assert stopped["hours"] == 1
    rest = keito.wire.after_a_stop
    assert keito.methods == ["POST", *keito.wire.before_a_stop, "PATCH", "GET", *rest]
    assert [(entry["hours"], entry["notes"]) for entry in keito.entries()] == [(1, "Done")]


@pytest.mark.parametrize("fault", NEVER_WRITTEN)
async def test_a_stop_that_never_arrived_is_made_later_with_the_hours_up_to_the_first_call(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock, fault: dict[str, Any]
) -> None:
    started = await agent.call("start_timer")
    clock.pass_time(timedelta(hours=1))
    keito.fails("PATCH", **fault)
    waits = await agent.call("stop_timer")
    clock.pass_time(timedelta(hours=2))
    again = await agent.call("stop_timer")
    await desk.deliver_all()
    stopped = await agent.call("stop_timer")

    assert (waits["status"], waits["hours"]) == ("queued", 1)
    assert (again["status"], again["hours"], again["id"]) == ("queued", 1, started["id"])
    assert (stopped["status"], stopped["hours"]) == ("already_stopped", 1)
    assert keito.stops == [started["id"]] * 2
    assert [(entry["hours"], entry["is_running"]) for entry in keito.entries()] == [(1, False)]


async def test_a_stop_without_an_answer_is_not_sent_again_within_two_minutes(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    await agent.call("start_timer")
    clock.pass_time(timedelta(hours=1))
    keito.fails("PATCH", cut_before=True)
    await agent.call("stop_timer")
    clock.pass_time(timedelta(seconds=119))
    delivered = await desk.deliver()

    assert delivered == []
    assert len(keito.stops) == 1
    await desk.deliver_all()
    assert [(entry["hours"], entry["is_running"]) for entry in keito.entries()] == [(1, False)]


async def test_a_stop_that_arrived_late_is_recognized_as_our_own(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    await agent.call("start_timer")
    clock.pass_time(timedelta(hours=1))
    keito.fails("PATCH", late_commit=True, delay=0.5)
    waits = await agent.call("stop_timer")
    await until(lambda: not keito.entries()[0]["is_running"])
    delivered = await desk.deliver_all()
    stopped = await agent.call("stop_timer")

    assert waits["status"] == "queued"
    assert [(one.waits, one.refused) for one in delivered] == [(None, None)]
    assert (stopped["status"], stopped["hours"]) == ("already_stopped", 1)
    assert len(keito.stops) == 1


async def test_a_stop_that_keito_refuses_leaves_the_timer_running_and_can_be_repeated(
    agent: Agent, keito: Keito, clock: FakeClock
) -> None:
    await agent.call("start_timer")
    clock.pass_time(timedelta(hours=1))
    # A stop that was sent without a look before it is tried once more after one.
    keito.fails("PATCH", status=422, times=1 if keito.wire.before_a_stop else 2)
    refused = await agent.call("stop_timer")
    clock.pass_time(timedelta(hours=1))
    stopped = await agent.call("stop_timer")

    assert refused.is_error
    assert "Nothing was written" in refused.text
    assert stopped["hours"] == 2


async def test_when_a_stop_and_its_second_look_get_no_answer_it_is_looked_at_later_and_not_sent_twice(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    await agent.call("start_timer")
    clock.pass_time(timedelta(hours=1))
    keito.fails("PATCH", cut_after=True)
    keito.fails("GET", after=len(keito.wire.before_a_stop), hang=True, times=1000)
    answer = await agent.call("stop_timer")
    keito.faults.clear()
    await desk.deliver_all()

    assert answer["status"] == "queued"
    assert (await agent.call("stop_timer"))["status"] == "already_stopped"
    assert keito.entries()[0]["hours"] == 1
    assert len(keito.stops) == 1


async def test_a_correction_whose_answer_was_lost_is_seen_to_be_made_and_one_that_never_arrived_is_made_later(
    agent: Agent, desk: Desk, keito: Keito
) -> None:
    logged = await agent.call("log_time", hours=1, notes="a")
    keito.fails("PATCH", cut_after=True)
    corrected = await agent.call("stop_timer", entry_id=logged["id"], notes="b")
    keito.fails("PATCH", cut_before=True)
    waits = await agent.call("stop_timer", entry_id=logged["id"], hours=2)
    await desk.deliver_all()

    assert corrected["status"] == "updated"
    assert (waits["status"], waits["hours"]) == ("queued", 2)
    assert keito.methods.count("PATCH") == 3
    assert [(entry["hours"], entry["notes"]) for entry in keito.entries()] == [(2, "b")]


async def test_a_stop_that_keito_answers_with_a_running_timer_is_no_success(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    started = await agent.call("start_timer")
    clock.pass_time(timedelta(hours=1))
    keito.fails("PATCH", status=200, body=json.dumps({"id": started["id"], "is_running": True}))
    answer = await agent.call("stop_timer")
    await desk.deliver_all()

    assert answer["status"] == "queued"
    assert "still running" in answer["message"]
    assert [(entry["hours"], entry["is_running"]) for entry in keito.entries()] == [(1, False)]


async def test_a_start_after_a_lost_stop_is_a_second_stretch_and_the_first_ends_where_it_was_stopped(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    first = await agent.call("start_timer", notes="Fix")
    clock.pass_time(timedelta(hours=1))
    keito.fails("PATCH", status=500)
    assert (await agent.call("stop_timer"))["status"] == "queued"
    clock.pass_time(timedelta(hours=3))
    second = await agent.call("start_timer", notes="Fix")
    clock.pass_time(timedelta(hours=2))
    stopped = await agent.call("stop_timer")
    await desk.deliver_all()

    assert second["status"] == keito.wire.beside
    assert second["id"] != first["id"]
    assert {entry["id"]: entry["hours"] for entry in keito.entries()} == {first["id"]: 1, stopped["id"]: 2}


async def test_a_lost_stop_that_meets_the_rate_limit_when_it_is_sent_again_keeps_its_hours(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    await agent.call("start_timer")
    clock.pass_time(timedelta(hours=1))
    keito.fails("PATCH", cut_before=True)
    keito.fails("PATCH", status=429, retry_after=60)
    assert (await agent.call("stop_timer"))["status"] == "queued"
    clock.pass_time(timedelta(hours=3))
    [delivered] = await desk.deliver()
    await desk.deliver_all()

    assert delivered.waits is not None
    assert delivered.waits.seconds == 60
    assert len(keito.stops) == 3
    assert [(entry["hours"], entry["is_running"]) for entry in keito.entries()] == [(1, False)]


async def test_hours_and_notes_given_after_a_lost_stop_are_put_in_all_the_same(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    started = await agent.call("start_timer")
    clock.pass_time(timedelta(hours=1))
    keito.fails("PATCH", cut_after=True)
    keito.fails("GET", after=len(keito.wire.before_a_stop), status=500, times=100)
    await agent.call("stop_timer")
    keito.faults.clear()
    stopped = await agent.call("stop_timer", entry_id=started["id"], hours=2, notes="Done")
    await desk.deliver_all()

    assert (stopped["status"], stopped["hours"], stopped["notes"]) == ("stopped", 2, "Done")
    assert [(entry["hours"], entry["notes"]) for entry in keito.entries()] == [(2, "Done")]


async def test_a_correction_that_was_made_though_its_answer_was_lost_is_our_own(agent: Agent, keito: Keito) -> None:
    logged = await agent.call("log_time", hours=1, notes="a")
    keito.fails("PATCH", cut_after=True)
    keito.fails("GET", after=1, status=500, times=1000)
    waits = await agent.call("stop_timer", entry_id=logged["id"], hours=2)
    keito.faults.clear()
    repeated = await agent.call("stop_timer", entry_id=logged["id"], hours=2)
    other = await agent.call("stop_timer", entry_id=logged["id"], hours=1.5)

    assert waits["status"] == "queued"
    assert (repeated["status"], repeated["hours"]) == ("updated", 2)
    assert (other["status"], other["hours"]) == ("updated", 1.5)
    assert keito.methods.count("PATCH") == 2


async def test_of_two_lost_stops_the_later_one_stands_in_the_end(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    started = await agent.call("start_timer")
    clock.pass_time(timedelta(hours=1))
    keito.fails("PATCH", late_commit=True, delay=0.6)
    await agent.call("stop_timer")
    waits = await agent.call("stop_timer", entry_id=started["id"], hours=2)
    await until(lambda: not keito.entries()[0]["is_running"])
    keito.fails("PATCH", cut_before=True)
    await desk.deliver_all()
    stopped = await agent.call("stop_timer")

    assert (waits["status"], waits["hours"]) == ("queued", 2)
    assert (stopped["status"], stopped["hours"]) == ("already_stopped", 2)
    assert [(entry["hours"], entry["is_running"]) for entry in keito.entries()] == [(2, False)]


async def test_a_small_correction_that_never_arrived_is_not_taken_for_made(
    agent: Agent, desk: Desk, keito: Keito
) -> None:
    logged = await agent.call("log_time", hours=0.003)
    keito.fails("PATCH", cut_before=True)
    answer = await agent.call("stop_timer", entry_id=logged["id"], hours=0.007)

    assert answer["status"] == "queued"
    assert keito.entry(logged["id"])["hours"] == 0.003
    await desk.deliver_all()
    assert keito.entry(logged["id"])["hours"] == 0.007
