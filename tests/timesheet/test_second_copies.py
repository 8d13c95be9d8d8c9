from datetime import timedelta
from typing import Any

import pytest

from tests.kit import Agent, Desk, FakeClock, Keito

pytestmark = pytest.mark.anyio

TOOLS: list[tuple[str, dict[str, Any]]] = [
    ("log_time", {"hours": 1, "notes": "Review"}),
    ("start_timer", {"notes": "Fix"}),
]


async def _sent_twice(agent: Agent, desk: Desk, clock: FakeClock, keito: Keito, tool: str, **arguments: Any) -> None:
    """A create that got no answer and was sent again; its first copy is still on its way."""
    keito.fails("POST", cut_before=True)
    await agent.call(tool, **arguments)
    clock.pass_time(timedelta(minutes=2))
    await desk.deliver()
    assert keito.methods == ["POST", "GET", "GET", "POST"]


async def _turns_up(keito: Keito) -> str:
    """The first copy arrives after all."""
    return str((await keito.person("POST", **keito.body(0)))["id"])


@pytest.mark.parametrize(("tool", "arguments"), TOOLS)
async def test_an_entry_that_was_sent_twice_and_arrived_twice_is_one_after_five_minutes(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock, tool: str, arguments: dict[str, Any]
) -> None:
    await _sent_twice(agent, desk, clock, keito, tool, **arguments)
    [kept] = keito.entries()
    copy = await _turns_up(keito)
    clock.pass_time(timedelta(minutes=5) - timedelta(seconds=1))
    too_early = await desk.deliver()
    clock.pass_time(timedelta(seconds=1))
    await desk.deliver()

    assert too_early == []
    assert keito.methods[4:] == ["GET", "GET", "DELETE"]
    assert keito.sent[-1] == ("DELETE", keito.wire.entry(copy))
    assert [entry["id"] for entry in keito.entries()] == [kept["id"]]
    assert await desk.deliver_all() == []


@pytest.mark.parametrize(("tool", "arguments"), TOOLS)
async def test_a_second_copy_that_a_person_changed_is_left_to_the_person(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock, tool: str, arguments: dict[str, Any]
) -> None:
    await _sent_twice(agent, desk, clock, keito, tool, **arguments)
    copy = await _turns_up(keito)
    await keito.person("PATCH", copy, notes="A person's words")
    await desk.deliver_all()

    assert "DELETE" not in keito.methods
    assert len(keito.entries()) == 2


async def test_a_second_copy_that_a_person_changes_before_its_delete_arrives_is_left_too(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    await _sent_twice(agent, desk, clock, keito, "log_time", hours=1)
    copy = await _turns_up(keito)
    clock.pass_time(timedelta(minutes=5))
    keito.fails("DELETE", status=503)
    await desk.deliver()
    await keito.person("PATCH", copy, hours=3)
    await desk.deliver_all()

    assert keito.methods.count("DELETE") == 1
    assert sorted(entry["hours"] for entry in keito.entries()) == [1, 3]


async def test_a_second_copy_goes_though_the_first_was_stopped_meanwhile(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    await _sent_twice(agent, desk, clock, keito, "start_timer")
    copy = await _turns_up(keito)
    clock.pass_time(timedelta(minutes=1))
    stopped = await agent.call("stop_timer")
    await desk.deliver_all()

    assert stopped["id"] != copy
    assert [(entry["id"], entry["hours"], entry["is_running"]) for entry in keito.entries()] == [
        (stopped["id"], 0.05, False)
    ]


async def test_a_look_for_a_second_copy_that_fails_is_made_again(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    await _sent_twice(agent, desk, clock, keito, "log_time", hours=1)
    await _turns_up(keito)
    clock.pass_time(timedelta(minutes=5))
    keito.fails("GET", status=429, retry_after=30)
    [looked] = await desk.deliver()
    await desk.deliver_all()

    assert looked.waits is not None
    assert len(keito.entries()) == 1


@pytest.mark.parametrize(("tool", "arguments"), TOOLS)
@pytest.mark.parametrize("after", [timedelta(seconds=30), timedelta(minutes=4)])
async def test_an_entry_that_turns_up_after_its_session_was_discarded_is_deleted(
    agent: Agent,
    desk: Desk,
    keito: Keito,
    clock: FakeClock,
    tool: str,
    arguments: dict[str, Any],
    after: timedelta,
) -> None:
    keito.fails("POST", cut_before=True)
    lost = await agent.call(tool, **arguments)
    discarded = await agent.call("discard_session")
    clock.pass_time(after)
    await desk.deliver()
    late = await _turns_up(keito)
    await desk.deliver_all()

    assert (discarded["queued"], discarded["discarded"]) == ([lost["id"]], [])
    assert keito.methods.count("POST") == 1
    assert [one for one in keito.sent if one[0] != "GET"][-1] == ("DELETE", keito.wire.entry(late))
    assert keito.entries() == []


@pytest.mark.parametrize(
    ("tool", "change"),
    [
        ("log_time", {"hours": 3}),
        ("log_time", {"notes": "A person's words"}),
        ("start_timer", {"notes": "A person's words"}),
        ("start_timer", {"is_running": False, "hours": 0.5}),
    ],
)
@pytest.mark.parametrize("discarded_before", [True, False])
async def test_an_entry_that_turned_up_unseen_and_that_a_person_changed_is_kept_when_its_session_is_discarded(
    agent: Agent,
    desk: Desk,
    keito: Keito,
    tool: str,
    change: dict[str, Any],
    *,
    discarded_before: bool,
) -> None:
    keito.fails("POST", cut_before=True)
    await agent.call(tool, **dict(TOOLS)[tool])
    if discarded_before:
        await agent.call("discard_session")
    late = await _turns_up(keito)
    await keito.person("PATCH", late, **change)
    if not discarded_before:
        await agent.call("discard_session")
    await desk.deliver_all()

    assert [entry["id"] for entry in keito.entries()] == [late]
    assert "DELETE" not in keito.methods


@pytest.mark.parametrize(
    ("tool", "change"),
    [
        ("log_time", {"hours": 3}),
        ("log_time", {"notes": "A person's words"}),
        ("start_timer", {"is_running": False, "hours": 0.5}),
    ],
)
async def test_what_a_person_changed_before_the_entry_was_found_is_not_corrected(
    agent: Agent, desk: Desk, keito: Keito, tool: str, change: dict[str, Any]
) -> None:
    keito.fails("POST", cut_before=True)
    lost = await agent.call(tool, **dict(TOOLS)[tool])
    late = await _turns_up(keito)
    await keito.person("PATCH", late, **change)
    before = keito.entries()
    await desk.deliver_all()
    answer = await agent.call("stop_timer", entry_id=lost["id"], hours=2, notes="Mine")

    assert (answer["status"], answer["id"]) == ("already_stopped", late)
    assert "A person" in answer["message"]
    assert keito.methods == ["POST", "GET", "GET", "GET"]
    assert keito.entries() == before


async def test_notes_that_a_person_gave_a_timer_before_it_was_found_stay_when_it_is_stopped(
    agent: Agent, desk: Desk, keito: Keito
) -> None:
    keito.fails("POST", cut_before=True)
    lost = await agent.call("start_timer", notes="Fix")
    late = await _turns_up(keito)
    await keito.person("PATCH", late, notes="A person's words")
    await desk.deliver_all()
    stopped = await agent.call("stop_timer", entry_id=lost["id"], notes="Mine")

    assert stopped["status"] == "stopped"
    assert keito.entry(late)["notes"] == "A person's words"
    assert keito.entry(late)["hours"] == stopped["hours"]


async def test_a_timer_that_turned_up_late_and_that_a_person_edited_is_stopped_where_it_was_discarded(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    keito.fails("POST", cut_before=True)
    await agent.call("start_timer", notes="Fix")
    clock.pass_time(timedelta(minutes=1, seconds=30))
    await agent.call("discard_session")
    late = await _turns_up(keito)
    await keito.person("PATCH", late, notes="A person's words")
    clock.pass_time(timedelta(hours=5))
    await desk.deliver_all()

    [entry] = keito.entries()
    assert (entry["is_running"], entry["hours"], entry["notes"]) == (False, 0.025, "A person's words")
