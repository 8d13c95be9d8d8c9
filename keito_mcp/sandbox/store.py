"""The entries in one SQLite file, which several processes may share."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import Enum, auto
from pathlib import Path
from typing import Any

from keito_mcp.sandbox.entry import Entry
from keito_mcp.sandbox.queries import Filters, NumberedPage, Page, numbered_page, page_before
from keito_mcp.sandbox.rows import INSERT, UPDATE, entry_of, prepare, row_of

_BUSY_SECONDS = 10.0


class EntryNotFoundError(LookupError):
    """There is no entry with that id, or no longer."""


class EntryApprovedError(Exception):
    """The entry was approved: it is neither changed nor deleted any more."""


class EntryLockedError(Exception):
    """The entry is locked: it is neither changed nor deleted any more."""


class TimerRunningError(Exception):
    """Another timer of the same user runs; the argument is its entry's id."""


class KeyReusedError(Exception):
    """The idempotency key was used before, for a different body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """An idempotency key: whose, for which body, and the answer to repeat."""

    user_id: str
    key: str
    fingerprint: str
    answer: str


class Others(Enum):
    """What becomes of a user's other timers when one starts."""

    RUN_ON = auto()
    REFUSE = auto()
    """They run on, and the new one does not start."""
    STOP = auto()


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
        prepare(self._connection)

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
        return [entry_of(row).as_dict(now) for row in rows]

    def page(self, filters: Filters, *, before: int | None, limit: int) -> Page:
        """Return up to `limit` entries, newest first.

        The place in the list is a key, not a count: entries that come and go meanwhile move nothing.

        Args:
            filters: Which entries to list.
            before: `next_before` of the page that came before this one, `None` for the first.
            limit: How many entries at most.
        """
        with self._lock:
            return page_before(self._connection, filters, before, limit)

    def numbered_page(self, filters: Filters, *, number: int, size: int) -> NumberedPage:
        """Return the page of that number, counted from 1, of so many entries; the latest `spent_date` comes first.

        Entries that come and go between two calls move those behind them to other pages.
        """
        with self._lock:
            return numbered_page(self._connection, filters, number, size)

    def get(self, entry_id: str) -> Entry:
        """Return one entry.

        Raises:
            EntryNotFoundError: There is none with that id.
        """
        with self._lock:
            return self._find(entry_id)

    def create(self, entry: Entry, others: Others = Others.RUN_ON) -> None:
        """Add an entry; where it is a running one, `others` says what becomes of its user's other timers.

        Raises:
            TimerRunningError: One runs, and is to be respected.
            EntryApprovedError: One is to be stopped that was approved.
            EntryLockedError: One is to be stopped that is locked.
        """
        with self._transaction():
            self._add(entry, others)

    def create_once(self, entry: Entry, once: Once, others: Others = Others.RUN_ON) -> str:
        """Do what `create` does, unless the idempotency key did so before; return the answer to give.

        Raises:
            KeyReusedError: The key came with a different body before.
        """
        with self._transaction() as connection:
            known = connection.execute(
                "SELECT fingerprint, answer FROM idempotency_keys WHERE user_id = ? AND key = ?",
                (once.user_id, once.key),
            ).fetchone()
            if known is None:
                self._add(entry, others)
                connection.execute(
                    "INSERT INTO idempotency_keys (user_id, key, fingerprint, answer)"
                    " VALUES (:user_id, :key, :fingerprint, :answer)",
                    asdict(once),
                )
                return once.answer
            if known["fingerprint"] != once.fingerprint:
                raise KeyReusedError(once.key)
            return str(known["answer"])

    def update(self, entry_id: str, change: Callable[[Entry], Entry], others: Others = Others.RUN_ON) -> Entry:
        """Replace an entry by what `change` makes of it, with nobody else in between; return the new one.

        Where that starts its timer, `others` says what becomes of its user's other ones.

        Raises:
            EntryNotFoundError: There is none with that id.
            EntryApprovedError: The entry was approved.
            EntryLockedError: The entry is locked.
            TimerRunningError: Another timer runs, and is to be respected.
        """
        with self._transaction():
            before = self._find_open(entry_id)
            entry = change(before)
            if not before.is_running:
                self._make_way(entry, others)
            self._replace(entry)
            return entry

    def delete(self, entry_id: str) -> None:
        """Delete an entry for good.

        Raises:
            EntryNotFoundError: There is none with that id.
            EntryApprovedError: The entry was approved.
            EntryLockedError: The entry is locked.
        """
        with self._transaction() as connection:
            self._find_open(entry_id)
            connection.execute("DELETE FROM entries WHERE id = ?", (entry_id,))

    def approve(self, entry_id: str) -> None:
        """Approve an entry: from now on it is neither changed nor deleted.

        Raises:
            EntryNotFoundError: There is none with that id.
        """
        self._mark(entry_id, lambda entry: replace(entry, approved=True))

    def lock(self, entry_id: str) -> None:
        """Lock an entry: from now on it is neither changed nor deleted.

        Raises:
            EntryNotFoundError: There is none with that id.
        """
        self._mark(entry_id, lambda entry: replace(entry, locked=True))

    def bill(self, entry_id: str) -> None:
        """Put an entry on an invoice, which locks it, too.

        Raises:
            EntryNotFoundError: There is none with that id.
        """
        self._mark(entry_id, lambda entry: replace(entry, billed=True, locked=True))

    def _mark(self, entry_id: str, marked: Callable[[Entry], Entry]) -> None:
        with self._transaction():
            self._replace(marked(self._find(entry_id)))

    def _add(self, entry: Entry, others: Others) -> None:
        self._make_way(entry, others)
        self._connection.execute(INSERT, row_of(entry))

    def _replace(self, entry: Entry) -> None:
        self._connection.execute(UPDATE, row_of(entry))

    def _make_way(self, entry: Entry, others: Others) -> None:
        if others is Others.RUN_ON or not entry.is_running:
            return
        rows = self._connection.execute(
            "SELECT * FROM entries WHERE user_id = ? AND started_at IS NOT NULL AND id != ?", (entry.user_id, entry.id)
        ).fetchall()
        for other in map(entry_of, rows):
            if others is Others.REFUSE:
                raise TimerRunningError(other.id)
            self._replace(_open(other).changed({"is_running": False}, entry.updated_at))

    def _find(self, entry_id: str) -> Entry:
        row = self._connection.execute("SELECT * FROM entries WHERE id = ?", (entry_id,)).fetchone()
        if row is None:
            raise EntryNotFoundError(entry_id)
        return entry_of(row)

    def _find_open(self, entry_id: str) -> Entry:
        return _open(self._find(entry_id))

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


def _open(entry: Entry) -> Entry:
    if entry.approved:
        raise EntryApprovedError(entry.id)
    if entry.locked:
        raise EntryLockedError(entry.id)
    return entry


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
