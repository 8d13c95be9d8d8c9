"""The journal: every method is one transaction, run off the event loop."""

import sqlite3
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import TypeVar

import anyio.to_thread

from keito_mcp.clock import Instant
from keito_mcp.journal import (
    accounts,
    amending,
    creating,
    entries,
    life,
    overview,
    queue,
    recordings,
    sqlite_rows,
    undoing,
)
from keito_mcp.journal.accounts import Queue
from keito_mcp.journal.amending import Amendment
from keito_mcp.journal.columns import insert, of_write
from keito_mcp.journal.damage import is_damage
from keito_mcp.journal.file import JournalError, OpenJournal, check_journal, open_journal
from keito_mcp.journal.overview import SessionOverview
from keito_mcp.journal.protocol import Rows, SecondsLeft
from keito_mcp.journal.queue import IsGone
from keito_mcp.journal.recordings import Recordings
from keito_mcp.journal.row_sessions import SqliteSessions
from keito_mcp.journal.rows import Abandoned, Claimed, Earlier, Entry, Owner, Settlement, Sign, Write
from keito_mcp.journal.sqlite_rows import Table
from keito_mcp.journal.undoing import Thrown
from keito_mcp.process import is_gone, this_process

T = TypeVar("T")


class Journal:
    """The SQLite file of one state folder. Several servers may use it at once.

    Opened on first use. Each method raises `JournalError` when the file can't be read or written; one that
    raises has changed nothing.
    """

    def __init__(
        self,
        folder: Path,
        *,
        process: str | None = None,
        is_gone: IsGone = is_gone,
        on_commit: Callable[[str], None] | None = None,
    ) -> None:
        """Nothing is opened yet.

        Args:
            folder: The state folder.
            process: Who holds the writes that are worked on here; by default this process.
            is_gone: Tells of another process whether it has ended.
            on_commit: Told the name of each transaction after it was committed.
        """
        self._folder = folder
        self._is_gone = is_gone
        self._on_commit = on_commit
        self._lock = Lock()
        self._connection: OpenJournal | None = None
        self._suspect = False
        self.process = process or str(this_process())
        self.recordings = Recordings(self._read, self._commit)

    def rows(self, seconds_left: SecondsLeft) -> Rows:
        """Return the rows of this journal, for which something is to be done when `seconds_left` says so."""
        return SqliteSessions(self._read, self._commit, Table(self.process, self._is_gone, seconds_left))

    def close(self) -> None:
        """Close the file, if it was opened."""
        with self._lock:
            self._close()

    async def check_integrity(self) -> None:
        """Let SQLite check the whole file; raises `JournalError` where something is wrong, and leaves it as it is."""
        await anyio.to_thread.run_sync(check_journal, self._folder)

    # What is asked for

    async def create(
        self, entry: Entry, write: Write, *, same_since: datetime, sign: Sign | None = None
    ) -> int | Earlier:
        """Record an entry that is about to be created, unless something stands in its way.

        In its way stand an open timer of the same owner (for a timer), and a create with the same `fingerprint`
        that is the same host call, was asked for since `same_since`, or waits and is of the same day or night.

        Returns:
            The write's id, or what is in the way.
        """
        return await self._commit("create", lambda c: creating.create(c, entry, write, same_since), sign)

    async def begin(self, *writes: Write, sign: Sign | None = None) -> list[int]:
        """Record changes and deletes that are about to be sent, and whose session is discarded; returns their ids."""

        def begin(connection: sqlite3.Connection) -> list[int]:
            for account, session_id in {(write.account, str(one)) for write in writes if (one := write.discards)}:
                recordings.discard(connection, account, session_id, writes[0].sent)
            return [insert(connection, "writes", of_write(write)) for write in writes]

        return await self._commit("begin", begin, sign)

    async def amend(self, amendment: Amendment, now: Instant, *, sign: Sign | None = None) -> Write | None:
        """Record a change of an entry of this machine, folded into what waits for it; see `amending.amend`."""
        return await self._commit("amend", lambda c: amending.amend(c, amendment, self.process, now), sign)

    async def throw_away(
        self, unwanted: Sequence[Entry], reason: str | None, now: Instant, *, session: tuple[str, str] | None = None
    ) -> list[Thrown]:
        """Discard entries without asking Keito, and with them the `session` of an account, where it is named."""

        def throw_away(connection: sqlite3.Connection) -> list[Thrown]:
            if session is not None:
                recordings.discard(connection, *session, now)
            return undoing.throw_away(connection, unwanted, reason, now)

        return await self._commit("throw_away", throw_away)

    async def restore(self, deleted: Write, entry: Entry, create: Write) -> bool:
        """Queue the create of an entry that was deleted, once; False where somebody else did so meanwhile."""
        return await self._commit("restore", lambda c: undoing.restore(c, deleted, entry, create))

    # What is delivered

    async def claim(self, account: str, now: Instant, write_id: int | None = None) -> Claimed | float | None:
        """Take the oldest write that may be worked on now, or a certain one.

        Returns:
            The write, held by this process; else the seconds until one may be taken; None where none is left.
        """
        asked = (account, self.process, now, self._is_gone, write_id)
        # Most of the time there is nothing to take, and looking costs no commit.
        found = await self._read(lambda c: queue.next_one(c, *asked))
        return await self._commit("claim", lambda c: queue.claim(c, *asked)) if isinstance(found, Write) else found

    async def send(self, write: Write, now: Instant) -> bool:
        """Record that a claimed write is about to leave, with its body as it is now; False where it was taken away."""
        return await self._commit("send", lambda c: queue.send(c, write, self.process, now))

    async def settle(self, *settlements: Settlement) -> None:
        """Record what became of writes, and what their entries are now."""

        def settle_each(connection: sqlite3.Connection) -> None:
            for settlement in settlements:
                queue.settle(connection, settlement, self.process)

        await self._commit("settle", settle_each)

    async def take_turn(self, account: str, now: datetime, at_most: int) -> float:
        """Count one more request of an account, if it made fewer than that in the last minute; see `accounts`."""
        return await self._commit("turn", lambda c: accounts.take_turn(c, account, now, at_most))

    # Who lives

    async def sign(self, given: Sign) -> None:
        """Record that a session lives."""
        await self._commit("sign", lambda _: None, given)

    async def beat(self, now: Instant, left: Collection[str] = ()) -> bool:
        """Move the last sign of life of this process's sessions in which a timer runs; False where none does.

        Those that its host has left get none while their main agents' timers are open: nobody works on that any more.
        """
        if not await self._read(lambda c: life.has_running(c, self.process)):
            return False
        await self._commit("beat", lambda c: life.beat(c, self.process, now, left))
        return True

    async def others_timers(self, account: str, session_id: str | None) -> list[Abandoned]:
        """The open timers of the account's other sessions, with those sessions' last signs of life."""
        return await self._read(lambda c: life.others_timers(c, account, session_id))

    def has_ended(self, process: str | None) -> bool:
        """Whether a process is certain to have ended."""
        return process is not None and process != self.process and self._is_gone(process)

    async def close_timer(self, abandoned: Abandoned, amendment: Amendment, now: Instant) -> Write | None:
        """Stop a timer whose session is over; None where the session gave a sign of life meanwhile."""

        def close(connection: sqlite3.Connection) -> Write | None:
            if not life.still_so(connection, abandoned):
                return None
            return amending.amend(connection, amendment, self.process, now)

        return await self._commit("close_timer", close)

    async def left_behind(
        self, owner: Owner, *, own_too: bool = False
    ) -> tuple[list[Abandoned], list[tuple[Write, Entry | None]]]:
        """What a call must see to first: `others_timers`, or also those of its session, and `untold`, in one look."""
        apart_from = None if own_too else owner.session_id
        return await self._read(lambda c: (life.others_timers(c, owner.account, apart_from), life.untold(c, owner)))

    async def untold(self, owner: Owner) -> list[tuple[Write, Entry | None]]:
        """The writes that an agent was told would be made, and that were refused since, with their entries."""
        return await self._read(lambda c: life.untold(c, owner))

    async def told(self, write_ids: list[int]) -> None:
        """Record that an agent was told what became of writes."""
        await self._commit("told", lambda c: life.told(c, write_ids))

    async def prune(self, before: datetime) -> None:
        """Forget what was settled before a moment."""

        def prune(connection: sqlite3.Connection) -> None:
            sqlite_rows.prune(connection, before)
            life.prune(connection, before)

        await self._commit("prune", prune)

    # What is known

    async def open_timer(self, owner: Owner) -> Entry | None:
        """The timer that runs, or may run, for this owner."""
        return await self._read(lambda c: entries.open_timer(c, owner))

    async def last_stopped(self, owner: Owner) -> Entry | None:
        """The timer of this owner that was stopped last."""
        return await self._read(lambda c: entries.last_stopped(c, owner))

    async def find(self, account: str, handle: str) -> Entry | None:
        """The entry that Keito gave this id, or that has this key."""
        return await self._read(lambda c: entries.find(c, account, handle))

    async def of_session(self, account: str, session_id: str) -> list[Entry]:
        """Every entry that was made in a session on this machine, oldest first."""
        return await self._read(lambda c: entries.of_session(c, account, session_id))

    async def create_of(self, entry: Entry) -> Write:
        """The latest create of an entry."""
        return await self._read(lambda c: creating.create_of(c, entry.entry_key))

    async def unsettled(self, account: str, entry_key: str | None = None) -> list[Write]:
        """The writes that something is still to be done for, oldest first; of one entry, or all of an account."""
        return await self._read(lambda c: queue.open_writes(c, account, entry_key))

    async def restorable(self, account: str, session_id: str) -> list[Write]:
        """The deletes of a session that were made and not undone yet, each with its whole entry."""
        return await self._read(lambda c: undoing.restorable(c, account, session_id))

    async def accounts(self) -> list[str]:
        """The accounts that are known here."""
        return await self._read(accounts.known)

    async def described_accounts(self) -> list[tuple[str, str]]:
        """The accounts that are known here, each with what it is in words."""
        return await self._read(accounts.described)

    async def signs(self, account: str) -> list[tuple[str, datetime]]:
        """The sessions of an account that gave signs of life, each with its last one."""
        return await self._read(lambda c: life.signs(c, account))

    async def sessions(self, account: str) -> list[SessionOverview]:
        """The sessions of an account, the one that lived last first."""
        return await self._read(lambda c: overview.sessions(c, account))

    async def queues(self) -> list[Queue]:
        """The accounts for which something waits."""
        return await self._read(accounts.waiting)

    async def adopt(self, old: str, new: str) -> int:
        """Move what waits for one account to another; returns how many writes moved."""
        return await self._commit("adopt", lambda c: accounts.adopt(c, old, new))

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await anyio.to_thread.run_sync(self._use, work)

    async def _commit(self, name: str, work: Callable[[sqlite3.Connection], T], sign: Sign | None = None) -> T:
        def transaction(connection: sqlite3.Connection) -> T:
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = work(connection)
                if sign is not None:
                    life.sign(connection, sign)
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
                return work(self._opened())
            except sqlite3.Error as error:
                if is_damage(error):
                    # The next use opens it anew, and finds the damage wherever in the file it is.
                    self._suspect = True
                    self._close()
                raise JournalError(f"the journal in {self._folder} can't be used ({error})") from error

    def _opened(self) -> OpenJournal:
        if self._connection is not None and not self._connection.is_in_place():
            # Another process found it damaged; what is written to it now would be forgotten.
            self._close()
        if self._connection is None:
            self._connection = open_journal(self._folder, suspect=self._suspect)
            self._suspect = False
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
