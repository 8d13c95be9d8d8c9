"""Ask the rows of whole sessions and accounts, and change many of them at once."""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace

from keito_mcp.clock import Instant
from keito_mcp.journal import columns, recordings
from keito_mcp.journal.document import from_document
from keito_mcp.journal.entry import Entry
from keito_mcp.journal.protocol import Edit, Lease, Left
from keito_mcp.journal.rows import Owner
from keito_mcp.journal.sqlite_rows import SqliteRows, Table, select


class SqliteSessions(SqliteRows):
    """The rows of one journal, also by session and account. Each method raises `JournalError` as all of them do."""

    async def edit_all(
        self,
        edits: Mapping[str, Edit],
        now: Instant,
        *,
        add: Sequence[Entry] = (),
        lease: Lease = Lease.UNASKED,
        discards: tuple[str, str] | None = None,
    ) -> Mapping[str, Entry | None]:
        """Change many rows; see `Rows.edit_all`."""

        def edit_all(connection: sqlite3.Connection) -> dict[str, Entry | None]:
            if discards is not None:
                recordings.discard(connection, *discards, now)
            for entry in add:
                self._table.add(connection, entry, now)
            return {key: self._table.edit(connection, key, change, now, lease) for key, change in edits.items()}

        return await self._commit("edit_all", edit_all)

    async def others_timers(self, account: str, session_id: str | None) -> Sequence[Left]:
        """Return the open timers of the account's other sessions."""
        return await self._read(lambda c: _others_timers(c, account, session_id))

    async def left_behind(self, owner: Owner, *, own_too: bool = False) -> tuple[Sequence[Left], Sequence[Entry]]:
        """Return what a call must see to first; see `Rows.left_behind`."""
        apart_from = None if own_too else owner.session_id
        return await self._read(lambda c: (_others_timers(c, owner.account, apart_from), _unheard(c, owner)))

    async def close(self, timer: Left, change: Edit, now: Instant) -> Entry | None:
        """Change a timer's row, unless its session lives; see `Rows.close`."""
        return await self._commit("close_timer", lambda c: _close(self._table, c, timer, change, now))

    async def of_account(self, account: str) -> Sequence[Entry]:
        """Return all rows of an account, oldest first."""
        return await self._read(lambda c: select(c, "account = :account ORDER BY rowid", {"account": account}))

    async def adopt(self, old: str, new: str, keys: Sequence[str], now: Instant) -> int:
        """Move rows to another account; see `Rows.adopt`."""
        return await self._commit("adopt", lambda c: _adopt(self._table, c, old, new, keys, now))

    async def recorded(self, account: str, session_id: str) -> Sequence[Entry]:
        """Return the rows of a session that nobody asked for, oldest first."""
        where = "account = :account AND session_id = :session_id AND is_recorded ORDER BY rowid"
        return await self._read(lambda c: select(c, where, {"account": account, "session_id": session_id}))

    async def made_in(self, account: str, session_id: str) -> Sequence[Entry]:
        """Return all rows of a session of a host; see `Rows.made_in`."""
        where = "account = :account AND (session_id = :session_id OR host_session = :session_id) ORDER BY rowid"
        return await self._read(lambda c: select(c, where, {"account": account, "session_id": session_id}))

    async def counted_otherwise(self, account: str, session_id: str) -> Sequence[Entry]:
        """Return what agents logged themselves in a session of their host; see `Rows.counted_otherwise`."""
        where = """
            (presence != 'absent' OR outcome IS NOT NULL)
            AND CASE
                WHEN is_recorded THEN account != :account AND session_id = :session_id
                ELSE account = :account
                    AND (session_id = :session_id OR host_session = :session_id OR NOT session_is_certain)
            END
            ORDER BY rowid
        """
        found = await self._read(lambda c: select(c, where, {"account": account, "session_id": session_id}))
        # What a person deleted, or Keito refused to make, isn't logged.
        return [entry for entry in found if entry.outcome is None or entry.observed is not None]


def _others_timers(connection: sqlite3.Connection, account: str, session_id: str | None) -> list[Left]:
    rows = connection.execute(
        """
        SELECT document, process, seen_at, seen_monotonic, seen_boot
        FROM rows LEFT JOIN sessions USING (account, session_id)
        WHERE rows.account = ? AND is_open_timer AND rows.session_id IS NOT ?
        ORDER BY rows.rowid
        """,
        (account, session_id),
    )
    return [_left(row) for row in rows]


def _left(row: sqlite3.Row) -> Left:
    entry = from_document(row["document"])
    if row["seen_at"] is None:
        return Left(entry, entry.started or entry.created, None)
    return Left(entry, columns.instant(row["seen_at"], row["seen_monotonic"], row["seen_boot"]), row["process"])


def _close(table: Table, connection: sqlite3.Connection, timer: Left, change: Edit, now: Instant) -> Entry | None:
    account = timer.entry.owner.account
    others = [one for one in _others_timers(connection, account, None) if one.entry.key == timer.entry.key]
    if not any(one.seen == timer.seen for one in others):
        return None
    return table.edit(connection, timer.entry.key, change, now)


def _unheard(connection: sqlite3.Connection, owner: Owner) -> list[Entry]:
    where = """
        account = :account AND session_id = :session_id AND agent_id = :agent_id AND subagent_id = :subagent_id
        AND is_unheard ORDER BY rowid
    """
    names = ("account", "session_id", "agent_id", "subagent_id")
    return select(connection, where, dict(zip(names, owner.key, strict=True)))


def _adopt(table: Table, connection: sqlite3.Connection, old: str, new: str, keys: Sequence[str], now: Instant) -> int:
    connection.execute(
        """
        INSERT OR IGNORE INTO sessions (account, session_id, process, seen_at, seen_monotonic, seen_boot)
        SELECT :new, session_id, process, seen_at, seen_monotonic, seen_boot FROM sessions WHERE account = :old
        """,
        {"old": old, "new": new},
    )

    def moved(entry: Entry) -> Entry:
        return replace(entry, owner=replace(entry.owner, account=new)) if entry.owner.account == old else entry

    found = [table.edit(connection, key, moved, now) for key in keys]
    return sum(entry is not None and entry.owner.account == new for entry in found)
