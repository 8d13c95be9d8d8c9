import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from keito_mcp.commands.sessions import sessions
from tests.commands.program import another_account, as_json, command, program
from tests.kit import PROJECT, TASK, Agent, Desk, FakeClock, Keito, MakeDesk
from tests.processes import environment, run, wire

pytestmark = pytest.mark.anyio

Capture = pytest.CaptureFixture[str]


async def shown(desk: Desk, capsys: Capture) -> list[str]:
    """The lines that a person reads."""
    capsys.readouterr()
    await sessions(desk.runtime, as_json=False)
    return capsys.readouterr().out.splitlines()


async def described(desk: Desk, capsys: Capture) -> list[dict[str, Any]]:
    """What a program reads."""
    capsys.readouterr()
    await sessions(desk.runtime, as_json=True)
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def columns(head: str, row: str) -> dict[str, str]:
    """A row's cells by their headings, each where its heading begins."""
    names = head.replace("LAST SEEN", "LAST-SEEN").split()
    starts = [head.index(name.replace("-", " ")) for name in names]
    ends = [*starts[1:], None]
    return {name: row[start:end].strip() for name, start, end in zip(names, starts, ends, strict=True)}


async def test_an_empty_journal_says_so(keito: Keito) -> None:
    done = await command(keito, "sessions")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "No session of this account is known on this machine.\n"
    assert await as_json(keito, "sessions") == []
    assert keito.requests == []


async def test_sessions_are_shown_without_a_key_and_without_a_network() -> None:
    done = await run("sessions")
    assert (done.returncode, done.stderr) == (0, "")


async def test_a_session_is_one_row_of_a_table(agent: Agent, keito: Keito, clock: FakeClock) -> None:
    await agent.call("log_time", hours=1.25)
    await agent.call("log_time", hours=0.5, project_id="prj_2", task_id=TASK)
    await agent.call("start_timer")
    done = await program(keito, "sessions")

    assert (done.returncode, done.stderr) == (0, "")
    head, row = done.stdout.splitlines()
    assert columns(head, row) == {
        "SESSION": "session-1",
        "LAST-SEEN": clock.wall.astimezone().strftime("%Y-%m-%d %H:%M"),
        "AGENT": "tester",
        "PROJECT": f"{PROJECT}, prj_2",
        "ENTRIES": "3",
        "HOURS": "1.75",
        "RUNNING": "1",
        "QUEUED": "0",
        "DISCARDED": "0",
    }


async def test_what_the_real_server_wrote_is_shown_to_programs(keito: Keito, tmp_path: Path) -> None:
    settings = environment(keito, KEITO_SESSION_ID="its-session", KEITO_AGENT_ID="its-agent")
    async with wire(env=settings, tmp_path=tmp_path) as server:
        started = await server.done("start_timer")
        [session] = await as_json(keito, "sessions")
        assert await server.end() == 0

    assert datetime.fromisoformat(session.pop("last_seen")).tzinfo is not None
    assert session == {
        "session_id": "its-session",
        "agent_ids": ["its-agent"],
        "project_ids": [PROJECT],
        "entries": 1,
        "hours": 0.0,
        "running": [started["id"]],
        "queued": [],
        "refused": [],
        "recorded": None,
        "discarded": [],
        "left_alone": {},
        "closed": {},
    }


async def test_the_session_that_lived_last_is_shown_first(
    make_desk: MakeDesk, clock: FakeClock, capsys: Capture
) -> None:
    for session in ("first", "second", "third"):
        desk = make_desk(session_id=session)
        async with desk.client() as agent:
            await agent.call("log_time", hours=1)
        clock.pass_time(timedelta(minutes=1))
    async with make_desk(session_id="first").client() as agent:
        await agent.call("log_time", hours=2)

    head, *rows = await shown(desk, capsys)
    assert [columns(head, row)["SESSION"] for row in rows] == ["first", "third", "second"]
    assert [session["session_id"] for session in await described(desk, capsys)] == ["first", "third", "second"]


async def test_sessions_of_another_account_are_not_shown(agent: Agent, keito: Keito) -> None:
    await agent.call("log_time", hours=1)
    assert await as_json(keito, "sessions") != []
    done = await command(keito, "sessions", **another_account(keito))
    assert done.stdout == "No session of this account is known on this machine.\n"


async def test_what_waits_is_shown_with_what_kept_it_from_keito_last(
    agent: Agent, desk: Desk, keito: Keito, capsys: Capture
) -> None:
    async with keito.away():
        logged = await agent.call("log_time", hours=1.5)
    head, row, *remarks = await shown(desk, capsys)
    [session] = await described(desk, capsys)

    assert (columns(head, row)["QUEUED"], columns(head, row)["HOURS"]) == ("1", "1.5")
    assert remarks[:2] == ["", "session-1"]
    assert remarks[2].startswith(f"  waiting: create of {logged['id']}, never sent, since ")
    assert "Keito can't be reached now" in remarks[2]
    [waiting] = session["queued"]
    assert (waiting["kind"], waiting["entry"], waiting["sent"]) == ("create", logged["id"], 0)
    assert "Keito can't be reached now" in waiting["why"]


async def test_what_was_refused_is_shown_with_the_reason(
    agent: Agent, desk: Desk, keito: Keito, capsys: Capture
) -> None:
    async with keito.away():
        logged = await agent.call("log_time", hours=1.5, project_id="prj_forbidden", task_id=TASK)
    await desk.deliver_all()
    head, row, *remarks = await shown(desk, capsys)
    [session] = await described(desk, capsys)

    assert [columns(head, row)[name] for name in ("ENTRIES", "HOURS", "QUEUED")] == ["0", "0", "0"]
    assert remarks[2].startswith(f"  refused: create of {logged['id']}, ")
    assert "403" in remarks[2]
    assert "403" in session["refused"][0]["why"]


async def test_what_a_person_changed_is_shown_as_left_alone(
    agent: Agent, desk: Desk, keito: Keito, capsys: Capture
) -> None:
    logged = await agent.call("log_time", hours=1)
    async with keito.away():
        await agent.call("stop_timer", entry_id=logged["id"], hours=2)
    await keito.person("PATCH", logged["id"], hours=3)
    await desk.deliver_all()
    lines = await shown(desk, capsys)
    [session] = await described(desk, capsys)

    why = "A person changed its hours from 1 to 3."
    assert f"  left alone: {logged['id']}: {why}" in lines
    assert session["left_alone"] == {logged["id"]: why}
    assert [write["kind"] for write in session["refused"]] == ["update"]


async def test_a_timer_that_its_agent_left_running_is_shown_as_closed(
    agent: Agent, desk: Desk, clock: FakeClock, make_desk: MakeDesk, capsys: Capture
) -> None:
    started = await agent.call("start_timer", notes="Fix")
    clock.pass_time(timedelta(days=1))
    later = make_desk(session_id="later")
    await later.deliver_all()
    head, row, *remarks = await shown(desk, capsys)
    [session] = await described(desk, capsys)

    assert (columns(head, row)["RUNNING"], columns(head, row)["QUEUED"]) == ("0", "0")
    assert remarks[2].startswith(f"  closed: Timer {started['id']} ('Fix') of session session-1 was left running")
    assert list(session["closed"]) == [started["id"]]
    assert session["running"] == []


async def test_what_was_discarded_counts_no_hours(agent: Agent, desk: Desk, capsys: Capture) -> None:
    logged = await agent.call("log_time", hours=1)
    await agent.call("discard_session")
    head, row = await shown(desk, capsys)
    [session] = await described(desk, capsys)

    assert [columns(head, row)[name] for name in ("ENTRIES", "HOURS", "DISCARDED")] == ["0", "0", "1"]
    assert (session["discarded"], session["hours"]) == ([logged["id"]], 0)


async def test_a_journal_that_cant_be_used_is_said_in_words_of_a_person(keito: Keito, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = await command(keito, "sessions", KEITO_STATE_DIR=str(tmp_path / "file" / "state"))
    assert (done.returncode, done.stdout) == (1, "")
    [sentence] = done.stderr.splitlines()
    assert "can't be used" in sentence or "can't be written" in sentence
    assert "Traceback" not in done.stderr
