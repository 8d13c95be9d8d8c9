"""The entries in one SQLite file, which several processes may share."""

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from keito_mcp.sandbox.entry import Entry

_BUSY_SECONDS = 10.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    user_id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    task_id TEXT,
    spent_date TEXT NOT NULL,
    units INTEGER NOT NULL,
    started_at TEXT,
    notes TEXT,
    is_billable INTEGER NOT NULL,
    source TEXT NOT NULL,
    metadata TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    approved INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS idempotency_keys (
    user_id TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    answer TEXT NOT NULL,
    PRIMARY KEY (user_id, key)
);
"""

_INSERT = """
INSERT INTO entries (id, user_id, project_id, task_id, spent_date, units, started_at, notes, is_billable,
                     source, metadata, created_at, updated_at, approved)
VALUES (:id, :user_id, :project_id, :task_id, :spent_date, :units, :started_at, :notes, :is_billable,
        :source, :metadata, :created_at, :updated_at, :approved)
"""

_UPDATE = """
UPDATE entries
SET task_id = :task_id, units = :units, started_at = :started_at, notes = :notes, is_billable = :is_billable,
    metadata = :metadata, updated_at = :updated_at, approved = :approved
WHERE id = :id
"""

_PAGE = """
SELECT * FROM entries
WHERE (:before IS NULL OR seq < :before)
  AND (:source IS NULL OR source = :source)
  AND (:project_id IS NULL OR project_id = :project_id)
  AND (:user_id IS NULL OR user_id = :user_id)
  AND (:first_date IS NULL OR spent_date >= :first_date)
  AND (:last_date IS NULL OR spent_date <= :last_date)
  AND (:is_running IS NULL OR (started_at IS NOT NULL) = :is_running)
ORDER BY seq DESC
LIMIT :limit
"""


class EntryNotFoundError(LookupError):
    """There is no entry with that id, or no longer."""


class EntryApprovedError(Exception):
    """The entry was approved: it is neither changed nor deleted any more."""


class KeyReusedError(Exception):
    """The idempotency key was used before, for a different body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which entries to list; `None` means any. Dates are inclusive and compare to `spent_date`."""

    source: str | None = None
    project_id: str | None = None
    user_id: str | None = None
    first_date: str | None = None
    last_date: str | None = None
    is_running: bool | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some entries, newest first, and what to hand to `Store.page` for those after them, if there are any."""

    entries: list[Entry]
    next_before: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """An idempotency key: whose, for which body, and the answer to repeat."""

    user_id: str
    key: str
    fingerprint: str
    answer: str


class Store:
    """Time entries in SQLite, usable from any thread and by several processes at once.

    Everyone shares the entries: any user may read, change and delete any of them.

    Args:
        path: The file, created on first use; `":memory:"` keeps everything in this object.
    """

    def __init__(self, path: str | Path) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        _use_wal(self._connection)
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file; the store is of no use afterwards."""
        with self._lock:
            self._connection.close()

    def entries(self, now: datetime | None = None) -> list[dict[str, Any]]:
        """Return all standing entries as the v1 API shows them, oldest first.

        Args:
            now: The time at which to read running timers; the machine's by default.
        """
        now = now or datetime.now(UTC)
        with self._lock:
            rows = self._connection.execute("SELECT * FROM entries ORDER BY seq").fetchall()
        return [_entry(row).as_dict(now) for row in rows]

    def page(self, filters: Filters, *, before: int | None, limit: int) -> Page:
        """Return up to `limit` entries, newest first.

        The place in the list is a key, not a count: entries that come and go meanwhile move nothing.

        Args:
            filters: Which entries to list.
            before: `next_before` of the page that came before this one, `None` for the first.
            limit: How many entries at most.
        """
        with self._lock:
            rows = self._connection.execute(_PAGE, asdict(filters) | {"before": before, "limit": limit + 1}).fetchall()
        more = len(rows) > limit
        return Page([_entry(row) for row in rows[:limit]], rows[limit - 1]["seq"] if more else None)

    def get(self, entry_id: str) -> Entry:
        """Return one entry.

        Raises:
            EntryNotFoundError: There is none with that id.
        """
        with self._lock:
            return self._find(entry_id)

    def create(self, entry: Entry) -> None:
        """Add an entry."""
        with self._transaction() as connection:
            connection.execute(_INSERT, _row(entry))

    def create_once(self, entry: Entry, once: Once) -> str:
        """Add an entry unless its idempotency key did so before; return the answer to give.

        Raises:
            KeyReusedError: The key came with a different body before.
        """
        with self._transaction() as connection:
            known = connection.execute(
                "SELECT fingerprint, answer FROM idempotency_keys WHERE user_id = ? AND key = ?",
                (once.user_id, once.key),
            ).fetchone()
            if known is None:
                connection.execute(_INSERT, _row(entry))
                connection.execute(
                    "INSERT INTO idempotency_keys (user_id, key, fingerprint, answer)"
                    " VALUES (:user_id, :key, :fingerprint, :answer)",
                    asdict(once),
                )
                return once.answer
            if known["fingerprint"] != once.fingerprint:
                raise KeyReusedError(once.key)
            return str(known["answer"])

    def update(self, entry_id: str, change: Callable[[Entry], Entry]) -> Entry:
        """Replace an entry by what `change` makes of it, with nobody else in between; return the new one.

        Raises:
            EntryNotFoundError: There is none with that id.
            EntryApprovedError: The entry was approved.
        """
        with self._transaction() as connection:
            entry = change(self._find_open(entry_id))
            connection.execute(_UPDATE, _row(entry))
            return entry

    def delete(self, entry_id: str) -> None:
        """Delete an entry for good.

        Raises:
            EntryNotFoundError: There is none with that id.
            EntryApprovedError: The entry was approved.
        """
        with self._transaction() as connection:
            self._find_open(entry_id)
            connection.execute("DELETE FROM entries WHERE id = ?", (entry_id,))

    def approve(self, entry_id: str) -> None:
        """Approve an entry: from now on it is neither changed nor deleted.

        Raises:
            EntryNotFoundError: There is none with that id.
        """
        with self._transaction() as connection:
            self._find(entry_id)
            connection.execute("UPDATE entries SET approved = 1 WHERE id = ?", (entry_id,))

    def _find(self, entry_id: str) -> Entry:
        row = self._connection.execute("SELECT * FROM entries WHERE id = ?", (entry_id,)).fetchone()
        if row is None:
            raise EntryNotFoundError(entry_id)
        return _entry(row)

    def _find_open(self, entry_id: str) -> Entry:
        entry = self._find(entry_id)
        if entry.approved:
            raise EntryApprovedError(entry_id)
        return entry

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        # IMMEDIATE: a transaction that reads first and only then asks to write fails when another process
        # wrote in between, whatever the busy timeout.
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")


def _use_wal(connection: sqlite3.Connection) -> None:
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            # Of all statements, this one does not wait for a process that is opening the same file.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _row(entry: Entry) -> dict[str, Any]:
    return asdict(entry) | {
        "started_at": entry.started_at and entry.started_at.isoformat(),
        "metadata": None if entry.metadata is None else json.dumps(entry.metadata),
        "created_at": entry.created_at.isoformat(),
        "updated_at": entry.updated_at.isoformat(),
    }


def _entry(row: sqlite3.Row) -> Entry:
    values = dict(row)
    del values["seq"]
    return Entry(
        **values
        | {
            "started_at": values["started_at"] and datetime.fromisoformat(values["started_at"]),
            "metadata": values["metadata"] and json.loads(values["metadata"]),
            "created_at": datetime.fromisoformat(values["created_at"]),
            "updated_at": datetime.fromisoformat(values["updated_at"]),
            "is_billable": bool(values["is_billable"]),
            "approved": bool(values["approved"]),
        }
    )
