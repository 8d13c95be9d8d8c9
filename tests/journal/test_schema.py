import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from keito_mcp.journal.schema import _FIRST, _STEPS, SCHEMA_VERSION, NewerSchema, migrate

OPEN_STATES = ("creating", "running", "stopping")
ENTRY_STATES = (*OPEN_STATES, "stopped", "refused", "gone", "discarded")
KINDS = ("create", "update", "delete")
FIRST_WRITE_STATES = ("sent", "done", "refused", "unknown")
WRITE_STATES = ("queued", "sent", "unknown", "confirming", "done", "refused", "dropped", "undone")


SINCE_THEN: dict[str, Any] = {
    "closed": None,
    "ended_wall": None,
    "ended_monotonic": None,
    "ended_boot": None,
    "host_session": None,
    "is_recorded": 0,
}
"""What later versions know of an entry, as it is for one of the first."""


def connected(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def insert(connection: sqlite3.Connection, table: str, row: dict[str, Any]) -> None:
    names, marks = ", ".join(row), ", ".join("?" * len(row))
    connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(row.values()))  # noqa: S608


def rows(connection: sqlite3.Connection, table: str) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(f"SELECT * FROM {table} ORDER BY rowid")]  # noqa: S608


def whole(connection: sqlite3.Connection) -> tuple[int, list[str]]:
    """Everything that a file says."""
    return connection.execute("PRAGMA user_version").fetchone()[0], list(connection.iterdump())


def entry(key: str, state: str, *, timer: bool = True, **values: Any) -> dict[str, Any]:
    started = {"started_wall": "2026-03-06T12:00:00+00:00", "started_monotonic": 1.5, "started_boot": "boot-1"}
    return {
        "entry_key": key,
        "account": "account-1",
        "session_id": f"session of {key}",
        "agent_id": "agent",
        "subagent_id": "",
        "session_is_certain": 1,
        "process": "process-1",
        "entry_id": f"te_{key}",
        "state": state,
        "project_id": "prj_abc",
        "task_id": None,
        "notes": "Fixed the login; redirect;\n",
        "is_billable": 1,
        "spent_date": "2026-03-06",
        "hours": "1.25",
        "hours_answered": 1,
        "person": "edited" if state == "stopped" else None,
        **(started if timer else dict.fromkeys(started)),
        "changed_at": "2026-03-06T13:15:00+00:00",
        **values,
    }


def first_write(entry_key: str | None, kind: str, state: str, **values: Any) -> dict[str, Any]:
    return {
        "account": "account-1",
        "kind": kind,
        "entry_key": entry_key,
        "entry_id": "te_1",
        "idempotency_key": "idem-1" if kind == "create" else None,
        "body": '{"hours": "1.25"}',
        "fingerprint": "f-1",
        "call_id": "call-1",
        "state": state,
        "reason": "timeout" if state == "unknown" else None,
        "sent_at": "2026-03-06T12:00:01+00:00",
        "sent_monotonic": 2.5,
        "sent_boot": "boot-1",
        "settled_at": None if state == "sent" else "2026-03-06T12:00:02+00:00",
        **values,
    }


def write(state: str = "queued", **values: Any) -> dict[str, Any]:
    at = first_write(None, "create", state, asked_at="2026-03-06T12:00:00+00:00")
    rest = {"rested_at": "2026-03-06T12:00:01+00:00", "rested_monotonic": 2.5, "rested_boot": "boot-1", "rest": 0.0}
    return {**at, **rest, "sends": 0, "looks": 0, "attempts": 0, "promised": 0, **values}


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """A file of version 1 with an entry in each state, and a write of each kind in each state."""
    path = tmp_path / "journal.sqlite3"
    with closing(connected(path)) as connection:
        for statement in _FIRST.split(";\n"):
            connection.execute(statement)
        connection.execute("PRAGMA user_version = 1")
        for state in ENTRY_STATES:
            insert(connection, "entries", entry(f"timer-{state}", state))
            insert(connection, "entries", entry(f"logged-{state}", state, timer=False))
        for kind in KINDS:
            for state in FIRST_WRITE_STATES:
                insert(connection, "writes", first_write("timer-running", kind, state))
        insert(connection, "writes", first_write(None, "delete", "sent"))
        connection.execute("DELETE FROM writes WHERE write_id = 2")
    return path


@pytest.fixture
def new(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(connected(tmp_path / "new.sqlite3")) as connection:
        migrate(connection)
        yield connection


def test_every_entry_and_every_write_of_version_1_is_kept(first: Path) -> None:
    with closing(connected(first)) as connection:
        entries, writes = rows(connection, "entries"), rows(connection, "writes")
        migrate(connection)
        assert connection.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION
        assert rows(connection, "entries") == [{**row, **SINCE_THEN} for row in entries]
        assert rows(connection, "writes") == [
            {
                **row,
                "state": "unknown" if row["state"] == "sent" else row["state"],
                "asked_at": row["sent_at"],
                "sends": 1,
                "looks": 0,
                "attempts": 0,
                "lease": None,
                "rested_at": row["sent_at"],
                "rested_monotonic": row["sent_monotonic"],
                "rested_boot": row["sent_boot"],
                "rest": 0.0,
                "promised": 0,
                "is_held": 0,
            }
            for row in writes
        ]
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


A_START = {"kind": "create", "body": '{"is_running": true}'}
AN_ENTRY = {"kind": "create", "body": '{"hours": 1, "is_running": false}'}
A_STOP = {"kind": "update", "body": '{"is_running": false}'}


@pytest.mark.parametrize(
    ("what", "rest", "is_held"),
    [
        (A_START, 0.0, 0),
        (A_START, 300.0, 0),
        (A_START, 1.8e9, 0),
        (A_START, 3_153_600_000.0, 1),
        (AN_ENTRY, 3_153_600_000.0, 0),
        (A_STOP, 3_153_600_000.0, 0),
    ],
)
def test_a_start_that_was_held_by_a_rest_of_a_hundred_years_is_held_still_and_nothing_rests_for_years(
    tmp_path: Path, what: dict[str, str], rest: float, is_held: int
) -> None:
    with closing(connected(tmp_path / "journal.sqlite3")) as connection:
        for step in _STEPS[:3]:
            connection.executescript(step)
        connection.execute("PRAGMA user_version = 3")
        moment = {"sent_at": "2026-03-06T12:00:00+00:00", "sent_monotonic": 1.5, "sent_boot": "boot-1"}
        rested = {name.replace("sent", "rested"): value for name, value in moment.items()}
        counts = {"sends": 0, "looks": 0, "attempts": 0, "promised": 1}
        about = {"account": "account-1", **what, "state": "queued"}
        insert(
            connection, "writes", {**about, **moment, **rested, **counts, "asked_at": moment["sent_at"], "rest": rest}
        )
        migrate(connection)
        [write] = rows(connection, "writes")
    assert (write["is_held"], write["rest"]) == (is_held, rest if rest <= 3600 else 0.0)


def test_a_write_that_was_unsettled_is_still_to_be_found_out(first: Path) -> None:
    with closing(connected(first)) as connection:
        unsettled = [row["write_id"] for row in rows(connection, "writes") if row["state"] in {"sent", "unknown"}]
        migrate(connection)
        assert len(unsettled) == 7
        assert [row["write_id"] for row in rows(connection, "writes") if row["state"] == "unknown"] == unsettled


def test_a_file_that_was_brought_forward_has_the_schema_of_a_new_one(first: Path, new: sqlite3.Connection) -> None:
    def schema(connection: sqlite3.Connection) -> dict[str, object]:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        indexes = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' ORDER BY name")
        columns = {name: [tuple(row) for row in connection.execute(f"PRAGMA table_info({name})")] for name in tables}
        return {"columns": columns, "indexes": [tuple(row) for row in indexes]}

    with closing(connected(first)) as connection:
        migrate(connection)
        assert schema(connection) == schema(new)


def test_a_file_of_this_version_is_left_as_it_is(new: sqlite3.Connection) -> None:
    insert(new, "writes", write())
    before = whole(new)
    migrate(new)
    assert whole(new) == before


def test_a_file_of_a_newer_version_is_refused_and_left_as_it_is(new: sqlite3.Connection) -> None:
    new.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    before = whole(new)
    with pytest.raises(NewerSchema):
        migrate(new)
    assert whole(new) == before
    assert not new.in_transaction


def test_a_step_that_something_is_in_the_way_of_leaves_the_old_version_whole(first: Path) -> None:
    with closing(connected(first)) as connection:
        # The last table that the step makes.
        connection.execute("CREATE TABLE sessions (strange)")
        before = whole(connection)
        with pytest.raises(sqlite3.OperationalError, match="already exists"):
            migrate(connection)
        assert whole(connection) == before
        connection.execute("DROP TABLE sessions")
        migrate(connection)


def test_a_disk_that_is_full_leaves_the_old_version_whole(first: Path) -> None:
    with closing(connected(first)) as connection:
        before = whole(connection)
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 1}")
        with pytest.raises(sqlite3.OperationalError, match="full"):
            migrate(connection)
        assert whole(connection) == before
        connection.execute(f"PRAGMA max_page_count = {pages + 1000}")
        migrate(connection)


def test_wherever_a_migration_ends_early_the_old_version_is_whole(first: Path) -> None:
    with closing(connected(first)) as connection:
        before = whole(connection)
        failures = 0
        for allowed in count(0, 25):
            steps = iter(range(allowed))

            def is_over(steps: Iterator[int] = steps) -> bool:
                return next(steps, None) is None

            connection.set_progress_handler(is_over, 20)
            try:
                migrate(connection)
            except sqlite3.OperationalError:
                failures += 1
            else:
                break
            finally:
                connection.set_progress_handler(None, 0)
            assert whole(connection) == before
        assert failures >= 3
        assert whole(connection)[0] == SCHEMA_VERSION


def test_several_connections_at_once_bring_it_forward_once(first: Path) -> None:
    together = Barrier(8)

    def work(_: int) -> int:
        with closing(connected(first)) as connection:
            together.wait(10)
            migrate(connection)
            return len(rows(connection, "writes"))

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(work, range(8))) == [12] * 8


def test_several_processes_at_once_bring_it_forward_once(first: Path) -> None:
    program = """
import sqlite3, sys
from keito_mcp.journal.schema import migrate
connection = sqlite3.connect(sys.argv[1], timeout=10, isolation_level=None)
print("ready", flush=True)
sys.stdin.readline()
migrate(connection)
print(connection.execute("SELECT count(*) FROM writes").fetchone()[0])
"""
    command = [sys.executable, "-c", program, str(first)]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(5)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.communicate(timeout=20)[0] for process in processes] == ["12\n"] * 5


@pytest.mark.parametrize("state", OPEN_STATES)
def test_only_a_timer_that_may_run_is_in_the_way_of_the_next(new: sqlite3.Connection, state: str) -> None:
    insert(new, "entries", entry("first", state, session_id="session-1"))
    following = entry("second", "running", session_id="session-1")
    if state == "stopping":
        insert(new, "entries", following)
    else:
        with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
            insert(new, "entries", following)
    insert(new, "entries", entry("logged", "running", timer=False, session_id="session-1"))
    insert(new, "entries", entry("another's", "running", session_id="session-2"))


def test_every_state_and_kind_is_one_of_those_that_are_known(new: sqlite3.Connection) -> None:
    for state in ENTRY_STATES:
        insert(new, "entries", entry(state, state))
    for state in WRITE_STATES:
        insert(new, "writes", write(state))
    for kind in KINDS:
        insert(new, "writes", write(kind=kind))
    for table, row in {
        "entries": entry("strange", "waiting"),
        "writes": write("waiting"),
    }.items():
        with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
            insert(new, table, row)
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        insert(new, "writes", write(kind="move"))


def test_a_write_is_of_an_entry_that_is_there(new: sqlite3.Connection) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        insert(new, "writes", write(entry_key="nobody's"))


def test_a_value_of_another_type_is_refused(new: sqlite3.Connection) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="cannot store"):
        insert(new, "writes", write(rest="soon"))
