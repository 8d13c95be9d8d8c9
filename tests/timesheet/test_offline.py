from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from tests.kit import CORE, LOOKS_FIRST, Agent, Desk, FakeClock, Keito, MakeDesk

pytestmark = pytest.mark.anyio


def _looks(keito: Keito) -> Sequence[str]:
    """What comes before a stop that was asked for while Keito was away."""
    return keito.wire.before_a_stop if CORE == "rows" else ["GET"]


@pytest.mark.parametrize("names_it", [False, True])
async def test_a_timer_that_starts_and_stops_without_keito_is_one_post_with_its_true_day_and_hours(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock, *, names_it: bool
) -> None:
    async with keito.away():
        started = await agent.call("start_timer", notes="Fix")
        clock.pass_time(timedelta(hours=1, minutes=30))
        stopped = await agent.call("stop_timer", notes="Fixed", **({"entry_id": started["id"]} if names_it else {}))
        clock.pass_time(timedelta(days=1))
    await desk.deliver_all()

    assert started["status"] == "queued"
    assert "stop_timer stops it" in started["message"]
    assert (stopped["status"], stopped["id"], stopped["hours"]) == ("queued", started["id"], 1.5)
    assert keito.methods == [*LOOKS_FIRST, "POST"]
    body = keito.body()
    assert (body["hours"], body["notes"], body["spent_date"]) == (1.5, "Fixed", "2026-03-06")
    assert "is_running" not in body
    assert body["metadata"]["started_at"] == "2026-03-06T12:00:00Z"
    [entry] = keito.entries()
    assert (entry["hours"], entry["is_running"]) == (1.5, False)


async def test_the_key_that_a_queued_timer_answered_names_it_also_once_keito_has_it(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    async with keito.away():
        started = await agent.call("start_timer")
    await desk.deliver_all()
    clock.pass_time(timedelta(hours=1))
    stopped = await agent.call("stop_timer", entry_id=started["id"])

    [entry] = keito.entries()
    assert (stopped["status"], stopped["id"]) == ("stopped", entry["id"])
    assert entry["is_running"] is False


@pytest.mark.parametrize(
    ("zone", "day"),
    [("UTC", "2026-03-06"), ("Pacific/Kiritimati", "2026-03-07"), ("America/Los_Angeles", "2026-03-06")],
)
async def test_work_over_midnight_without_keito_belongs_to_the_users_day_on_which_it_started(
    make_desk: MakeDesk, keito: Keito, clock: FakeClock, zone: str, day: str
) -> None:
    clock.wall = datetime(2026, 3, 6, 23, 30, tzinfo=UTC)
    desk = make_desk(timezone=zone)
    async with desk.client() as agent, keito.away():
        started = await agent.call("start_timer")
        clock.pass_time(timedelta(hours=2))
        stopped = await agent.call("stop_timer")
        clock.pass_time(timedelta(days=2))
    await desk.deliver_all()

    assert started["spent_date"] == stopped["spent_date"] == day
    assert [(entry["spent_date"], entry["hours"]) for entry in keito.entries()] == [(day, 2)]


async def test_what_is_corrected_before_it_left_is_sent_once_as_corrected(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    async with keito.away():
        started = await agent.call("start_timer", notes="Fix")
        clock.pass_time(timedelta(hours=1))
        await agent.call("stop_timer")
        corrected = await agent.call("stop_timer", entry_id=started["id"], hours=0.5, notes="Fixed")
    await desk.deliver_all()

    assert (corrected["status"], corrected["hours"], corrected["notes"]) == ("queued", 0.5, "Fixed")
    assert keito.methods == [*LOOKS_FIRST, "POST"]
    assert [(entry["hours"], entry["notes"]) for entry in keito.entries()] == [(0.5, "Fixed")]


async def test_logged_time_is_corrected_before_it_left_too(agent: Agent, desk: Desk, keito: Keito) -> None:
    async with keito.away():
        logged = await agent.call("log_time", hours=2, notes="Review")
        corrected = await agent.call("stop_timer", entry_id=logged["id"], hours=1.25)
    await desk.deliver_all()

    assert (corrected["status"], corrected["hours"], corrected["notes"]) == ("queued", 1.25, "Review")
    assert keito.methods == ["POST"]
    assert [(entry["hours"], entry["notes"]) for entry in keito.entries()] == [(1.25, "Review")]


async def test_what_is_discarded_before_it_left_is_never_sent(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    async with keito.away():
        logged = await agent.call("log_time", hours=2)
        started = await agent.call("start_timer")
        clock.pass_time(timedelta(hours=1))
        await agent.call("stop_timer")
        discarded = await agent.call("discard_session")
        late = await agent.call("stop_timer", entry_id=started["id"], hours=3)
    await desk.deliver_all()

    assert discarded["discarded"] == [logged["id"], started["id"]]
    assert discarded["hours"] == 3
    assert "queued" not in discarded
    assert "discarded with its session" in late.text
    assert keito.sent == []


async def test_what_is_discarded_once_keito_is_back_is_never_sent_either(
    agent: Agent, desk: Desk, keito: Keito
) -> None:
    async with keito.away():
        logged = await agent.call("log_time", hours=2)
    discarded = await agent.call("discard_session")
    await desk.deliver_all()

    assert (discarded["discarded"], discarded["hours"]) == ([logged["id"]], 2)
    assert keito.methods == ["GET"]
    assert keito.entries() == []


async def test_discarding_without_keito_deletes_later_what_keito_has(agent: Agent, desk: Desk, keito: Keito) -> None:
    logged = await agent.call("log_time", hours=2)
    running = await agent.call("start_timer")
    async with keito.away():
        discarded = await agent.call("discard_session")
        after = await agent.call("start_timer", notes="A new start")
    await desk.deliver_all()

    assert discarded["queued"] == [logged["id"], running["id"]]
    assert (discarded["discarded"], discarded["hours"]) == ([], 0)
    assert after["status"] == "queued"
    assert keito.methods == ["POST", "POST", "GET", "DELETE", "GET", "DELETE", "POST"]
    assert [entry["notes"] for entry in keito.entries()] == ["A new start"]


async def test_a_timer_that_left_before_its_stop_counts_from_its_true_start(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    async with keito.away():
        await agent.call("start_timer")
        clock.pass_time(timedelta(hours=1))
    await desk.deliver()
    [running] = keito.entries()
    clock.pass_time(timedelta(minutes=30))
    stopped = await agent.call("stop_timer")

    assert running["is_running"] is True
    assert (stopped["status"], stopped["id"], stopped["hours"]) == ("stopped", running["id"], 1.5)
    assert keito.methods == [*LOOKS_FIRST, "POST", *keito.wire.before_a_stop, "PATCH", *keito.wire.after_a_stop]
    assert [(entry["hours"], entry["is_running"]) for entry in keito.entries()] == [(1.5, False)]


async def test_a_timer_that_had_not_left_at_its_stop_is_one_post_then(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    async with keito.away():
        await agent.call("start_timer")
    clock.pass_time(timedelta(hours=1))
    stopped = await agent.call("stop_timer")
    await desk.deliver_all()

    assert (stopped["status"], stopped["hours"]) == ("stopped", 1)
    assert keito.methods == [*LOOKS_FIRST, "POST"]
    assert [(entry["id"], entry["hours"], entry["is_running"]) for entry in keito.entries()] == [
        (stopped["id"], 1, False)
    ]


async def test_a_stop_without_keito_is_made_later_with_the_hours_at_the_stop(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    started = await agent.call("start_timer", notes="Fix")
    clock.pass_time(timedelta(hours=1))
    async with keito.away():
        stopped = await agent.call("stop_timer")
        clock.pass_time(timedelta(hours=5))
    await desk.deliver_all()

    assert (stopped["status"], stopped["id"], stopped["hours"]) == ("queued", started["id"], 1)
    assert keito.methods == ["POST", *_looks(keito), "PATCH", *keito.wire.after_a_stop]
    assert [(entry["hours"], entry["is_running"]) for entry in keito.entries()] == [(1, False)]
    assert (await agent.call("stop_timer"))["status"] == "already_stopped"


async def test_stopping_again_without_keito_answers_the_first_stop(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    started = await agent.call("start_timer")
    clock.pass_time(timedelta(hours=1))
    async with keito.away():
        await agent.call("stop_timer")
        clock.pass_time(timedelta(hours=1))
        again = await agent.call("stop_timer")
        by_id = await agent.call("stop_timer", entry_id=started["id"])
    await desk.deliver_all()

    for answer in (again, by_id):
        assert (answer["status"], answer["id"], answer["hours"]) == ("queued", started["id"], 1)
    assert [entry["hours"] for entry in keito.entries()] == [1]


async def test_stopping_without_keito_where_no_timer_is_known_is_an_error(agent: Agent, keito: Keito) -> None:
    async with keito.away():
        answer = await agent.call("stop_timer")

    assert answer.is_error
    assert "can't be reached" in answer.text


async def test_the_same_log_time_again_while_it_is_queued_adds_nothing(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    async with keito.away():
        first = await agent.call("log_time", hours=1, notes="Review")
        clock.pass_time(timedelta(hours=3))
        again = await agent.call("log_time", hours=1, notes="Review")
        other = await agent.call("log_time", hours=1, notes="Another review")
    await desk.deliver_all()

    assert (again["status"], again["id"]) == ("queued", first["id"])
    assert other["id"] != first["id"]
    assert keito.methods.count("POST") == 2
    assert sorted(entry["notes"] for entry in keito.entries()) == ["Another review", "Review"]


async def test_the_same_start_again_while_it_is_queued_is_the_same_timer(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    async with keito.away():
        first = await agent.call("start_timer", notes="Fix")
        clock.pass_time(timedelta(minutes=30))
        again = await agent.call("start_timer", notes="Fix")
        refused = await agent.call("start_timer", notes="Write")
        clock.pass_time(timedelta(minutes=30))
        await agent.call("stop_timer")
    await desk.deliver_all()

    assert (again["status"], again["id"]) == ("already_running", first["id"])
    assert first["id"] in refused.text
    assert "replace_running=true" in refused.text
    assert [entry["hours"] for entry in keito.entries()] == [1]


@pytest.mark.parametrize("keito_has_the_first", [False, True])
async def test_other_work_replaces_the_timer_without_keito_when_told_to(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock, *, keito_has_the_first: bool
) -> None:
    if keito_has_the_first:
        await agent.call("start_timer", notes="Fix")
    async with keito.away():
        if not keito_has_the_first:
            await agent.call("start_timer", notes="Fix")
        clock.pass_time(timedelta(minutes=30))
        replaced = await agent.call("start_timer", notes="Write", replace_running=True)
        clock.pass_time(timedelta(hours=2))
        await agent.call("stop_timer")
    await desk.deliver_all()

    assert replaced["status"] == "queued"
    assert "was stopped first, with 0.5 h" in replaced["message"]
    stop = [*_looks(keito), "PATCH", *keito.wire.after_a_stop] if keito_has_the_first else []
    first = ["POST"] if keito_has_the_first else [*LOOKS_FIRST, "POST"]
    assert keito.methods == [*first, *stop, *LOOKS_FIRST, "POST"]
    assert [(entry["notes"], entry["hours"]) for entry in keito.entries()] == [("Fix", 0.5), ("Write", 2)]


@pytest.mark.parametrize(
    ("wall", "monotonic", "counted"),
    [
        (timedelta(hours=-1), timedelta(hours=1), 1.0),
        (timedelta(days=1, hours=1), timedelta(hours=1), 1.0),
        (timedelta(hours=9), timedelta(hours=9), 8.0),
    ],
    ids=["set back behind the start", "set a day ahead", "forgotten"],
)
async def test_what_is_counted_without_keito_keeps_to_the_rules_and_says_so(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock, wall: timedelta, monotonic: timedelta, counted: float
) -> None:
    async with keito.away():
        await agent.call("start_timer")
        clock.wall += wall
        clock.monotonic += monotonic.total_seconds()
        stopped = await agent.call("stop_timer")
    await desk.deliver_all()

    assert stopped["hours"] == counted
    assert "clock was changed" in stopped["message"] or "9 h" in stopped["message"]
    assert [(entry["hours"], entry["spent_date"]) for entry in keito.entries()] == [(counted, "2026-03-06")]


async def test_a_person_who_stopped_the_timer_before_the_queued_stop_arrives_wins(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    started = await agent.call("start_timer")
    clock.pass_time(timedelta(hours=1))
    async with keito.away():
        await agent.call("stop_timer")
    await keito.person("PATCH", started["id"], is_running=False, hours=0.25)
    await desk.deliver_all()
    told = await agent.call("log_time", hours=1)
    again = await agent.call("log_time", hours=2)

    assert [entry["hours"] for entry in keito.entries()] == [0.25, 1, 2]
    assert all(request.body is None for request in keito.requests if request.method == "PATCH")
    assert f"Not made: the update of entry {started['id']}" in told["message"]
    assert "A person stopped it in Keito" in told["message"]
    assert "message" not in again
