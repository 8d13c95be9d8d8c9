"""The journal: every method is one transaction, run off the event loop."""

import sqlite3
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import TypeVar

import anyio.to_thread

from keito_mcp.clock import Instant
from keito_mcp.journal import statements
from keito_mcp.journal.file import JournalError, open_journal
from keito_mcp.journal.rows import Earlier, Entry, Owner, Settlement, Write

T = TypeVar("T")


class Journal:
    """The SQLite file of one state folder. Several servers may use it at once.

    Opened on first use. Each method raises `JournalError` when the file can't be read or written; one that
    raises has changed nothing.
    """

    def __init__(self, folder: Path, *, on_commit: Callable[[str], None] | None = None) -> None:
        """Nothing is opened yet.

        Args:
            folder: The state folder.
            on_commit: Told the name of each transaction after it was committed.
        """
        self._folder = folder
        self._on_commit = on_commit
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None

    def close(self) -> None:
        """Close the file, if it was opened."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    async def create(self, entry: Entry, write: Write, *, same_since: datetime) -> int | Earlier:
        """Record an entry that is about to be created, unless something stands in its way.

        In its way stand an open timer of the same owner (for a timer), and a create with the same `fingerprint`
        that is the same host call, was sent since `same_since`, or has no known outcome yet and is of the same
        day or night.

        Returns:
            The write's id, or what is in the way.
        """
        return await self._commit("create", lambda c: statements.create(c, entry, write, same_since))

    async def begin(self, *writes: Write) -> list[int]:
        """Record changes and deletes that are about to be sent; returns their ids."""
        return await self._commit("begin", lambda c: [statements.insert_write(c, write) for write in writes])

    async def resend(self, write: Write, sent: Instant) -> bool:
        """Record that a write whose outcome is unknown is about to be sent once more.

        Returns:
            Whether it is: False where another process took it up since it was read.
        """
        return await self._commit("resend", lambda c: statements.resend(c, write, sent))

    async def settle(self, *settlements: Settlement) -> None:
        """Record what became of writes, and what their entries are now."""

        def settle_each(connection: sqlite3.Connection) -> None:
            for settlement in settlements:
                statements.settle(connection, settlement)

        await self._commit("settle", settle_each)

    async def open_timer(self, owner: Owner) -> Entry | None:
        """The timer that runs, or may run, for this owner."""
        return await self._read(lambda c: statements.open_timer(c, owner))

    async def last_stopped(self, owner: Owner) -> Entry | None:
        """The timer of this owner that was stopped last."""
        return await self._read(lambda c: statements.last_stopped(c, owner))

    async def find(self, account: str, entry_id: str) -> Entry | None:
        """The entry that Keito gave this id."""
        return await self._read(lambda c: statements.find(c, account, entry_id))

    async def of_session(self, account: str, session_id: str) -> list[Entry]:
        """Every entry that was made in a session on this machine, oldest first."""
        return await self._read(lambda c: statements.of_session(c, account, session_id))

    async def unsettled(self, account: str, entry_key: str | None = None) -> list[Write]:
        """The writes whose outcome isn't known, oldest first; of one entry, or all of an account."""
        return await self._read(lambda c: statements.unsettled(c, account, entry_key))

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await anyio.to_thread.run_sync(self._use, work)

    async def _commit(self, name: str, work: Callable[[sqlite3.Connection], T]) -> T:
        def transaction(connection: sqlite3.Connection) -> T:
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = work(connection)
                connection.execute("COMMIT")
            except BaseException:
                # A full disk may have rolled it back already.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            if self._on_commit is not None:
                self._on_commit(name)
            return result

        return await anyio.to_thread.run_sync(self._use, transaction)

    def _use(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = open_journal(self._folder)
                return work(self._connection)
            except sqlite3.Error as error:
                raise JournalError(f"the journal in {self._folder} can't be used ({error})") from error
