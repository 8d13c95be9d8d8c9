from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from tests.kit import Agent, Desk, FakeClock, Keito, MakeDesk, until

pytestmark = pytest.mark.anyio

LOST_ANSWERS: list[dict[str, Any]] = [
    {"cut_after": True},
    {"status": 500, "commit": True},
    {"status": 201, "commit": True, "body": "<html>", "content_type": "text/html"},
    {"status": 200, "commit": True, "body": "{}"},
]
NEVER_WRITTEN: list[dict[str, Any]] = [{"cut_before": True}, {"status": 503}, {"hang": True}, {"status": 302}]
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
    assert keito.requests[1].query == "source=agent&from=2026-03-05&to=2026-03-07&limit=200"
    [entry] = keito.entries()
    assert answer["id"] == entry["id"]


async def test_an_entry_that_a_person_moved_to_another_project_is_found_all_the_same(
    agent: Agent, keito: Keito
) -> None:
    keito.fails("POST", hang=True)
    await agent.call("log_time", hours=1)
    lost = keito.body(0)
    await keito.person("POST", **{**lost, "project_id": "prj_elsewhere"})
    answer = await agent.call("log_time", hours=1)

    assert answer["status"] == "duplicate"
    assert len(keito.entries()) == 1


@pytest.mark.parametrize("fault", NEVER_WRITTEN)
@pytest.mark.parametrize(("tool", "arguments"), TOOLS)
async def test_without_an_answer_nor_an_entry_the_outcome_is_said_to_be_unknown(
    agent: Agent, keito: Keito, tool: str, arguments: dict[str, Any], fault: dict[str, Any]
) -> None:
    keito.fails("POST", **fault)
    answer = await agent.call(tool, **arguments)

    assert answer.is_error
    assert "may still turn up" in answer.text
    assert "same call again in 120 s" in answer.text
    assert keito.methods == ["POST", "GET"]


@pytest.mark.parametrize(("tool", "arguments"), TOOLS)
async def test_within_two_minutes_a_repeated_call_looks_and_does_not_post(
    agent: Agent, keito: Keito, clock: FakeClock, tool: str, arguments: dict[str, Any]
) -> None:
    keito.fails("POST", cut_before=True)
    await agent.call(tool, **arguments)
    clock.pass_time(timedelta(seconds=90))
    answer = await agent.call(tool, **arguments)

    assert answer.is_error
    assert "in 30 s" in answer.text
    assert keito.methods == ["POST", "GET", "GET"]


async def test_after_two_minutes_a_logged_entry_that_never_arrived_is_posted_with_the_same_keys(
    agent: Agent, keito: Keito, clock: FakeClock
) -> None:
    keito.fails("POST", cut_before=True)
    await agent.call("log_time", hours=1)
    clock.pass_time(timedelta(seconds=121))
    answer = await agent.call("log_time", hours=1)

    assert answer["status"] == "logged"
    assert keito.methods == ["POST", "GET", "GET", "POST"]
    assert keito.body(0) == keito.body(3)
    keys = {keito.requests[number].headers["idempotency-key"] for number in (0, 3)}
    assert len(keys) == 1
    assert len(keito.entries()) == 1


async def test_after_two_minutes_a_timer_that_never_arrived_starts_now(
    agent: Agent, keito: Keito, clock: FakeClock
) -> None:
    keito.fails("POST", cut_before=True)
    await agent.call("start_timer")
    clock.pass_time(timedelta(seconds=121))
    answer = await agent.call("start_timer")
    clock.pass_time(timedelta(hours=1))
    stopped = await agent.call("stop_timer")

    assert answer["status"] == "running"
    assert stopped["hours"] == 1
    assert len(keito.entries()) == 1


async def test_a_write_that_arrives_after_the_client_gave_up_is_found_by_the_next_call(
    agent: Agent, keito: Keito
) -> None:
    keito.fails("POST", late_commit=True, delay=0.5)
    first = await agent.call("log_time", hours=1)
    await until(keito.entries)
    again = await agent.call("log_time", hours=1)

    assert first.is_error
    assert again["status"] == "duplicate"
    assert again["id"] == keito.entries()[0]["id"]
    assert keito.methods.count("POST") == 1


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


async def test_stopping_a_timer_that_never_arrived_points_to_log_time(
    agent: Agent, keito: Keito, clock: FakeClock
) -> None:
    keito.fails("POST", cut_before=True)
    await agent.call("start_timer")
    clock.pass_time(timedelta(hours=1))
    answer = await agent.call("stop_timer")

    assert answer.is_error
    assert "never reached Keito" in answer.text
    assert "log_time" in answer.text
    assert (await agent.call("start_timer"))["status"] == "running"


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
    assert keito.methods == ["POST", "GET", "PATCH", "GET"]


@pytest.mark.parametrize("fault", NEVER_WRITTEN)
async def test_a_stop_that_never_arrived_is_repeated_with_the_hours_of_the_first(
    agent: Agent, keito: Keito, clock: FakeClock, fault: dict[str, Any]
) -> None:
    await agent.call("start_timer")
    clock.pass_time(timedelta(hours=1))
    keito.fails("PATCH", **fault)
    unknown = await agent.call("stop_timer")
    clock.pass_time(timedelta(hours=2))
    stopped = await agent.call("stop_timer")

    assert unknown.is_error
    assert "isn't known" in unknown.text
    assert stopped["status"] == "stopped"
    assert stopped["hours"] == 1
    assert keito.entries()[0]["hours"] == 1


async def test_a_stop_that_arrived_late_is_recognized_as_our_own(agent: Agent, keito: Keito, clock: FakeClock) -> None:
    await agent.call("start_timer")
    clock.pass_time(timedelta(hours=1))
    keito.fails("PATCH", late_commit=True, delay=0.5)
    await agent.call("stop_timer")
    await until(lambda: not keito.entries()[0]["is_running"])
    stopped = await agent.call("stop_timer")

    assert stopped["status"] == "stopped"
    assert stopped["hours"] == 1
    assert keito.methods.count("PATCH") == 1


async def test_a_refused_connection_is_certain_and_trying_again_is_free(make_desk: MakeDesk, keito: Keito) -> None:
    async with make_desk(api_url="http://127.0.0.1:9").client() as agent:
        answer = await agent.call("log_time", hours=1)
        again = await agent.call("log_time", hours=1)

    for refused in (answer, again):
        assert refused.is_error
        assert "Nothing was written" in refused.text
    assert keito.sent == []


async def test_a_cancelled_call_is_followed_to_its_end(desk: Desk, keito: Keito) -> None:
    keito.fails("POST", delay=0.3)
    async with desk.client() as agent:
        with anyio.move_on_after(0.1):
            await agent.call("log_time", hours=1)
        await until(lambda: "settle" in desk.commits)
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


async def test_a_stop_that_keito_refuses_leaves_the_timer_running_and_can_be_repeated(
    agent: Agent, keito: Keito, clock: FakeClock
) -> None:
    await agent.call("start_timer")
    clock.pass_time(timedelta(hours=1))
    keito.fails("PATCH", status=422)
    refused = await agent.call("stop_timer")
    clock.pass_time(timedelta(hours=1))
    stopped = await agent.call("stop_timer")

    assert refused.is_error
    assert "Nothing was written" in refused.text
    assert stopped["hours"] == 2


async def test_when_the_look_up_gets_no_answer_either_the_outcome_is_unknown(agent: Agent, keito: Keito) -> None:
    keito.fails("POST", cut_after=True)
    keito.fails("GET", status=500, times=1000)
    answer = await agent.call("log_time", hours=1)

    assert answer.is_error
    assert "may still turn up" in answer.text
    keito.faults.clear()
    assert (await agent.call("log_time", hours=1))["status"] == "duplicate"


async def test_when_a_stop_and_its_second_look_get_no_answer_the_outcome_is_unknown(
    agent: Agent, keito: Keito, clock: FakeClock
) -> None:
    await agent.call("start_timer")
    clock.pass_time(timedelta(hours=1))
    keito.fails("PATCH", cut_after=True)
    keito.fails("GET", after=1, hang=True, times=1000)
    answer = await agent.call("stop_timer")

    assert answer.is_error
    assert "isn't known" in answer.text
    keito.faults.clear()
    assert (await agent.call("stop_timer"))["status"] == "stopped"
    assert keito.entries()[0]["hours"] == 1
    assert keito.methods.count("PATCH") == 1


async def test_a_correction_that_keito_answers_late_is_seen_to_be_made(agent: Agent, keito: Keito) -> None:
    logged = await agent.call("log_time", hours=1, notes="a")
    keito.fails("PATCH", cut_after=True)
    corrected = await agent.call("stop_timer", entry_id=logged["id"], notes="b")
    keito.fails("PATCH", cut_before=True)
    unknown = await agent.call("stop_timer", entry_id=logged["id"], hours=2)

    assert corrected["status"] == "updated"
    assert unknown.is_error
    assert (await agent.call("stop_timer", entry_id=logged["id"], hours=2))["status"] == "updated"


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
        answer = await agent.call("log_time", hours=1)
        statuses.append("error" if answer.is_error else answer["status"])

    async with make_desk().client() as one, make_desk().client() as other:
        keito.fails("POST", cut_before=True)
        await one.call("log_time", hours=1)
        clock.pass_time(timedelta(seconds=121))
        keito.fails("GET", delay=0.2, times=2)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(repeat, one)
            tasks.start_soon(repeat, other)

    assert statuses.count("logged") == 1
    assert len(keito.entries()) == 1


async def test_a_call_id_that_is_used_for_other_work_swallows_nothing(agent: Agent, keito: Keito) -> None:
    await agent.call("log_time", meta={"callId": "1"}, hours=1)
    other = await agent.call("log_time", meta={"callId": "1"}, hours=5)

    assert other["status"] == "logged"
    assert len(keito.entries()) == 2


async def test_a_look_up_that_ends_at_its_bound_is_not_taken_for_nothing_there(
    agent: Agent, keito: Keito, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keito_mcp.timesheet.ledger.PAGE_LIMIT", 1)
    monkeypatch.setattr("keito_mcp.timesheet.ledger.MOST_PAGES", 2)
    keito.fails("POST", late_commit=True, delay=0.5)
    await agent.call("log_time", hours=1, notes="lost")
    await until(keito.entries)
    for _ in range(3):
        await keito.person("POST", project_id="prj_abc", spent_date="2026-03-06", hours=1, source="agent")
    clock.pass_time(timedelta(seconds=200))
    answer = await agent.call("log_time", hours=1, notes="lost")

    assert answer.is_error
    assert "can't be asked" in answer.text
    assert keito.methods.count("POST") == 1


async def test_a_conflict_that_nobody_can_look_into_is_an_unknown_outcome(agent: Agent, keito: Keito) -> None:
    keito.fails("POST", status=409, commit=True)
    keito.fails("GET", hang=True, times=100)
    answer = await agent.call("log_time", hours=1)
    keito.faults.clear()
    again = await agent.call("log_time", hours=1)

    assert answer.is_error
    assert "Nothing was written" not in answer.text
    assert "isn't known" in answer.text
    assert again["status"] == "duplicate"
    assert len(keito.entries()) == 1


async def test_a_clock_that_is_set_back_a_day_does_not_block_a_timer_for_a_day(
    agent: Agent, keito: Keito, clock: FakeClock
) -> None:
    keito.fails("POST", cut_before=True)
    await agent.call("start_timer")
    clock.wall -= timedelta(days=1)
    clock.monotonic += 121
    assert (await agent.call("start_timer"))["status"] == "running"


async def test_a_clock_that_is_set_forward_does_not_shorten_the_wait(
    agent: Agent, keito: Keito, clock: FakeClock
) -> None:
    keito.fails("POST", cut_before=True)
    await agent.call("log_time", hours=1)
    clock.wall += timedelta(minutes=30)
    clock.monotonic += 10
    answer = await agent.call("log_time", hours=1)

    assert answer.is_error
    assert "in 110 s" in answer.text
    assert keito.methods.count("POST") == 1
