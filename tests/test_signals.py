"""Crash-only: however the process ends, at once and quietly, what it was doing is in the journal."""

import os
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from tests.kit import Keito, until
from tests.processes import Wire, environment, gone, wire

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(os.name != "posix", reason="the signals of POSIX"),
]

SOON = 1.0
"""Seconds in which a server must be gone: hosts kill it soon after."""


@pytest.fixture
def settings(keito: Keito) -> dict[str, str]:
    return environment(keito, KEITO_SESSION_ID="session-1", KEITO_AGENT_ID="tester")


@asynccontextmanager
async def server_and_successor(
    settings: dict[str, str], tmp_path: Path, mode: str = "auto"
) -> AsyncIterator[tuple[Wire, Wire]]:
    """A server that will end, and the one that comes after it.

    Both are started at once to save the tests' time: a server does nothing before its first call.
    """
    async with (
        wire(env=settings, tmp_path=tmp_path, mode=mode) as server,
        wire(env=settings, tmp_path=tmp_path, mode=mode) as successor,
    ):
        yield server, successor


async def end(server: Wire, ending: str) -> tuple[int, float]:
    """Exit code, and seconds from the signal until the process was gone."""
    if ending == "EOF":
        await server.hang_up()
    else:
        server.process.send_signal(getattr(signal, ending))
    return await gone(server.process)


def journal(folder: Path) -> sqlite3.Connection:
    return sqlite3.connect(folder / "journal.sqlite3")


def is_intact(folder: Path) -> bool:
    with closing(journal(folder)) as connection:
        return bool(connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)])


def writes(folder: Path) -> list[tuple[str, str]]:
    """Kind and state of each write that the journal holds, in order."""
    with closing(journal(folder)) as connection:
        return connection.execute("SELECT kind, state FROM writes ORDER BY write_id").fetchall()


@pytest.mark.parametrize("ending", ["EOF", "SIGINT", "SIGTERM", "SIGHUP"])
async def test_an_idle_server_is_gone_within_a_second_with_code_0_and_no_word(
    settings: dict[str, str], tmp_path: Path, ending: str
) -> None:
    async with wire(env=settings, tmp_path=tmp_path, mode="legacy") as server:
        await server.greet()
        await server.done("log_time", hours=1)
        code, took = await end(server, ending)
    assert code == 0
    assert took < SOON
    assert server.errors == ""
    assert is_intact(tmp_path / "state")
    assert writes(tmp_path / "state") == [("create", "done")]


@pytest.mark.parametrize(
    ("ending", "mode"),
    [("EOF", "auto"), ("EOF", "legacy"), ("SIGINT", "auto"), ("SIGTERM", "legacy"), ("SIGHUP", "auto")],
)
async def test_a_server_that_waits_for_keito_is_gone_as_soon_and_its_journal_holds_the_write(
    keito: Keito, settings: dict[str, str], tmp_path: Path, ending: str, mode: str
) -> None:
    keito.fails("POST", hang=True)
    async with wire(env=settings, tmp_path=tmp_path, mode=mode) as server:
        await server.greet()
        await server.start("log_time", hours=1)
        await until(lambda: keito.methods == ["POST"])
        code, took = await end(server, ending)
    assert code == 0
    assert took < SOON
    assert server.errors == ""
    assert is_intact(tmp_path / "state")
    assert writes(tmp_path / "state") == [("create", "sent")]


async def test_a_server_that_nobody_speaks_to_ends_with_its_input(tmp_path: Path) -> None:
    async with wire(env=environment(), tmp_path=tmp_path) as server:
        assert await server.end() == 0
    assert server.lines == []
    assert server.errors == ""


async def test_a_killed_server_leaves_a_journal_that_is_whole_and_holds_the_write(
    keito: Keito, settings: dict[str, str], tmp_path: Path
) -> None:
    keito.fails("POST", hang=True, after=1)
    async with wire(env=settings, tmp_path=tmp_path) as server:
        await server.done("log_time", hours=1)
        await server.start("start_timer")
        await until(lambda: keito.methods == ["POST", "POST"])
        await end(server, "SIGKILL")
    assert is_intact(tmp_path / "state")
    assert writes(tmp_path / "state") == [("create", "done"), ("create", "sent")]


@pytest.mark.parametrize(("ending", "mode"), [("SIGKILL", "auto"), ("SIGTERM", "legacy"), ("EOF", "auto")])
async def test_after_a_restart_the_same_log_time_finds_the_entry_that_arrived_late(
    keito: Keito, settings: dict[str, str], tmp_path: Path, ending: str, mode: str
) -> None:
    keito.fails("POST", late_commit=True)
    async with server_and_successor(settings, tmp_path, mode) as (server, successor):
        await server.greet()
        await server.start("log_time", hours=1, notes="Refactored the login")
        await until(lambda: keito.methods == ["POST"])
        await end(server, ending)
        await until(keito.entries)

        await successor.greet()
        answer = await successor.done("log_time", hours=1, notes="Refactored the login")
    [entry] = keito.entries()
    assert (answer["status"], answer["id"]) == ("duplicate", entry["id"])
    assert keito.methods == ["POST", "GET"]
    assert writes(tmp_path / "state") == [("create", "done")]


async def test_a_restarted_server_with_a_session_of_its_own_finds_the_entry_too(keito: Keito, tmp_path: Path) -> None:
    keito.fails("POST", late_commit=True)
    async with server_and_successor(environment(keito), tmp_path) as (server, successor):
        await server.start("log_time", hours=1)
        await until(lambda: keito.methods == ["POST"])
        await end(server, "SIGKILL")
        await until(keito.entries)

        assert (await successor.done("log_time", hours=1))["status"] == "duplicate"
    assert len(keito.entries()) == 1


async def test_after_a_restart_a_write_that_may_still_arrive_is_not_sent_again(
    keito: Keito, settings: dict[str, str], tmp_path: Path
) -> None:
    keito.fails("POST", hang=True)
    async with server_and_successor(settings, tmp_path) as (server, successor):
        await server.start("log_time", hours=1)
        await until(lambda: keito.methods == ["POST"])
        await end(server, "SIGTERM")

        answer = await successor.done("log_time", hours=1)
    assert answer["status"] == "queued"
    assert keito.methods == ["POST", "GET"]
    assert writes(tmp_path / "state") == [("create", "unknown")]
    assert keito.entries() == []


async def test_after_a_restart_the_timer_whose_start_got_no_answer_is_found_running(
    keito: Keito, settings: dict[str, str], tmp_path: Path
) -> None:
    keito.fails("POST", late_commit=True)
    async with server_and_successor(settings, tmp_path) as (server, successor):
        await server.start("start_timer", notes="Read the code")
        await until(lambda: keito.methods == ["POST"])
        await end(server, "SIGKILL")
        await until(keito.entries)

        answer = await successor.done("start_timer", notes="Read the code")
    [entry] = keito.entries()
    assert (answer["status"], answer["id"]) == ("already_running", entry["id"])
    assert keito.methods.count("POST") == 1


async def test_after_a_restart_the_stop_that_got_no_answer_is_not_made_twice(
    keito: Keito, settings: dict[str, str], tmp_path: Path
) -> None:
    keito.fails("PATCH", late_commit=True)
    async with server_and_successor(settings, tmp_path) as (server, successor):
        started = await server.done("start_timer")
        await server.start("stop_timer")
        await until(lambda: keito.methods == ["POST", "GET", "PATCH"])
        await end(server, "SIGTERM")
        assert writes(tmp_path / "state") == [("create", "done"), ("update", "sent")]
        await until(lambda: not keito.entries()[0]["is_running"])
        [entry] = keito.entries()

        answer = await successor.done("stop_timer")
        await until(lambda: writes(tmp_path / "state") == [("create", "done"), ("update", "done")])
        stopped = await successor.done("stop_timer")
    assert (answer["id"], answer["status"], answer["hours"]) == (started["id"], "queued", entry["hours"])
    assert (stopped["id"], stopped["status"], stopped["hours"]) == (started["id"], "already_stopped", entry["hours"])
    assert keito.methods.count("PATCH") == 1
    assert keito.entries() == [entry]
