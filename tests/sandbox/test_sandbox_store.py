"""The file under the sandbox, shared by stores, threads and processes."""

import sqlite3
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from subprocess import run

import pytest

from keito_mcp.sandbox import Store
from keito_mcp.sandbox import store as store_module
from keito_mcp.sandbox.entry import Entry
from keito_mcp.sandbox.queries import Filters
from keito_mcp.sandbox.store import EntryNotFoundError, Others, TimerRunningError

NOW = datetime(2026, 3, 6, 14, 30, tzinfo=UTC)
ENTRY = Entry(
    id="te_1",
    user_id="usr_1",
    project_id="prj_abc",
    task_id=None,
    spent_date="2026-03-06",
    units=15_000,
    started_at=None,
    notes=None,
    is_billable=True,
    source="api",
    metadata=None,
    created_at=NOW,
    updated_at=NOW,
)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock on a fresh file, as another process does while it opens the file."""
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as connection:
        connection.execute("CREATE TABLE held (id)")
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def test_entries_outlive_the_store(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "keito.db")) as store:
        store.create(ENTRY)
    with closing(Store(str(tmp_path / "keito.db"))) as store:
        assert store.get("te_1") == ENTRY


def test_a_store_in_memory_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with closing(Store(":memory:")) as store:
        store.create(ENTRY)
        assert [entry["id"] for entry in store.entries()] == ["te_1"]
    assert list(tmp_path.iterdir()) == []


def test_entries_come_oldest_first(store: Store) -> None:
    for entry_id in ("te_b", "te_a"):
        store.create(replace(ENTRY, id=entry_id))
    assert [entry["id"] for entry in store.entries()] == ["te_b", "te_a"]


def test_a_place_in_the_list_is_never_given_to_another_entry(store: Store) -> None:
    for entry_id in ("te_1", "te_2"):
        store.create(replace(ENTRY, id=entry_id))
    page = store.page(Filters(), before=None, limit=1)
    store.delete("te_2")
    store.create(replace(ENTRY, id="te_3"))

    assert [entry.id for entry in store.page(Filters(), before=page.next_before, limit=1).entries] == ["te_1"]


def test_what_does_not_exist_cannot_be_approved(store: Store) -> None:
    with pytest.raises(EntryNotFoundError):
        store.approve("te_none")


def test_a_change_that_fails_leaves_the_entry_and_the_store_usable(store: Store) -> None:
    store.create(ENTRY)

    def fail(_entry: Entry) -> Entry:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.update("te_1", fail)
    assert store.update("te_1", lambda entry: replace(entry, notes="kept")).notes == "kept"


def test_two_stores_on_one_file_lose_no_update_from_two_threads(store: Store, tmp_path: Path) -> None:
    store.create(replace(ENTRY, units=0))
    start = threading.Barrier(2)

    def count(store: Store, name: str) -> None:
        start.wait()
        for number in range(100):
            store.create(replace(ENTRY, id=f"te_{name}{number}"))
            store.update("te_1", lambda entry: replace(entry, units=entry.units + 1))

    with closing(Store(tmp_path / "keito.db")) as other, ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(count, store, "a"), threads.submit(count, other, "b")]:
            done.result()

    assert store.get("te_1").units == 200
    assert len(store.entries()) == 201


def test_of_two_timers_that_start_at_the_same_time_one_is_refused(store: Store, tmp_path: Path) -> None:
    start = threading.Barrier(2)

    def run_timer(store: Store, entry_id: str) -> bool:
        start.wait()
        try:
            store.create(replace(ENTRY, id=entry_id, started_at=NOW), Others.REFUSE)
        except TimerRunningError:
            return False
        return True

    with closing(Store(tmp_path / "keito.db")) as other, ThreadPoolExecutor(2) as threads:
        timers = [threads.submit(run_timer, store, "te_a"), threads.submit(run_timer, other, "te_b")]
        assert sorted(timer.result() for timer in timers) == [False, True]


def test_processes_may_open_a_new_file_at_the_same_time(tmp_path: Path) -> None:
    program = "import sys\nfrom keito_mcp.sandbox import Store\nfor _ in range(20): Store(sys.argv[1]).close()"

    def open_it() -> int:
        return run([sys.executable, "-c", program, tmp_path / "new.db"], check=False).returncode

    with ThreadPoolExecutor(4) as threads:
        assert [done.result() for done in [threads.submit(open_it) for _ in range(4)]] == [0] * 4


def test_opening_waits_for_whoever_is_opening_the_same_file(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as threads:
        with locked(tmp_path / "new.db"):
            opening = threads.submit(Store, tmp_path / "new.db")
            with pytest.raises(TimeoutError):
                opening.result(timeout=0.05)
        opening.result(timeout=5).close()


def test_a_file_that_stays_locked_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_BUSY_SECONDS", 0.05)
    with locked(tmp_path / "new.db"), pytest.raises(sqlite3.OperationalError, match="locked"):
        Store(tmp_path / "new.db")


def test_a_file_of_an_earlier_version_opens_and_keeps_its_entries(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "keito.db")) as connection:
        connection.executescript(
            """
            CREATE TABLE entries (
                seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, user_id TEXT NOT NULL,
                project_id TEXT NOT NULL, task_id TEXT, spent_date TEXT NOT NULL, units INTEGER NOT NULL,
                started_at TEXT, notes TEXT, is_billable INTEGER NOT NULL, source TEXT NOT NULL, metadata TEXT,
                created_at TEXT NOT NULL, updated_at TEXT NOT NULL, approved INTEGER NOT NULL
            );
            INSERT INTO entries VALUES (
                1, 'te_1', 'usr_1', 'prj_abc', NULL, '2026-03-06', 15000, NULL, NULL, 1, 'api', NULL,
                '2026-03-06T14:30:00+00:00', '2026-03-06T14:30:00+00:00', 0
            );
            """
        )
    for _ in range(2):
        with closing(Store(tmp_path / "keito.db")) as store:
            assert store.get("te_1") == ENTRY
    with closing(Store(tmp_path / "keito.db")) as store:
        store.lock("te_1")
        assert store.get("te_1") == replace(ENTRY, locked=True)
