"""A session's sub-agents: timers of their own, one session, and calls of which nobody knows who makes them."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from keito_mcp.process import Ancestor
from tests.identity.calls import SESSION, SUBAGENT, ClaudeFiles, spool_row
from tests.kit import Desk, FakeClock, Keito, MakeDesk
from tests.timesheet.claude import Claude

pytestmark = pytest.mark.anyio

TWIN = "b177065b7c91d380a"
CLAUDE = Ancestor(29795, "2081127")


@pytest.fixture
def files(tmp_path: Path) -> ClaudeFiles:
    files = ClaudeFiles(tmp_path)
    files.register(CLAUDE.pid)
    return files


@pytest.fixture
def desk(make_desk: MakeDesk, files: ClaudeFiles) -> Desk:
    desk = make_desk(session_id=None)
    desk.runtime.__dict__["machine"] = files.machine(CLAUDE)
    return desk


@pytest.fixture
async def claude(desk: Desk, files: ClaudeFiles, mode: str) -> AsyncIterator[Claude]:
    async with desk.client(mode) as agent:
        yield Claude(agent, files)


async def test_a_sub_agents_timer_leaves_the_main_agents_alone(claude: Claude, keito: Keito, clock: FakeClock) -> None:
    main = await claude.call("start_timer", notes="All of it")
    clock.pass_time(timedelta(minutes=6))
    sub = await claude.call("start_timer", by=SUBAGENT, notes="A part of it")
    clock.pass_time(timedelta(minutes=6))
    stopped = await claude.call("stop_timer", by=SUBAGENT)
    assert (stopped["id"], stopped["hours"]) == (keito.entry(sub["id"])["id"], 0.1)
    assert keito.entry(main["id"])["is_running"] is True
    clock.pass_time(timedelta(minutes=6))
    assert (await claude.call("stop_timer"))["hours"] == 0.3

    metadata = keito.entry(main["id"])["metadata"]
    assert (metadata["session_id"], metadata["model"]) == (SESSION, "sonnet")
    assert "subagent_id" not in metadata
    metadata = keito.entry(sub["id"])["metadata"]
    assert (metadata["session_id"], metadata["model"]) == (SESSION, "haiku")
    assert (metadata["subagent_id"], metadata["subagent"]) == (SUBAGENT, "general-purpose")


async def test_two_sub_agents_of_one_kind_are_two(claude: Claude, keito: Keito) -> None:
    one = await claude.call("start_timer", by=SUBAGENT, notes="The same work")
    two = await claude.call("start_timer", by=TWIN, notes="The same work")
    assert one["id"] != two["id"]
    assert (await claude.call("stop_timer", by=TWIN))["id"] == keito.entry(two["id"])["id"]
    assert [entry["id"] for entry in keito.entries() if entry["is_running"]] == [one["id"]]


async def test_a_discarded_session_takes_its_sub_agents_with_it_and_no_other_session(
    claude: Claude, keito: Keito
) -> None:
    other = await claude.call("start_timer", session="another-session")
    gone = [
        (await claude.call("start_timer"))["id"],
        (await claude.call("start_timer", by=SUBAGENT))["id"],
        (await claude.call("log_time", by=TWIN, hours=1))["id"],
    ]
    assert set((await claude.call("discard_session", by=SUBAGENT))["discarded"]) == set(gone)
    assert [entry["id"] for entry in keito.entries()] == [other["id"]]


async def test_a_call_of_an_unknown_agent_doesnt_stop_another_ones_timer(claude: Claude, keito: Keito) -> None:
    main = await claude.call("start_timer", notes="All of it")
    sub = await claude.call("start_timer", by=SUBAGENT, notes="A part of it")

    for arguments in ({}, {"hours": 1}, {"notes": "Done"}):
        refused = await claude.call("stop_timer", session=SESSION, written=False, **arguments)
        assert refused.is_error
        assert main["id"] in refused.text
        assert sub["id"] in refused.text
        assert "entry_id" in refused.text
    assert (await claude.call("start_timer", written=False, notes="Other", replace_running=True)).is_error
    assert keito.stops == []
    assert keito.methods.count("POST") == 2

    assert (await claude.call("stop_timer", written=False, entry_id=sub["id"]))["status"] == "stopped"
    assert (await claude.call("stop_timer", written=False))["id"] == main["id"]


async def test_the_timer_of_another_agent_is_no_reason_to_refuse_a_call_of_an_unknown_sub_agent(
    make_desk: MakeDesk, keito: Keito, clock: FakeClock
) -> None:
    desk = make_desk(serves_one_user=False, session_id=None, agent_id=None)
    async with desk.client(name="claude-code") as claude, desk.client(name="cursor-vscode") as cursor:
        own = await claude.call("start_timer", notes="One")
        other = await cursor.call("start_timer", notes="Two")
        assert own["session_id"] == other["session_id"]
        assert (await claude.call("stop_timer"))["id"] == own["id"]
        clock.pass_time(timedelta(hours=1))
        assert (await cursor.call("stop_timer"))["hours"] == 1
    assert keito.entry(other["id"])["notes"] == "Two"


async def test_what_the_hook_left_says_who_calls_where_nothing_is_written_down(
    claude: Claude, files: ClaudeFiles, keito: Keito
) -> None:
    main = await claude.call("start_timer", notes="All of it")
    files.leave(spool_row(subagent_id=SUBAGENT, subagent="reviewer"), "toolu_0002")
    sub = await claude.call("start_timer", written=False, notes="A part of it")
    assert sub["status"] == keito.wire.beside
    assert keito.entry(main["id"])["is_running"] is True
    assert (await claude.call("stop_timer", by=SUBAGENT))["status"] == "stopped"
    assert keito.entry(sub["id"])["metadata"]["subagent"] == "reviewer"
    assert keito.entry(main["id"])["is_running"] is True
