from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import anyio
import pytest

from tests.kit import LOOKS_FIRST, Agent, Desk, FakeClock, Keito, MakeDesk, Neighbour
from tests.support.cores import IS_OF_ROWS

pytestmark = pytest.mark.anyio

HOUR = timedelta(hours=1)
UNSEEN = "a process of another machine"


@pytest.fixture
async def lost(make_desk: MakeDesk, neighbour: Neighbour) -> AsyncIterator[Agent]:
    """An agent of another session, in another process."""
    async with make_desk(session_id="lost", process=neighbour.name).client() as connected:
        yield connected


def _standing(keito: Keito) -> list[tuple[float, bool]]:
    return [(entry["hours"], entry["is_running"]) for entry in keito.entries()]


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("list_entries", {}),
        ("log_time", {"hours": 3}),
        ("start_timer", {"notes": "Mine"}),
        ("stop_timer", {}),
        ("discard_session", {}),
    ],
)
async def test_a_timer_whose_process_is_gone_is_stopped_at_its_last_sign_of_life_by_any_call_of_another_session(
    agent: Agent,
    desk: Desk,
    lost: Agent,
    neighbour: Neighbour,
    keito: Keito,
    clock: FakeClock,
    tool: str,
    arguments: dict[str, Any],
) -> None:
    started = await lost.call("start_timer", notes="Fix")
    clock.pass_time(HOUR)
    await lost.call("list_entries")
    clock.pass_time(2 * HOUR)
    neighbour.end()
    answer = await agent.call(tool, **arguments)
    await desk.deliver_all()

    said = answer.text if answer.is_error else answer["message"]
    assert f"Timer {started['id']} ('Fix') of session lost was left running by an agent that is gone" in said
    assert "it was stopped at its last sign of life, 2026-03-06T13:00:00Z, with 1 h" in said
    assert (keito.entry(started["id"])["hours"], keito.entry(started["id"])["is_running"]) == (1, False)
    assert keito.stops == [started["id"]]


async def test_a_timer_whose_process_is_gone_is_stopped_by_the_queue_too(
    desk: Desk, lost: Agent, neighbour: Neighbour, keito: Keito, clock: FakeClock
) -> None:
    await lost.call("start_timer")
    clock.pass_time(HOUR)
    await lost.call("list_entries")
    clock.pass_time(2 * HOUR)
    neighbour.end()
    [delivered] = await desk.deliver()

    assert (delivered.waits, delivered.refused) == (None, None)
    assert _standing(keito) == [(1, False)]


@pytest.mark.parametrize("names_it", [False, True])
@pytest.mark.parametrize("delivered", [False, True])
async def test_its_own_session_is_told_that_its_timer_was_stopped_and_can_correct_it(
    make_desk: MakeDesk,
    desk: Desk,
    lost: Agent,
    neighbour: Neighbour,
    keito: Keito,
    clock: FakeClock,
    *,
    names_it: bool,
    delivered: bool,
) -> None:
    started = await lost.call("start_timer", notes="Fix")
    clock.pass_time(HOUR)
    await lost.call("list_entries")
    clock.pass_time(2 * HOUR)
    neighbour.end()
    async with desk.client() as other:
        await other.call("list_entries")
    if delivered:
        await desk.deliver_all()
    async with make_desk(session_id="lost").client() as resumed:
        stopped = await resumed.call("stop_timer", **({"entry_id": started["id"]} if names_it else {}))
        corrected = await resumed.call("stop_timer", entry_id=started["id"], hours=2.5)
    await desk.deliver_all()

    assert stopped["status"] == ("already_stopped" if delivered else "queued")
    assert (stopped["id"], stopped["hours"]) == (started["id"], 1)
    assert "left running by an agent that is gone" in stopped["message"]
    assert corrected["hours"] == 2.5
    assert _standing(keito) == [(2.5, False)]


@pytest.mark.parametrize(
    "call",
    [
        ("list_entries", {}),
        ("log_time", {"hours": 2}),
        ("start_timer", {"notes": "Fix"}),
        ("start_timer", {"notes": "Other work"}),
        ("stop_timer", {"entry_id": "logged", "hours": 2}),
        ("discard_session", {"session_id": "another"}),
    ],
    ids=lambda call: " ".join([call[0], *map(str, call[1].values())]),
)
async def test_a_call_is_a_sign_of_life_of_its_session(
    desk: Desk, lost: Agent, neighbour: Neighbour, keito: Keito, clock: FakeClock, call: tuple[str, dict[str, Any]]
) -> None:
    logged = await lost.call("log_time", hours=1)
    started = await lost.call("start_timer", notes="Fix")
    clock.pass_time(HOUR)
    tool, arguments = call
    if "entry_id" in arguments:
        arguments = {**arguments, "entry_id": logged["id"]}
    await lost.call(tool, **arguments)
    clock.pass_time(2 * HOUR)
    neighbour.end()
    await desk.deliver_all()

    assert (keito.entry(started["id"])["hours"], keito.entry(started["id"])["is_running"]) == (1, False)


async def test_a_timer_that_was_left_running_counts_eight_hours_at_most(
    agent: Agent, desk: Desk, lost: Agent, neighbour: Neighbour, keito: Keito, clock: FakeClock
) -> None:
    await lost.call("start_timer")
    clock.pass_time(11 * HOUR)
    await lost.call("list_entries")
    neighbour.end()
    answer = await agent.call("list_entries")
    await desk.deliver_all()

    assert "with 8 h" in answer["message"]
    assert _standing(keito) == [(8, False)]


async def test_a_process_that_lives_keeps_its_timer(
    agent: Agent, desk: Desk, lost: Agent, keito: Keito, clock: FakeClock
) -> None:
    await lost.call("start_timer")
    clock.pass_time(3 * HOUR)
    answer = await agent.call("list_entries")
    delivered = await desk.deliver()
    stopped = await lost.call("stop_timer")

    assert "message" not in answer
    assert delivered == []
    assert (stopped["status"], stopped["hours"]) == ("stopped", 3)
    assert _standing(keito) == [(3, False)]


async def test_a_session_that_goes_on_in_another_process_keeps_its_timer(
    make_desk: MakeDesk, agent: Agent, lost: Agent, neighbour: Neighbour, clock: FakeClock
) -> None:
    await lost.call("start_timer")
    neighbour.end()
    clock.pass_time(HOUR)
    async with make_desk(session_id="lost").client() as resumed:
        await resumed.call("list_entries")
        others = await agent.call("list_entries")
        clock.pass_time(HOUR)
        stopped = await resumed.call("stop_timer")

    assert "message" not in others
    assert (stopped["status"], stopped["hours"]) == ("stopped", 2)


@pytest.mark.parametrize("who", [{"process": UNSEEN}, {"serves_one_user": False, "agent_id": "tester"}])
async def test_where_the_process_cannot_be_seen_twelve_hours_of_silence_end_a_session(
    make_desk: MakeDesk, agent: Agent, desk: Desk, keito: Keito, clock: FakeClock, who: dict[str, Any]
) -> None:
    async with make_desk(session_id="lost", **who).client() as lost:
        meta = {"ai.keito/session_id": "lost"}
        await lost.call("start_timer", meta=meta)
        clock.pass_time(2 * HOUR)
        await lost.call("list_entries", meta=meta)
    clock.pass_time(12 * HOUR - timedelta(seconds=1))
    before = await agent.call("list_entries")
    clock.pass_time(timedelta(seconds=1))
    after = await agent.call("list_entries")
    await desk.deliver_all()

    assert "message" not in before
    assert "left running by an agent that is gone" in after["message"]
    assert _standing(keito) == [(2, False)]


async def test_a_person_who_stopped_it_in_keito_meanwhile_wins(
    make_desk: MakeDesk, desk: Desk, lost: Agent, neighbour: Neighbour, keito: Keito, clock: FakeClock
) -> None:
    started = await lost.call("start_timer")
    clock.pass_time(HOUR)
    await lost.call("list_entries")
    await keito.person("PATCH", started["id"], is_running=False, hours=0.25)
    neighbour.end()
    [delivered] = await desk.deliver()
    async with make_desk(session_id="lost").client() as resumed:
        answer = await resumed.call("stop_timer", entry_id=started["id"])
        later = await resumed.call("stop_timer", entry_id=started["id"])

    assert delivered.refused is not None
    assert "A person stopped it in Keito" in delivered.refused
    assert (answer["status"], answer["hours"]) == ("already_stopped", 0.25)
    assert "A person stopped it in Keito" in answer["message"]
    assert "with 1 h" not in answer["message"]
    assert "message" not in later
    # A stop that overwrites nothing needs no look before it; Keito refuses it.
    assert "PATCH" not in keito.methods or (IS_OF_ROWS and keito.wire.counts)
    assert _standing(keito) == [(0.25, False)]


async def test_without_keito_it_is_stopped_all_the_same_and_a_timer_that_never_left_is_one_post(
    agent: Agent, desk: Desk, lost: Agent, neighbour: Neighbour, keito: Keito, clock: FakeClock
) -> None:
    async with keito.away():
        await lost.call("start_timer")
        clock.pass_time(HOUR)
        await lost.call("start_timer")
        clock.pass_time(2 * HOUR)
        neighbour.end()
        answer = await agent.call("log_time", hours=4)
    await desk.deliver_all()

    assert answer["status"] == "queued"
    assert "with 1 h" in answer["message"]
    assert keito.methods == [*LOOKS_FIRST, "POST", "POST"]
    assert _standing(keito) == [(1, False), (4, False)]


async def test_two_sessions_that_find_it_at_once_stop_it_once(
    make_desk: MakeDesk, desk: Desk, lost: Agent, neighbour: Neighbour, keito: Keito, clock: FakeClock
) -> None:
    await lost.call("start_timer")
    clock.pass_time(HOUR)
    await lost.call("list_entries")
    neighbour.end()
    told: list[bool] = []

    async def look(agent: Agent) -> None:
        told.append("message" in await agent.call("list_entries"))

    async with make_desk(session_id="one").client() as one, make_desk(session_id="two").client() as two:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(look, one)
            tasks.start_soon(look, two)
        await desk.deliver_all()

    assert sorted(told) == [False, True]
    assert keito.methods.count("PATCH") == 1
    assert _standing(keito) == [(1, False)]


@pytest.mark.parametrize(
    "jump", [-2 * HOUR, timedelta(days=1), -timedelta(days=400)], ids=["back two hours", "ahead a day", "back a year"]
)
async def test_a_clock_that_moved_between_start_and_last_sign_counts_what_passed_and_is_said(
    agent: Agent, desk: Desk, lost: Agent, neighbour: Neighbour, keito: Keito, clock: FakeClock, jump: timedelta
) -> None:
    await lost.call("start_timer")
    clock.pass_time(HOUR)
    clock.wall += jump
    await lost.call("list_entries")
    clock.pass_time(HOUR)
    neighbour.end()
    answer = await agent.call("list_entries")
    await desk.deliver_all()

    assert "with 1 h" in answer["message"]
    assert "clock was changed" in answer["message"]
    assert _standing(keito) == [(1, False)]


@pytest.mark.parametrize("jump", [-4 * HOUR, timedelta(days=1)], ids=["back", "ahead"])
async def test_a_clock_that_moved_after_the_last_sign_changes_nothing(
    agent: Agent, desk: Desk, lost: Agent, neighbour: Neighbour, keito: Keito, clock: FakeClock, jump: timedelta
) -> None:
    await lost.call("start_timer")
    clock.pass_time(HOUR)
    await lost.call("list_entries")
    clock.wall += jump
    clock.pass_time(HOUR)
    before = await agent.call("list_entries")
    neighbour.end()
    after = await agent.call("list_entries")
    await desk.deliver_all()

    assert "message" not in before
    assert "with 1 h" in after["message"]
    assert _standing(keito) == [(1, False)]
