"""Timers that run on this machine, because Keito (v2) runs one of a user's at a time and runs another one."""

from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import anyio
import pytest

from tests.kit import LOOKS_FIRST, TASK, V2_KEY, Agent, Answer, Desk, FakeClock, Keito, MakeDesk, Neighbour
from tests.support.cores import ends_unrecorded

pytestmark = pytest.mark.anyio

HOUR = timedelta(hours=1)
PERSONS: dict[str, Any] = {"project_id": "prj_abc", "task_id": TASK, "spent_date": "2026-03-06", "is_running": True}
AGENTS: dict[str, Any] = {**PERSONS, "source": "agent"}


@pytest.fixture
def api_version() -> str:
    return "v2"


@pytest.fixture
def keito(keito: Keito) -> Keito:
    """Keito, where the person is the user whose key the agents have."""
    keito.persons_key = V2_KEY
    return keito


async def _persons(keito: Keito) -> dict[str, Any]:
    """The timer that the key's user started in Keito's own pages."""
    return await keito.person("POST", **PERSONS, source="web", notes="A call")


def _hours(keito: Keito) -> dict[str, float]:
    """The hours of each finished entry, by its notes."""
    return {entry["notes"]: entry["hours"] for entry in keito.entries() if not entry["is_running"]}


@pytest.mark.parametrize(("source", "whose"), [("web", "a person's"), ("agent", "an agent's")])
async def test_the_timer_in_the_way_is_named_and_left_alone(
    agent: Agent, keito: Keito, clock: FakeClock, source: str, whose: str
) -> None:
    other = await keito.person("POST", **PERSONS, source=source, notes="A call")
    started = await agent.call("start_timer", notes="Fix")
    clock.pass_time(HOUR)
    stopped = await agent.call("stop_timer")

    assert started["status"] == "running_locally"
    assert f"{other['id']}, {whose}, 'A call'" in started["message"]
    assert "its time is logged in Keito when it is stopped" in started["message"]
    assert (stopped["status"], stopped["hours"]) == ("stopped", 1)
    assert stopped["id"] == keito.entry(started["id"])["id"]
    assert keito.entry(other["id"])["is_running"] is True
    assert _hours(keito) == {"Fix": 1}


async def test_the_same_start_again_is_the_same_timer_and_is_not_said_to_be_on_its_way(
    agent: Agent, keito: Keito, clock: FakeClock
) -> None:
    await _persons(keito)
    started = await agent.call("start_timer", notes="Fix")
    clock.pass_time(HOUR)
    again = await agent.call("start_timer", notes="Fix")
    refused = await agent.call("start_timer", notes="Write")

    assert (again["status"], again["id"]) == ("already_running", started["id"])
    assert "its time is logged in Keito when it is stopped" in again["message"]
    assert "exactly once" not in again["message"]
    assert refused.is_error
    assert started["id"] in refused.text
    assert "replace_running=true" in refused.text


@pytest.mark.parametrize("arguments", [{}, {"hours": 0.75}, {"notes": "Done"}, {"hours": "30m", "notes": "Done"}])
@pytest.mark.parametrize("by_its_handle", [False, True])
async def test_what_is_said_at_the_stop_is_what_is_logged(
    agent: Agent, keito: Keito, clock: FakeClock, arguments: dict[str, Any], *, by_its_handle: bool
) -> None:
    await _persons(keito)
    started = await agent.call("start_timer", notes="Fix")
    clock.pass_time(timedelta(hours=1, minutes=30, seconds=1))
    handle = {"entry_id": started["id"]} if by_its_handle else {}
    stopped = await agent.call("stop_timer", **handle, **arguments)
    again = await agent.call("stop_timer", entry_id=started["id"])

    hours = {None: 1.5003, "30m": 0.5}.get(arguments.get("hours"), arguments.get("hours"))
    assert (stopped["status"], stopped["hours"]) == ("stopped", hours)
    assert _hours(keito) == {arguments.get("notes", "Fix"): hours}
    assert (again["status"], again["hours"]) == ("already_stopped", hours)
    assert keito.entry(stopped["id"])["metadata"]["started_at"] == "2026-03-06T12:00:00Z"


async def test_it_counts_by_the_rules_of_every_timer(agent: Agent, keito: Keito, clock: FakeClock) -> None:
    await _persons(keito)
    await agent.call("start_timer", notes="Forgotten")
    clock.pass_time(timedelta(hours=31))
    forgotten = await agent.call("stop_timer")
    await agent.call("start_timer", notes="Slept")
    clock.wall += 2 * HOUR
    clock.monotonic += HOUR.total_seconds()
    slept = await agent.call("stop_timer")

    assert (forgotten["hours"], slept["hours"]) == (8, 1)
    assert keito.entry(forgotten["id"])["spent_date"] == "2026-03-06"
    assert _hours(keito) == {"Forgotten": 8, "Slept": 1}


async def test_a_stop_while_keito_is_away_is_logged_later_with_the_hours_at_the_stop(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    await _persons(keito)
    await agent.call("start_timer", notes="Fix")
    clock.pass_time(HOUR)
    async with keito.away():
        stopped = await agent.call("stop_timer")
        clock.pass_time(3 * HOUR)
    await desk.deliver_all()

    assert (stopped["status"], stopped["hours"]) == ("queued", 1)
    assert _hours(keito) == {"Fix": 1}


async def test_a_timer_that_left_late_and_met_another_one_runs_on_here(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    async with keito.away():
        await agent.call("start_timer", notes="Fix")
        clock.pass_time(HOUR)
    await _persons(keito)
    [delivered] = await desk.deliver()
    clock.pass_time(HOUR)
    assert await desk.deliver_all() == []
    stopped = await agent.call("stop_timer")

    assert delivered.waits is not None
    assert delivered.refused is None
    assert (stopped["status"], stopped["hours"]) == ("stopped", 2)
    assert _hours(keito) == {"Fix": 2}


async def test_a_start_without_an_answer_that_meets_another_timer_loses_and_doubles_nothing(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    keito.fails("POST", cut_before=True)
    await agent.call("start_timer", notes="Fix")
    other = await _persons(keito)
    clock.pass_time(HOUR)
    await desk.deliver()
    stopped = await agent.call("stop_timer")
    clock.pass_time(HOUR)
    await desk.deliver()
    await keito.person("PATCH", other["id"], is_running=False)
    clock.pass_time(HOUR)
    await desk.deliver_all()

    assert stopped["hours"] == 1
    assert _hours(keito) == {"A call": 2, "Fix": 1}


async def test_a_stop_of_a_process_that_is_gone_is_logged_once(
    make_desk: MakeDesk,
    desk: Desk,
    neighbour: Neighbour,
    keito: Keito,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await _persons(keito)
    ending = make_desk(process=neighbour.name)
    async with ending.client() as agent:
        await agent.call("start_timer", notes="Fix")
        clock.pass_time(HOUR)
        ends_unrecorded(ending, monkeypatch)
        keito.fails("POST", cut_before=True)
        await agent.call("stop_timer")
    neighbour.end()
    assert _hours(keito) == {}
    await desk.deliver_all()

    assert _hours(keito) == {"Fix": 1}


async def test_where_its_agent_is_gone_it_is_logged_up_to_the_last_sign_of_life(
    make_desk: MakeDesk, agent: Agent, desk: Desk, neighbour: Neighbour, keito: Keito, clock: FakeClock
) -> None:
    await _persons(keito)
    async with make_desk(session_id="lost", process=neighbour.name).client() as lost:
        await lost.call("start_timer", notes="Fix")
        clock.pass_time(HOUR)
        await lost.call("list_entries")
    clock.pass_time(2 * HOUR)
    neighbour.end()
    told = await agent.call("list_entries")
    await desk.deliver_all()

    assert "was left running by an agent that is gone" in told["message"]
    assert _hours(keito) == {"Fix": 1}


async def test_a_discarded_one_leaves_nothing_anywhere(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    other = await _persons(keito)
    started = await agent.call("start_timer", notes="Fix")
    clock.pass_time(HOUR)
    discarded = await agent.call("discard_session")
    stopped = await agent.call("stop_timer", entry_id=started["id"])

    assert (discarded["discarded"], discarded["kept"]) == ([started["id"]], [])
    assert stopped.is_error
    assert await desk.deliver_all() == []
    assert [entry["id"] for entry in keito.entries()] == [other["id"]]


async def test_other_work_replaces_it_and_both_count(agent: Agent, keito: Keito, clock: FakeClock) -> None:
    other = await _persons(keito)
    await agent.call("start_timer", notes="Fix")
    clock.pass_time(HOUR)
    second = await agent.call("start_timer", notes="Write", replace_running=True)
    clock.pass_time(2 * HOUR)
    await agent.call("stop_timer")

    assert second["status"] == "running_locally"
    assert "was stopped first, with 1 h" in second["message"]
    assert keito.entry(other["id"])["is_running"] is True
    assert _hours(keito) == {"Fix": 1, "Write": 2}


async def test_this_agents_own_timer_from_elsewhere_is_named_and_replaced_when_told_to(
    agent: Agent, keito: Keito, clock: FakeClock
) -> None:
    metadata = {"session_id": "session-1", "agent_id": "tester", "started_at": "2026-03-06T12:00:00Z"}
    own = await keito.person("POST", **AGENTS, notes="Fix", metadata=metadata)
    clock.pass_time(HOUR)
    refused = await agent.call("start_timer", notes="Write")
    same = await agent.call("start_timer", notes="Fix")
    started = await agent.call("start_timer", notes="Write", replace_running=True)

    assert refused.is_error
    assert own["id"] in refused.text
    assert (same["status"], same["id"]) == ("already_running", own["id"])
    assert started["status"] == "running"
    assert f"Timer {own['id']} was stopped first, with 1 h" in started["message"]
    assert _hours(keito) == {"Fix": 1}


ATTEMPTS: list[tuple[str, dict[str, Any]]] = [
    ("stop_timer", {}),
    ("stop_timer", {"entry_id": "theirs"}),
    ("stop_timer", {"entry_id": "theirs", "hours": 1}),
    ("stop_timer", {"entry_id": "theirs", "notes": "Mine"}),
    ("stop_timer", {"entry_id": "theirs", "hours": 1, "notes": "Mine"}),
    ("start_timer", {"notes": "A call"}),
    ("start_timer", {"notes": "A call", "replace_running": True}),
    ("start_timer", {"notes": "Mine", "replace_running": True}),
    ("start_timer", {"notes": "A call", "metadata": {"entry_key": "theirs"}, "replace_running": True}),
    ("log_time", {"hours": 1, "notes": "A call"}),
    ("list_entries", {"source": "any", "is_running": True}),
    ("discard_session", {}),
    ("discard_session", {"session_id": "session-1"}),
    ("discard_session", {"session_id": "theirs"}),
]


@pytest.mark.parametrize(("tool", "arguments"), ATTEMPTS)
@pytest.mark.parametrize("has_a_timer", [False, True])
async def test_no_tool_touches_a_persons_timer_with_any_argument(
    agent: Agent,
    desk: Desk,
    keito: Keito,
    clock: FakeClock,
    tool: str,
    arguments: dict[str, Any],
    *,
    has_a_timer: bool,
) -> None:
    theirs = await keito.person("POST", **PERSONS, source="web", notes="A call", metadata={"session_id": "session-1"})
    if has_a_timer:
        await agent.call("start_timer", notes="Fix")
    clock.pass_time(HOUR)
    given = {name: theirs["id"] if value == "theirs" else value for name, value in arguments.items()}
    await agent.call(tool, **given)
    await agent.call("stop_timer")
    await desk.deliver_all()

    stands = keito.entry(theirs["id"])
    changing = {"hours", "updated_at"}
    assert {name: stands[name] for name in stands.keys() - changing} == {
        name: theirs[name] for name in theirs.keys() - changing
    }
    assert theirs["id"] not in "".join(path for method, path in keito.sent if method != "GET")


async def test_ten_agents_under_one_key_at_once_have_ten_true_entries(
    make_desk: MakeDesk, keito: Keito, clock: FakeClock
) -> None:
    started: dict[str, Answer] = {}
    stopped: dict[str, Answer] = {}
    async with AsyncExitStack() as stack:
        agents = {
            f"session-{number}": await stack.enter_async_context(make_desk(session_id=f"session-{number}").client())
            for number in range(10)
        }

        async def start(session: str) -> None:
            started[session] = await agents[session].call("start_timer", notes=session)

        async def stop(session: str) -> None:
            stopped[session] = await agents[session].call("stop_timer", notes=f"{session} done")

        async def at_once(work: Callable[[str], Coroutine[Any, Any, None]], sessions: list[str]) -> None:
            async with anyio.create_task_group() as tasks:
                for session in sessions:
                    tasks.start_soon(work, session)

        sessions = list(agents)
        await at_once(start, sessions)
        clock.pass_time(HOUR)
        await at_once(stop, sessions[:5])
        clock.pass_time(HOUR)
        await at_once(stop, sessions[5:])

    assert sorted(answer["status"] for answer in started.values()) == ["running", *["running_locally"] * 9]
    assert {answer["status"] for answer in stopped.values()} == {"stopped"}
    [ran] = [answer["id"] for answer in started.values() if answer["status"] == "running"]
    assert keito.stops == [ran]
    assert len(keito.entries()) == 10
    assert {
        entry["metadata"]["session_id"]: (entry["hours"], entry["notes"], entry["is_running"])
        for entry in keito.entries()
    } == {session: (1 if number < 5 else 2, f"{session} done", False) for number, session in enumerate(sessions)}


async def test_each_call_makes_few_requests(make_desk: MakeDesk, keito: Keito, clock: FakeClock) -> None:
    counted: dict[str, list[str]] = {}

    async def count(agent: Agent, what: str, tool: str, **arguments: Any) -> None:
        sent = len(keito.requests)
        answer = await agent.call(tool, **arguments)
        assert not answer.is_error, answer.text
        counted[what] = keito.methods[sent:]

    async with make_desk(session_id="one").client() as one, make_desk(session_id="two").client() as two:
        await count(one, "start_timer", "start_timer", notes="Fix")
        await count(two, "start_timer beside another one", "start_timer", notes="Write")
        clock.pass_time(HOUR)
        await count(one, "stop_timer", "stop_timer")
        await count(two, "stop_timer of one that ran here", "stop_timer", notes="Written")
        given: dict[str, dict[str, Any]] = {"notes": {"notes": "Done"}, "hours": {"hours": 0.5}}
        for what, arguments in given.items():
            await one.call("start_timer", notes=what)
            clock.pass_time(HOUR)
            await count(one, f"stop_timer with {what}", "stop_timer", **arguments)
        await count(one, "log_time", "log_time", hours=1)
        await count(one, "list_entries", "list_entries")
        await count(one, "discard_session of four entries", "discard_session")

    for what, methods in counted.items():
        print(f"{what}: {len(methods)} ({', '.join(methods)})")  # noqa: T201 -- the counts are to be read
    assert counted == {
        "start_timer": ["POST"],
        "start_timer beside another one": ["POST", "GET"],
        "stop_timer": ["PATCH"],
        "stop_timer of one that ran here": [*LOOKS_FIRST, "POST"],
        "stop_timer with notes": ["PATCH", "PATCH"],
        "stop_timer with hours": ["PATCH", "PATCH"],
        "log_time": ["POST"],
        "list_entries": ["GET"],
        "discard_session of four entries": ["GET", *["DELETE"] * 4],
    }
