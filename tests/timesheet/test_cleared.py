"""A host that goes on to another session (`/clear`) while a timer of the last one runs."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from keito_mcp.process import Ancestor
from keito_mcp.timesheet import Beat
from tests.identity.calls import SESSION, SUBAGENT, ClaudeFiles
from tests.kit import Desk, FakeClock, Keito, MakeDesk, until
from tests.support.cores import signs_of_running
from tests.timesheet.claude import Claude

pytestmark = pytest.mark.anyio

CLAUDE = Ancestor(29795, "2081127")
NEXT_SESSION = "0f082daa-7b4b-43b2-a1e7-cdd915c2145f"
MINUTE = timedelta(minutes=1)


@pytest.fixture
def files(tmp_path: Path) -> ClaudeFiles:
    files = ClaudeFiles(tmp_path)
    files.register(CLAUDE.pid)
    return files


@pytest.fixture
def desk(make_desk: MakeDesk, files: ClaudeFiles) -> Desk:
    desk = make_desk(session_id=None, beat=Beat(heartbeat=0.01))
    desk.runtime.__dict__["machine"] = files.machine(CLAUDE)
    return desk


@pytest.fixture
async def claude(desk: Desk, files: ClaudeFiles) -> AsyncIterator[Claude]:
    async with desk.client() as agent, anyio.create_task_group() as tasks:
        tasks.start_soon(desk.runtime.work_in_background)
        yield Claude(agent, files)
        tasks.cancel_scope.cancel()


async def heartbeats(desk: Desk, clock: FakeClock, duration: timedelta) -> None:
    """Let a time pass, at the end of which the heart beats."""
    clock.pass_time(duration)
    before = desk.commits.count("beat")
    await until(lambda: desk.commits.count("beat") > before + 1)


async def silence(desk: Desk, clock: FakeClock) -> list[timedelta]:
    """How long ago the session of each running timer gave its last sign of life, the first timer's first."""
    return [clock.wall - seen for seen in await signs_of_running(desk)]


async def test_the_main_agents_timer_ends_with_the_last_sign_of_life_of_its_session(
    claude: Claude, desk: Desk, files: ClaudeFiles, keito: Keito, clock: FakeClock
) -> None:
    left = await claude.call("start_timer", notes="Before")
    sub = await claude.call("start_timer", by=SUBAGENT, notes="In the background")
    await heartbeats(desk, clock, 30 * MINUTE)
    files.register(CLAUDE.pid, NEXT_SESSION)
    await heartbeats(desk, clock, 60 * MINUTE)

    answer = await claude.call("start_timer", session=NEXT_SESSION, notes="After")
    assert f"Timer {left['id']} ('Before')" in answer["message"]
    assert "with 0.5 h" in answer["message"]
    await until(lambda: keito.entry(left["id"])["hours"] == 0.5)
    assert keito.entry(left["id"])["is_running"] is False
    assert (await claude.call("stop_timer", by=SUBAGENT, entry_id=sub["id"]))["hours"] == 1.5
    clock.pass_time(30 * MINUTE)
    assert (await claude.call("stop_timer", session=NEXT_SESSION))["hours"] == 0.5
    assert sorted((entry["notes"], entry["hours"]) for entry in keito.entries()) == [
        ("After", 0.5),
        ("Before", 0.5),
        ("In the background", 1.5),
    ]


async def test_a_sub_agent_that_works_on_gives_no_sign_of_life_for_the_main_agent_that_is_gone(
    claude: Claude, desk: Desk, files: ClaudeFiles, keito: Keito, clock: FakeClock
) -> None:
    left = await claude.call("start_timer", notes="Before")
    sub = await claude.call("start_timer", by=SUBAGENT, notes="In the background")
    await heartbeats(desk, clock, 30 * MINUTE)
    files.register(CLAUDE.pid, NEXT_SESSION)
    await heartbeats(desk, clock, 30 * MINUTE)

    answer = await claude.call("log_time", by=SUBAGENT, hours=1)
    assert f"Timer {left['id']} ('Before')" in answer["message"]
    await heartbeats(desk, clock, 30 * MINUTE)
    await claude.call("log_time", session=NEXT_SESSION, hours=2)
    await until(lambda: keito.entry(left["id"])["hours"] == 0.5)
    assert keito.entry(left["id"])["is_running"] is False
    assert (await claude.call("stop_timer", by=SUBAGENT, entry_id=sub["id"]))["hours"] == 1.5


async def test_sub_agents_that_work_on_live_on_once_the_main_agents_timer_is_closed(
    claude: Claude, desk: Desk, files: ClaudeFiles, clock: FakeClock
) -> None:
    await claude.call("start_timer", notes="Before")
    await claude.call("start_timer", by=SUBAGENT, notes="In the background")
    await heartbeats(desk, clock, MINUTE)
    files.register(CLAUDE.pid, NEXT_SESSION)
    await claude.call("list_entries", session=NEXT_SESSION)
    await heartbeats(desk, clock, 60 * MINUTE)
    assert await silence(desk, clock) == [0 * MINUTE]


async def test_what_is_stopped_so_is_brought_to_keito_at_once(
    make_desk: MakeDesk, files: ClaudeFiles, keito: Keito, clock: FakeClock
) -> None:
    desk = make_desk(session_id=None)
    desk.runtime.__dict__["machine"] = files.machine(CLAUDE)
    async with desk.client() as agent, anyio.create_task_group() as tasks:
        tasks.start_soon(desk.runtime.work_in_background)
        claude = Claude(agent, files)
        left = await claude.call("start_timer", notes="Before")
        clock.pass_time(MINUTE)
        files.register(CLAUDE.pid, NEXT_SESSION)
        await claude.call("list_entries", session=NEXT_SESSION)
        await until(lambda: keito.entry(left["id"])["is_running"] is False)
        tasks.cancel_scope.cancel()


async def test_a_session_that_its_host_is_in_lives_on(claude: Claude, desk: Desk, clock: FakeClock) -> None:
    await claude.call("start_timer", notes="One")
    await heartbeats(desk, clock, 90 * MINUTE)
    assert await silence(desk, clock) == [0 * MINUTE]
    assert (await claude.call("stop_timer"))["hours"] == 1.5


async def test_a_session_that_was_left_stays_so_while_nobody_can_read_which_one_its_host_is_in(
    claude: Claude, desk: Desk, files: ClaudeFiles, clock: FakeClock
) -> None:
    await claude.call("start_timer", notes="Before")
    files.register(CLAUDE.pid, NEXT_SESSION)
    await claude.call("list_entries", session=SESSION)
    (files.folder / "sessions" / f"{CLAUDE.pid}.json").write_text("")
    await heartbeats(desk, clock, 60 * MINUTE)
    assert await silence(desk, clock) == [60 * MINUTE]


async def test_a_timer_lives_on_whose_session_was_not_known_to_be_the_hosts(
    make_desk: MakeDesk, tmp_path: Path, clock: FakeClock, keito: Keito
) -> None:
    files = ClaudeFiles(tmp_path)
    desk = make_desk(session_id=None, beat=Beat(heartbeat=0.01))
    desk.runtime.__dict__["machine"] = files.machine(CLAUDE, CLAUDECODE="1", CLAUDE_CODE_SESSION_ID="throw-away-id")
    async with desk.client() as agent, anyio.create_task_group() as tasks:
        tasks.start_soon(desk.runtime.work_in_background)
        claude = Claude(agent, files)
        timer = await claude.call("start_timer", written=False, notes="One")
        assert timer["session_id"] == "throw-away-id"
        files.register(CLAUDE.pid)
        await heartbeats(desk, clock, 60 * MINUTE)
        assert await silence(desk, clock) == [0 * MINUTE]
        assert (await claude.call("list_entries"))["entries"][0]["status"] == "running"
        assert (await claude.call("stop_timer", entry_id=timer["id"]))["hours"] == 1
        tasks.cancel_scope.cancel()
    assert keito.entry(timer["id"])["hours"] == 1


async def test_a_session_that_the_operator_names_lives_on_whatever_the_host_says(
    make_desk: MakeDesk, files: ClaudeFiles, clock: FakeClock, keito: Keito
) -> None:
    desk = make_desk(session_id=SESSION, beat=Beat(heartbeat=0.01))
    desk.runtime.__dict__["machine"] = files.machine(CLAUDE)
    async with desk.client() as agent, anyio.create_task_group() as tasks:
        tasks.start_soon(desk.runtime.work_in_background)
        await Claude(agent, files).call("start_timer", notes="One")
        files.register(CLAUDE.pid, NEXT_SESSION)
        await heartbeats(desk, clock, 90 * MINUTE)
        assert await silence(desk, clock) == [0 * MINUTE]
        assert (await Claude(agent, files).call("log_time", session=NEXT_SESSION, hours=1))["status"] == "logged"
        assert [entry["is_running"] for entry in keito.entries() if entry["notes"] == "One"] == [True]
        tasks.cancel_scope.cancel()


async def test_another_host_inside_of_claude_code_lives_by_itself(
    make_desk: MakeDesk, files: ClaudeFiles, clock: FakeClock
) -> None:
    desk = make_desk(session_id=None, beat=Beat(heartbeat=0.01))
    desk.runtime.session = SESSION
    desk.runtime.__dict__["machine"] = files.machine(CLAUDE, CLAUDECODE="1")
    async with desk.client(name="opencode") as agent, anyio.create_task_group() as tasks:
        tasks.start_soon(desk.runtime.work_in_background)
        await agent.call("start_timer", notes="One")
        await heartbeats(desk, clock, MINUTE)
        files.register(CLAUDE.pid, NEXT_SESSION)
        await heartbeats(desk, clock, 90 * MINUTE)
        assert await silence(desk, clock) == [0 * MINUTE]
        tasks.cancel_scope.cancel()


async def test_a_timer_whose_session_was_unknown_at_its_start_is_named_to_the_agent_that_asks_to_stop_it(
    make_desk: MakeDesk, files: ClaudeFiles, keito: Keito
) -> None:
    (files.folder / "sessions" / f"{CLAUDE.pid}.json").unlink()
    desk = make_desk(session_id=None)
    desk.runtime.__dict__["machine"] = files.machine(CLAUDE)
    async with desk.client() as agent:
        claude = Claude(agent, files)
        started = await claude.call("start_timer", written=False, notes="Fix")
        refused = await claude.call("stop_timer")
        assert refused.is_error
        assert f"{started['id']} ('Fix')" in refused.text
        assert "entry_id" in refused.text
        assert (await claude.call("stop_timer", entry_id=started["id"]))["status"] == "stopped"
    assert keito.entry(started["id"])["is_running"] is False
