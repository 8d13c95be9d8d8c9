import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from keito_mcp.commands.sync import sync
from keito_mcp.commands.undo import discard, restore
from tests.commands.program import as_json, command, program
from tests.kit import PROJECT, Agent, Desk, FakeClock, Keito, MakeDesk

pytestmark = pytest.mark.anyio

Capture = pytest.CaptureFixture[str]
LONG_AGO = timedelta(hours=20)
NOT_TO_BE_RESTORED = "Nothing of session session-1 is to be restored: it wasn't discarded here, or was restored before."


def same_but_id(entry: dict[str, Any]) -> dict[str, Any]:
    """All of an entry that a restored one has again."""
    return {name: value for name, value in entry.items() if name not in {"id", "created_at", "updated_at"}}


def keys_of_creates(keito: Keito) -> list[str]:
    """The Idempotency-Key of each create that came in."""
    return [request.headers["idempotency-key"] for request in keito.requests if request.method == "POST"]


async def undo(desk: Desk) -> bool:
    """Restore the session of a desk."""
    return await restore(desk.runtime, "session-1", as_json=False)


async def test_discard_deletes_the_entries_of_all_agents_of_the_session_and_of_no_other(
    make_desk: MakeDesk, keito: Keito
) -> None:
    ids = []
    for name in ("one", "two"):
        async with make_desk(agent_id=name).client() as agent:
            ids += [(await agent.call("log_time", hours=1, notes=name))["id"], (await agent.call("start_timer"))["id"]]
    async with make_desk(session_id="session-2").client() as agent:
        other = await agent.call("log_time", hours=1)
    done = await program(keito, "discard", "session-1", "--reason", "Wrong project")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Discarded 4 entries (")
    assert all(entry_id in done.stdout for entry_id in ids)
    assert [entry["id"] for entry in keito.entries()] == [other["id"]]


async def test_discard_keeps_what_a_person_changed_says_why_and_exits_with_1(agent: Agent, keito: Keito) -> None:
    kept = await agent.call("log_time", hours=1, notes="kept")
    gone = await agent.call("log_time", hours=2, notes="gone")
    await keito.person("PATCH", kept["id"], hours=3)
    done = await command(keito, "discard", "session-1")

    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        f"Discarded 1 entry (2 h) of session session-1: {gone['id']}",
        f"Kept {kept['id']}: A person changed its hours from 1 to 3.",
    ]
    assert [entry["id"] for entry in keito.entries()] == [kept["id"]]


async def test_discard_tells_programs_the_same(agent: Agent, keito: Keito) -> None:
    logged = await agent.call("log_time", hours=2)
    answer = await as_json(keito, "discard", "session-1")
    assert answer == {"session_id": "session-1", "discarded": [logged["id"]], "hours": 2, "kept": []}


async def test_discard_with_keito_down_exits_with_1_and_a_later_sync_deletes(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock, capsys: Capture
) -> None:
    logged = await agent.call("log_time", hours=2)
    async with keito.away():
        assert not await discard(desk.runtime, "session-1", reason=None, as_json=False)
        said = capsys.readouterr().out
        assert not await undo(desk)
        too_early = capsys.readouterr().out
    clock.pass_time(timedelta(minutes=1))
    assert await sync(desk.runtime, as_json=False, adopt=False, yes=False)

    assert f"To be deleted as soon as Keito can be reached: {logged['id']}" in said
    assert too_early.startswith("Session session-1 is still to be deleted in Keito: run `keito-mcp sync`")
    assert keito.entries() == []


async def test_discard_with_a_key_that_keito_refuses_exits_with_1_and_says_so(agent: Agent, keito: Keito) -> None:
    await agent.call("log_time", hours=2)
    done = await command(keito, "discard", "session-1", KEITO_API_KEY="keito_sk_revoked")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith('Keito doesn\'t accept the key (401): Keito says "the API key is not valid".')
    assert "KEITO_API_KEY" in done.stderr
    assert "sk_revoked" not in done.stderr
    assert len(keito.entries()) == 1


async def test_discard_of_a_session_without_entries_says_that_there_were_none(keito: Keito) -> None:
    done = await command(keito, "discard", "no-such-session")
    assert (done.returncode, done.stdout) == (0, "Discarded 0 entries (0 h) of session no-such-session.\n")


async def test_restore_makes_the_same_entry_again_under_a_new_id(agent: Agent, keito: Keito) -> None:
    await agent.call(
        "log_time", hours=1.25, notes="Review", is_billable=False, task_id="tsk_1", metadata={"ticket": "A"}
    )
    [before] = keito.entries()
    await command(keito, "discard", "session-1")
    assert keito.entries() == []
    done = await program(keito, "restore", "session-1")
    [after] = keito.entries()

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "Restored 1 of 1 entries of session session-1.\n"
    assert after["id"] != before["id"]
    assert after["metadata"]["entry_key"] == before["metadata"]["entry_key"]
    assert same_but_id(after) == same_but_id(before)
    first, second = keys_of_creates(keito)
    assert first != second


async def test_restore_makes_each_entry_once_and_says_the_second_time_that_nothing_is_left(
    agent: Agent, keito: Keito
) -> None:
    for notes in "ab":
        await agent.call("log_time", hours=1, notes=notes)
    await agent.call("discard_session")
    first = await as_json(keito, "restore", "session-1")
    again = await command(keito, "restore", "session-1")

    assert first == {"session_id": "session-1", "restored": 2, "waiting": 0, "refused": 0}
    assert (again.returncode, again.stdout) == (1, f"{NOT_TO_BE_RESTORED}\n")
    assert sorted(entry["notes"] for entry in keito.entries()) == ["a", "b"]


async def test_restore_of_a_session_that_wasnt_discarded_exits_with_1_and_changes_nothing(
    agent: Agent, keito: Keito
) -> None:
    await agent.call("log_time", hours=1)
    before = keito.entries()
    done = await command(keito, "restore", "session-1")
    assert (done.returncode, done.stdout) == (1, f"{NOT_TO_BE_RESTORED}\n")
    assert keito.entries() == before


async def test_restore_makes_an_entry_again_that_another_machine_wrote(
    make_desk: MakeDesk, desk: Desk, keito: Keito, tmp_path: Path
) -> None:
    async with make_desk(state_dir=tmp_path / "elsewhere", agent_id="elsewhere").client() as agent:
        await agent.call("log_time", hours=2, notes="From another machine", metadata={"ticket": "A"})
    [before] = keito.entries()
    assert await discard(desk.runtime, "session-1", reason=None, as_json=False)
    assert keito.entries() == []
    assert await undo(desk)
    [after] = keito.entries()
    assert not await undo(desk)

    assert after["id"] != before["id"]
    assert same_but_id(after) == same_but_id(before)
    assert len(keito.entries()) == 1


async def test_restore_gives_an_entry_without_a_key_one_and_can_do_so_again(
    desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    await keito.person(
        "POST",
        project_id=PROJECT,
        spent_date=clock.wall.date().isoformat(),
        hours=2,
        notes="By another program",
        source="agent",
        metadata={"session_id": "session-1", "agent_id": "another"},
    )
    keys = []
    for _ in range(2):
        assert await discard(desk.runtime, "session-1", reason=None, as_json=False)
        assert keito.entries() == []
        assert await undo(desk)
        [entry] = keito.entries()
        keys.append(entry["metadata"].pop("entry_key"))
        assert (entry["hours"], entry["notes"]) == (2, "By another program")
        assert entry["metadata"] == {"session_id": "session-1", "agent_id": "another"}
    assert keys[0] == keys[1]


async def test_restore_with_keito_down_waits_and_a_later_sync_delivers_it(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock, capsys: Capture
) -> None:
    await agent.call("log_time", hours=1, notes="Review")
    [before] = keito.entries()
    await agent.call("discard_session")
    async with keito.away():
        assert not await undo(desk)
        said = capsys.readouterr().out
        assert not await undo(desk)
    clock.pass_time(timedelta(minutes=1))
    assert await sync(desk.runtime, as_json=False, adopt=False, yes=False)

    assert said.startswith("Restored 0 of 1 entries of session session-1.\n")
    assert "Waiting  create of " in said
    assert "Keito can't be reached" in said
    [after] = keito.entries()
    assert same_but_id(after) == same_but_id(before)


async def test_restore_tells_programs_what_waits(agent: Agent, desk: Desk, keito: Keito, capsys: Capture) -> None:
    await agent.call("log_time", hours=1)
    await agent.call("discard_session")
    async with keito.away():
        assert not await restore(desk.runtime, "session-1", as_json=True)
    assert json.loads(capsys.readouterr().out) == {
        "session_id": "session-1",
        "restored": 0,
        "waiting": 1,
        "refused": 0,
    }


async def test_a_session_that_is_discarded_again_can_be_restored_again(
    agent: Agent, desk: Desk, keito: Keito, capsys: Capture
) -> None:
    await agent.call("log_time", hours=1)
    [first] = keito.entries()
    for _ in range(3):
        assert await discard(desk.runtime, "session-1", reason=None, as_json=False)
        assert keito.entries() == []
        assert await undo(desk)
        [entry] = keito.entries()
        assert same_but_id(entry) == same_but_id(first)
    assert len(set(keys_of_creates(keito))) == 4
    assert capsys.readouterr().out.count("Restored 1 of 1 ") == 3


@pytest.mark.parametrize(("ran", "hours"), [(timedelta(hours=2), 2), (timedelta(hours=11), 8)])
async def test_a_timer_that_ran_is_restored_finished_with_at_most_8_hours(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock, ran: timedelta, hours: float
) -> None:
    await agent.call("start_timer", notes="Fix")
    clock.pass_time(ran)
    assert await discard(desk.runtime, "session-1", reason=None, as_json=False)
    clock.pass_time(LONG_AGO)
    assert await undo(desk)

    [entry] = keito.entries()
    assert (entry["is_running"], entry["hours"], entry["notes"]) == (False, hours, "Fix")
    told = await agent.call("stop_timer")
    assert (told["status"], told["hours"]) == ("already_stopped", hours)


@pytest.mark.parametrize("stops_first", [True, False])
async def test_a_timer_that_was_deleted_later_than_discarded_is_restored_with_the_hours_of_its_work(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock, *, stops_first: bool
) -> None:
    await agent.call("start_timer", notes="Fix")
    clock.pass_time(timedelta(hours=1))
    async with keito.away():
        if stops_first:
            await agent.call("stop_timer")
            clock.pass_time(timedelta(hours=2))
        await agent.call("discard_session")
    clock.pass_time(LONG_AGO)
    await desk.deliver_all()
    assert keito.entries() == []
    assert await undo(desk)

    [entry] = keito.entries()
    assert (entry["is_running"], entry["hours"]) == (False, 1)


async def test_a_timer_whose_delete_failed_at_first_is_restored_with_the_hours_until_it_was_discarded(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    await agent.call("start_timer", notes="Fix")
    clock.pass_time(timedelta(hours=1))
    keito.fails("DELETE", status=503)
    await agent.call("discard_session")
    keito.fails("DELETE", status=503)
    clock.pass_time(timedelta(hours=2))
    await desk.deliver()
    clock.pass_time(timedelta(hours=2))
    await desk.deliver_all()
    assert keito.entries() == []
    assert await undo(desk)

    [entry] = keito.entries()
    assert (entry["is_running"], entry["hours"]) == (False, 1)


async def test_what_keito_refuses_to_make_again_is_said_with_the_reason_and_exits_with_1(
    agent: Agent, desk: Desk, keito: Keito, capsys: Capture
) -> None:
    await agent.call("log_time", hours=1)
    await agent.call("discard_session")
    keito.fails("POST", status=403)
    assert not await undo(desk)
    said = capsys.readouterr().out
    assert said.startswith("Restored 0 of 1 entries of session session-1.\n")
    assert "403" in said


async def test_a_timer_whose_stop_waited_when_it_was_deleted_is_restored_as_it_was_stopped(
    agent: Agent, desk: Desk, keito: Keito, clock: FakeClock
) -> None:
    await agent.call("start_timer", notes="Fix")
    clock.pass_time(timedelta(hours=1))
    async with keito.away():
        await agent.call("stop_timer", notes="Fixed")
    clock.pass_time(timedelta(hours=2))
    assert await discard(desk.runtime, "session-1", reason=None, as_json=False)
    assert keito.entries() == []
    assert await undo(desk)

    [entry] = keito.entries()
    assert (entry["is_running"], entry["hours"], entry["notes"]) == (False, 1, "Fixed")
