"""What a lost answer hides: hours that are to stand exactly, a person's edit, a timer that was made all the same."""

from datetime import timedelta

import pytest

from tests.kit import CORE, LOST_ANSWERS, Agent, Desk, FakeClock, Keito, until

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(CORE != "rows", reason="faults of the old core")]


async def test_a_forgotten_timer_counts_eight_hours_also_where_the_clock_was_set_back(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    await agent.call("start_timer")
    clock.pass_time(timedelta(seconds=30_000))
    clock.wall -= timedelta(seconds=60)
    stopped = await agent.call("stop_timer")
    await desk.deliver_all()

    assert stopped["hours"] == 8
    assert [entry["hours"] for entry in keito.entries()] == [8]


@pytest.mark.parametrize("fault", LOST_ANSWERS)
async def test_given_hours_stand_exactly_where_the_answer_to_the_stop_is_lost(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock, fault: dict[str, object]
) -> None:
    await agent.call("start_timer")
    clock.pass_time(timedelta(seconds=90))
    keito.fails("PATCH", **fault)
    stopped = await agent.call("stop_timer", hours=0.0253)
    await desk.deliver_all()

    assert (stopped["status"], stopped["hours"]) == ("stopped", 0.0253)
    assert [entry["hours"] for entry in keito.entries()] == [0.0253]


async def test_a_correction_that_arrives_late_hides_no_persons_edit_from_the_next_one(
    agent: Agent, desk: Desk, keito: Keito
) -> None:
    logged = await agent.call("log_time", hours=0.1099, notes="Fix")
    keito.fails("PATCH", late_commit=True, delay=0.6)
    await agent.call("stop_timer", entry_id=logged["id"], hours=0.4263)
    waits = await agent.call("stop_timer", entry_id=logged["id"], hours=0.1909)
    await until(lambda: keito.entry(logged["id"])["hours"] == 0.4263)
    await keito.person("PATCH", logged["id"], notes="A person's words")
    await desk.deliver_all()
    told = await agent.call("list_entries")

    assert waits["status"] == "queued"
    entry = keito.entry(logged["id"])
    assert (entry["hours"], entry["notes"]) == (0.4263, "A person's words")
    assert f"Not made: the update of entry {logged['id']}" in told["message"]


async def test_a_start_that_keito_made_and_refused_in_one_breath_is_one_timer(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    keito.fails("POST", status=409, commit=True)
    keito.fails("GET", status=200, body="{}")
    started = await agent.call("start_timer", notes="Fix")
    clock.pass_time(timedelta(hours=1))
    stopped = await agent.call("stop_timer")
    await desk.deliver_all()

    assert not started.is_error
    assert stopped["hours"] == 1
    assert [(entry["hours"], entry["is_running"]) for entry in keito.entries()] == [(1, False)]
