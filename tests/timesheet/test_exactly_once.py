from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from tests.kit import COPY_LOOKS, CORE, LOST_ANSWERS, NEVER_WRITTEN, Agent, Desk, FakeClock, Keito, MakeDesk, until

pytestmark = pytest.mark.anyio

TOOLS: list[tuple[str, dict[str, Any]]] = [
    ("log_time", {"hours": 1, "notes": "Review"}),
    ("start_timer", {"notes": "Fix"}),
]


@pytest.mark.parametrize("fault", LOST_ANSWERS)
@pytest.mark.parametrize(("tool", "arguments"), TOOLS)
async def test_a_lost_answer_is_found_by_its_key_and_not_posted_again(
    agent: Agent, keito: Keito, tool: str, arguments: dict[str, Any], fault: dict[str, Any]
) -> None:
    keito.fails("POST", **fault)
    answer = await agent.call(tool, **arguments)

    assert answer["status"] in {"logged", "running"}
    assert keito.methods == ["POST", "GET"]
    assert keito.requests[1].query == f"source=agent&from=2026-03-05&to=2026-03-07&{keito.wire.page(200)}"
    [entry] = keito.entries()
    assert answer["id"] == entry["id"]


async def test_an_entry_that_a_person_moved_to_another_project_is_found_all_the_same(
    agent: Agent, desk: Desk, keito: Keito
) -> None:
    keito.fails("POST", hang=True)
    await agent.call("log_time", hours=1)
    lost = keito.body(0)
    moved = await keito.person("POST", **{**lost, "project_id": "prj_elsewhere"})
    await desk.deliver_all()
    answer = await agent.call("log_time", meta={"callId": "again"}, hours=1)

    assert keito.methods == ["POST", "GET", "GET", "POST"]
    assert answer["status"] == "logged"
    assert [entry["id"] for entry in keito.entries()] == [moved["id"], answer["id"]]


@pytest.mark.parametrize("fault", NEVER_WRITTEN)
@pytest.mark.parametrize(("tool", "arguments"), TOOLS)
async def test_without_an_answer_nor_an_entry_the_write_is_queued_and_made_once(
    agent: Agent, desk: Desk, keito: Keito, tool: str, arguments: dict[str, Any], fault: dict[str, Any]
) -> None:
    keito.fails("POST", **fault)
    answer = await agent.call(tool, **arguments)

    assert answer["status"] == "queued"
    assert "exactly once" in answer["message"]
    assert "Don't make this call again" in answer["message"]
    assert keito.methods == ["POST", "GET"]
    assert keito.entries() == []
    await desk.deliver_all()
    assert keito.methods == ["POST", "GET", "GET", "POST", *COPY_LOOKS]
    [entry] = keito.entries()
    assert entry["metadata"]["entry_key"] == answer["id"]
    assert entry["is_running"] is (tool == "start_timer")
    assert entry["is_running"] or entry["hours"] == answer["hours"]


@pytest.mark.parametrize(("tool", "arguments"), TOOLS)
async def test_within_two_minutes_neither_a_repeated_call_nor_the_queue_sends_it_again(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock, tool: str, arguments: dict[str, Any]
) -> None:
    keito.fails("POST", cut_before=True)
    first = await agent.call(tool, **arguments)
    clock.pass_time(timedelta(seconds=119))
    again = await agent.call(tool, **arguments)
    delivered = await desk.deliver()

    assert again["status"] in {"queued", "already_running"}
    assert again["id"] == first["id"]
    assert delivered == []
    assert keito.methods == ["POST", "GET"]
    await desk.deliver_all()
    assert len(keito.entries()) == 1


async def test_after_two_minutes_a_logged_entry_that_never_arrived_is_posted_with_the_same_keys(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    keito.fails("POST", cut_before=True)
    await agent.call("log_time", hours=1)
    clock.pass_time(timedelta(seconds=121))
    answer = await agent.call("log_time", hours=1)

    assert answer["status"] == "duplicate"
    assert keito.methods == ["POST", "GET", "GET", "POST"]
    assert keito.body(0) == keito.body(3)
    keys = {keito.requests[number].headers["idempotency-key"] for number in (0, 3)}
    assert len(keys) == 1
    await desk.deliver_all()
    assert [entry["id"] for entry in keito.entries()] == [answer["id"]]


async def test_after_two_minutes_a_timer_that_never_arrived_is_posted_and_counts_from_its_own_start(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    keito.fails("POST", cut_before=True)
    await agent.call("start_timer")
    clock.pass_time(timedelta(minutes=3))
    answer = await agent.call("start_timer")
    clock.pass_time(timedelta(hours=1))
    stopped = await agent.call("stop_timer")
    await desk.deliver_all()

    assert answer["status"] == "already_running"
    assert stopped["hours"] == 1.05
    assert keito.methods.count("POST") == 2
    [entry] = keito.entries()
    assert (entry["id"], entry["hours"], entry["is_running"]) == (answer["id"], 1.05, False)


@pytest.mark.parametrize("by", ["the next call", "the queue"])
async def test_a_write_that_arrives_after_the_client_gave_up_is_found_and_not_sent_again(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock, by: str
) -> None:
    keito.fails("POST", late_commit=True, delay=0.5)
    first = await agent.call("log_time", hours=1)
    await until(keito.entries)
    clock.pass_time(timedelta(minutes=2))
    if by == "the queue":
        await desk.deliver_all()
    again = await agent.call("log_time", hours=1)

    assert first["status"] == "queued"
    assert again["status"] == "duplicate"
    assert again["id"] == keito.entries()[0]["id"]
    assert keito.methods == ["POST", "GET", "GET"]


async def test_a_timer_that_arrived_late_is_the_one_that_stop_timer_stops(
    agent: Agent, keito: Keito, clock: FakeClock
) -> None:
    keito.fails("POST", late_commit=True, delay=0.5)
    await agent.call("start_timer")
    await until(keito.entries)
    clock.pass_time(timedelta(hours=1))
    stopped = await agent.call("stop_timer")

    assert stopped["status"] == "stopped"
    assert stopped["hours"] == 1
    assert len(keito.entries()) == 1


async def test_stopping_a_timer_that_never_arrived_makes_it_with_the_hours_up_to_the_stop(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    keito.fails("POST", cut_before=True)
    await agent.call("start_timer", notes="Fix")
    clock.pass_time(timedelta(hours=1))
    stopped = await agent.call("stop_timer")
    again = await agent.call("start_timer", notes="Fix")
    await desk.deliver_all()

    assert (stopped["status"], stopped["hours"]) == ("stopped", 1)
    assert again["status"] == "running"
    # What certainly never arrived is made as it should be by now.
    assert keito.methods[:5] == ["POST", "GET", "GET", "POST", "POST" if CORE == "rows" else "PATCH"]
    first, second = keito.entries()
    assert (first["hours"], first["is_running"]) == (1, False)
    assert second["id"] == again["id"]


async def test_stopping_a_timer_that_may_still_arrive_waits_and_counts_up_to_the_stop(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    keito.fails("POST", cut_before=True)
    await agent.call("start_timer")
    clock.pass_time(timedelta(minutes=1, seconds=30))
    stopped = await agent.call("stop_timer")
    clock.pass_time(timedelta(hours=3))
    await desk.deliver_all()

    assert (stopped["status"], stopped["hours"]) == ("queued", 0.025)
    [entry] = keito.entries()
    assert (entry["hours"], entry["is_running"]) == (0.025, False)
    assert keito.methods.count("POST") == 2
    assert keito.stops == ([] if CORE == "rows" else [entry["id"]])


async def test_a_refused_connection_is_certain_and_trying_again_is_free(agent: Agent, desk: Desk, keito: Keito) -> None:
    async with keito.away():
        answer = await agent.call("log_time", hours=1)
        again = await agent.call("log_time", hours=1)
        await desk.deliver()
    await desk.deliver_all()

    assert answer["status"] == again["status"] == "queued"
    assert answer["id"] == again["id"]
    assert keito.methods == ["POST"]
    assert [entry["hours"] for entry in keito.entries()] == [1]


async def test_a_cancelled_call_is_followed_to_its_end(desk: Desk, keito: Keito) -> None:
    keito.fails("POST", delay=0.3)
    async with desk.client() as agent:
        with anyio.move_on_after(0.1):
            await agent.call("log_time", hours=1)
        await until(lambda: len(desk.commits) == 2)
        again = await agent.call("log_time", hours=1)

    assert again["status"] == "duplicate"
    assert len(keito.entries()) == 1


async def test_keitos_own_word_that_it_exists_already_is_success_when_it_is_found(agent: Agent, keito: Keito) -> None:
    keito.fails("POST", status=409, commit=True)
    answer = await agent.call("log_time", hours=1)

    assert answer["status"] == "logged"
    assert len(keito.entries()) == 1


async def test_a_conflict_without_an_entry_is_an_error_with_keitos_reason(agent: Agent, keito: Keito) -> None:
    keito.fails("POST", status=409, body='{"error": {"code": "duplicate", "message": "the period is closed"}}')
    answer = await agent.call("log_time", hours=1)

    assert answer.is_error
    assert "the period is closed" in answer.text
    assert keito.methods == ["POST", "GET"]


@pytest.mark.parametrize(
    "body", ['{"id": "te_1"}', '{"id": "te_1", "hours": "soon", "metadata": 7, "notes": [], "new": {"field": 1}}']
)
async def test_an_answer_with_strange_or_missing_fields_is_accepted(agent: Agent, keito: Keito, body: str) -> None:
    keito.fails("POST", status=201, body=body)
    answer = await agent.call("log_time", hours=1, notes="Review")

    assert answer["id"] == "te_1"
    assert answer["hours"] == 1
    assert answer["notes"] == "Review"
    assert keito.methods == ["POST"]


async def test_the_same_words_on_another_day_are_another_entry_even_while_the_first_is_unknown(
    agent: Agent, keito: Keito, clock: FakeClock
) -> None:
    keito.fails("POST", cut_before=True)
    await agent.call("log_time", hours=0.25, notes="Stand-up")
    clock.pass_time(timedelta(days=1))
    answer = await agent.call("log_time", hours=0.25, notes="Stand-up")

    assert answer["status"] == "logged"
    assert answer["spent_date"] == "2026-03-07"
    assert keito.methods == ["POST", "GET", "POST"]


async def test_when_the_look_up_gets_no_answer_either_it_is_queued_and_found_later(
    agent: Agent, desk: Desk, keito: Keito
) -> None:
    keito.fails("POST", cut_after=True)
    keito.fails("GET", status=500, times=1000)
    answer = await agent.call("log_time", hours=1)
    keito.faults.clear()
    await desk.deliver_all()
    again = await agent.call("log_time", hours=1)

    assert answer["status"] == "queued"
    assert again["status"] == "duplicate"
    assert keito.methods.count("POST") == 1
    assert [entry["id"] for entry in keito.entries()] == [again["id"]]


async def test_a_repeat_over_midnight_is_the_same_call(agent: Agent, keito: Keito, clock: FakeClock) -> None:
    clock.wall = datetime(2026, 3, 7, 0, 29, 30, tzinfo=UTC)
    keito.fails("POST", late_commit=True, delay=0.5)
    await agent.call("log_time", hours=0.5)
    await until(keito.entries)
    clock.pass_time(timedelta(seconds=125))
    again = await agent.call("log_time", hours=0.5)

    assert again["status"] == "duplicate"
    assert len(keito.entries()) == 1


async def test_two_servers_that_send_a_lost_entry_again_send_it_once(
    make_desk: MakeDesk, keito: Keito, clock: FakeClock
) -> None:
    statuses: list[str] = []

    async def repeat(agent: Agent) -> None:
        statuses.append((await agent.call("log_time", hours=1))["status"])

    async with make_desk().client() as one, make_desk().client() as other:
        keito.fails("POST", cut_before=True)
        await one.call("log_time", hours=1)
        clock.pass_time(timedelta(seconds=121))
        keito.fails("GET", delay=0.2, times=2)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(repeat, one)
            tasks.start_soon(repeat, other)

    assert "duplicate" in statuses
    assert set(statuses) <= {"duplicate", "queued"}
    assert keito.methods.count("POST") == 2
    assert len(keito.entries()) == 1


async def test_a_call_id_that_is_used_for_other_work_swallows_nothing(agent: Agent, keito: Keito) -> None:
    await agent.call("log_time", meta={"callId": "1"}, hours=1)
    other = await agent.call("log_time", meta={"callId": "1"}, hours=5)

    assert other["status"] == "logged"
    assert len(keito.entries()) == 2


async def test_a_look_up_that_ends_at_its_bound_is_not_taken_for_nothing_there(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    keito.fails("POST", late_commit=True, delay=0.5)
    await agent.call("log_time", hours=1, notes="lost")
    await until(keito.entries)
    for _ in range(3):
        await keito.person("POST", project_id="prj_abc", spent_date="2026-03-06", hours=1, source="agent")
    clock.pass_time(timedelta(seconds=200))
    with monkeypatch.context() as narrow:
        asks = "asking._" if CORE == "rows" else "ledger."
        narrow.setattr(f"keito_mcp.timesheet.{asks}PAGE_LIMIT", 1)
        narrow.setattr(f"keito_mcp.timesheet.{asks}MOST_PAGES", 2)
        answer = await agent.call("log_time", hours=1, notes="lost")
    await desk.deliver_all()

    assert answer["status"] == "queued"
    assert "too many entries" in answer["message"]
    assert keito.methods.count("POST") == 1
    assert [entry["notes"] for entry in keito.entries()].count("lost") == 1


async def test_a_conflict_that_nobody_can_look_into_is_looked_into_later(
    agent: Agent, desk: Desk, keito: Keito
) -> None:
    keito.fails("POST", status=409, commit=True)
    keito.fails("GET", hang=True, times=100)
    answer = await agent.call("log_time", hours=1)
    keito.faults.clear()
    await desk.deliver_all()
    again = await agent.call("log_time", hours=1)

    assert answer["status"] == "queued"
    assert "Nothing was written" not in answer.text
    assert again["status"] == "duplicate"
    assert keito.methods.count("POST") == 1
    assert len(keito.entries()) == 1


async def test_a_clock_that_is_set_back_a_day_does_not_keep_a_timer_from_keito_for_a_day(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    keito.fails("POST", cut_before=True)
    await agent.call("start_timer")
    clock.wall -= timedelta(days=1)
    clock.monotonic += 121
    delivered = await desk.deliver()

    assert [one.waits for one in delivered] == [None]
    assert [entry["is_running"] for entry in keito.entries()] == [True]


async def test_a_clock_that_is_set_forward_does_not_shorten_the_wait(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    keito.fails("POST", cut_before=True)
    await agent.call("log_time", hours=1)
    clock.wall += timedelta(minutes=30)
    clock.monotonic += 10
    answer = await agent.call("log_time", hours=1)
    delivered = await desk.deliver()

    assert answer["status"] == "queued"
    assert delivered == []
    assert keito.methods.count("POST") == 1
    clock.pass_time(timedelta(seconds=110))
    await desk.deliver()
    assert keito.methods.count("POST") == 2
    assert len(keito.entries()) == 1
