"""What hosts' lifecycle events told, and what became of each session that they tell of."""

import json
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol, TypeVar

from keito_mcp.clock import Instant
from keito_mcp.journal import columns, entries
from keito_mcp.journal.columns import column, insert, moment, of_entry, of_write
from keito_mcp.journal.recorded import Pause, Recorded, TakenIn, Told
from keito_mcp.journal.rows import Entry, Write

LOOK_AGAIN = -1
"""In place of a number of events that something was recorded by: the session is to be recorded anew."""

_T = TypeVar("_T")


class _Read(Protocol):
    def __call__(self, work: Callable[[sqlite3.Connection], _T]) -> Awaitable[_T]: ...


class _Commit(Protocol):
    def __call__(self, name: str, work: Callable[[sqlite3.Connection], _T]) -> Awaitable[_T]: ...


class Recordings:
    """This part of the journal. Each method raises `JournalError` as all of the journal's do."""

    def __init__(self, read: _Read, commit: _Commit) -> None:
        """A part of the journal that reads and commits so."""
        self._read = read
        self._commit = commit

    async def take_in(self, events: Sequence[TakenIn]) -> None:
        """Keep events; those that are kept already are left as they are."""
        await self._commit("take_in", lambda c: _take_in(c, events))

    async def told(self) -> list[Told]:
        """The sessions of repositories with a configuration, or whose owner wants all of them."""
        return await self._read(_told)

    async def recorded(self, account: str) -> list[Recorded]:
        """What became of the sessions of an account."""
        return await self._read(lambda c: recorded(c, account))

    async def events(self, session_id: str) -> list[tuple[str, Mapping[str, object]]]:
        """The names and rows of a session's events."""
        statement = "SELECT name, row FROM events WHERE session_id = ? ORDER BY seen_at"
        rows = await self._read(lambda c: c.execute(statement, (session_id,)).fetchall())
        return [(row["name"], json.loads(row["row"])) for row in rows]

    async def settle(self, recorded: Recorded, before: Recorded | None) -> None:
        """Record what became of a session. What its agent said last is needed no more, and forgotten.

        Where another process recorded it by other events than these since it was known as `before`, nobody can say
        whose hours stand, and it is looked at again.
        """
        await self._commit("record_outcome", lambda c: _settle(c, recorded, before))

    async def add(self, entry: Entry, create: Write) -> Entry:
        """Queue an entry that nobody asked for, once; returns the one that is kept under its key."""
        return await self._commit("record", lambda c: _add(c, entry, create))

    async def arrived(self, entry_key: str) -> Decimal | None:
        """The decimal hours of an entry's last write that Keito made; None where none was."""
        return await self._read(lambda c: _arrived(c, entry_key))

    async def counted_otherwise(self, account: str, session_id: str) -> list[Entry]:
        """What agents logged themselves in a session of their host, timers that run among it.

        What was recorded of the session under another account, as before its key was changed, is logged, too.
        Of a session whose id was made up nobody knows which of the host's it was: any of them may be this one.
        """
        return await self._read(lambda c: _counted_otherwise(c, account, session_id))

    async def made_in(self, account: str, session_id: str) -> list[Entry]:
        """All entries of a session of a host, whatever the operator calls it, oldest first."""
        where = "account = :account AND (session_id = :session_id OR host_session = :session_id) ORDER BY rowid"
        parameters = {"account": account, "session_id": session_id}
        return await self._read(lambda c: entries.select(c, where, parameters))

    async def of_session(self, account: str, session_id: str) -> list[Entry]:
        """The entries of a session that nobody asked for, oldest first."""
        where = "account = :account AND session_id = :session_id AND is_recorded ORDER BY rowid"
        parameters = {"account": account, "session_id": session_id}
        return await self._read(lambda c: entries.select(c, where, parameters))

    async def discard(self, account: str, session_id: str, at: Instant) -> None:
        """From now on nothing of a session before this moment is logged."""
        await self._commit("discard", lambda c: discard(c, account, session_id, at))

    async def lift(self, account: str, session_id: str, *, was_refused: bool = False) -> bool:
        """Take a session's discards back, that it failed, and a refusal; whether there was anything to take back."""
        return await self._commit("lift", lambda c: _lift(c, account, session_id, was_refused=was_refused))

    async def discards(self, account: str, session_id: str) -> list[Instant]:
        """The moments at which a session was discarded, unless that was taken back."""
        statement = "SELECT * FROM discards WHERE account = ? AND session_id = ? AND NOT is_lifted"
        rows = await self._read(lambda c: c.execute(statement, (account, session_id)).fetchall())
        return [columns.instant(row["at"], row["monotonic"], row["boot"]) for row in rows]

    async def pause(self, root: str, at: Instant, *, is_paused: bool) -> None:
        """Stop counting in a repository from this moment on, or go on."""
        values = {"root": root, "is_paused": is_paused} | dict(zip(_MOMENT, moment(at), strict=True))
        await self._commit("pause", lambda c: insert(c, "pauses", values) and None)

    async def pauses(self, root: str) -> list[Pause]:
        """When counting in a repository was stopped and went on."""
        rows = await self._read(
            lambda c: c.execute("SELECT * FROM pauses WHERE root = ? ORDER BY rowid", (root,)).fetchall()
        )
        return [
            Pause(columns.instant(row["at"], row["monotonic"], row["boot"]), bool(row["is_paused"])) for row in rows
        ]


_MOMENT = ("at", "monotonic", "boot")


def _take_in(connection: sqlite3.Connection, events: Sequence[TakenIn]) -> None:
    connection.executemany(
        "INSERT INTO events (name, session_id, root, seen_at, row) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [(one.name, one.session_id, one.root, one.seen_at, json.dumps(one.row)) for one in events],
    )


def discard(connection: sqlite3.Connection, account: str, session_id: str, at: Instant) -> None:
    """Record that a session was discarded at a moment."""
    values = {"account": account, "session_id": session_id} | dict(zip(_MOMENT, moment(at), strict=True))
    insert(connection, "discards", values)


def _told(connection: sqlite3.Connection) -> list[Told]:
    rows = connection.execute(
        """
        SELECT
            events.session_id,
            -- A worktree may be gone when the last of its events is taken in.
            coalesce(
                (
                    SELECT root FROM events AS rooted WHERE rooted.session_id = events.session_id AND root != ''
                    ORDER BY seen_at DESC LIMIT 1
                ),
                ''
            ),
            count(*) AS number,
            recorded.*
        FROM events LEFT JOIN recorded ON recorded.session_id = events.session_id
        GROUP BY events.session_id ORDER BY max(seen_at)
        """
    )
    return [Told(row[0], row[1], row["number"], _recorded(row) if row["outcome"] else None) for row in rows]


def _recorded(row: sqlite3.Row) -> Recorded:
    return Recorded(
        session_id=row["session_id"],
        account=row["account"],
        events=row["events"],
        outcome=row["outcome"],
        said=row["said"],
        is_restored=bool(row["is_restored"]),
        recorded_at=datetime.fromisoformat(row["recorded_at"]),
    )


def recorded(connection: sqlite3.Connection, account: str) -> list[Recorded]:
    """What became of the sessions of an account."""
    return [_recorded(row) for row in connection.execute("SELECT * FROM recorded WHERE account = ?", (account,))]


def _settle(connection: sqlite3.Connection, outcome: Recorded, before: Recorded | None) -> None:
    connection.execute(
        """
        INSERT INTO recorded (session_id, account, events, outcome, said, is_restored, recorded_at)
        VALUES (:session_id, :account, :events, :outcome, :said, :is_restored, :recorded_at)
        ON CONFLICT (session_id) DO UPDATE SET
            account = excluded.account, outcome = excluded.outcome, said = excluded.said,
            recorded_at = excluded.recorded_at,
            events = CASE WHEN events IN (excluded.events, :before) THEN excluded.events ELSE :look_again END
        """,
        {
            "session_id": outcome.session_id,
            "account": outcome.account,
            "events": outcome.events,
            "outcome": outcome.outcome,
            "said": outcome.said,
            "is_restored": outcome.is_restored,
            "recorded_at": column(outcome.recorded_at),
            "before": before.events if before else None,
            "look_again": LOOK_AGAIN,
        },
    )
    if outcome.events != LOOK_AGAIN:
        connection.execute(
            "UPDATE events SET row = json_remove(row, '$.message') WHERE session_id = ?", (outcome.session_id,)
        )


def _add(connection: sqlite3.Connection, entry: Entry, create: Write) -> Entry:
    if known := entries.find(connection, entry.owner.account, entry.entry_key):
        return known
    insert(connection, "entries", of_entry(entry))
    insert(connection, "writes", of_write(create))
    return entry


def _arrived(connection: sqlite3.Connection, entry_key: str) -> Decimal | None:
    row: sqlite3.Row | None = connection.execute(
        """
        SELECT json_extract(body, '$.hours') AS hours FROM writes
        WHERE entry_key = ? AND kind IN ('create', 'update') AND state IN ('done', 'confirming')
          AND json_extract(body, '$.hours') IS NOT NULL
        ORDER BY write_id DESC LIMIT 1
        """,
        (entry_key,),
    ).fetchone()
    return Decimal(str(row["hours"])) if row else None


def _counted_otherwise(connection: sqlite3.Connection, account: str, session_id: str) -> list[Entry]:
    return entries.select(
        connection,
        """
        state NOT IN ('gone', 'discarded')
        AND CASE
            WHEN is_recorded THEN account != :account AND session_id = :session_id
            ELSE account = :account
                AND (session_id = :session_id OR host_session = :session_id OR NOT session_is_certain)
        END
        ORDER BY rowid
        """,
        {"account": account, "session_id": session_id},
    )


def look_again(connection: sqlite3.Connection, account: str, session_id: str) -> None:
    """Have a session recorded anew, although its host told nothing new of it."""
    connection.execute(
        "UPDATE recorded SET events = ? WHERE account = ? AND session_id = ?",
        (LOOK_AGAIN, account, session_id),
    )


def _lift(connection: sqlite3.Connection, account: str, session_id: str, *, was_refused: bool) -> bool:
    of_it: dict[str, Any] = {"account": account, "session_id": session_id}
    discarded = connection.execute(
        "UPDATE discards SET is_lifted = 1 WHERE account = :account AND session_id = :session_id AND NOT is_lifted",
        of_it,
    ).rowcount
    failed = connection.execute(
        """
        UPDATE recorded SET is_restored = 1, events = :look_again
        WHERE account = :account AND session_id = :session_id
          AND (
            :discarded OR :was_refused
            OR (outcome IN ('failed', 'interrupted') AND NOT is_restored)
            OR EXISTS (
                SELECT 1 FROM entries
                WHERE account = :account AND session_id = :session_id AND is_recorded
                  AND state = 'gone' AND entry_id IS NULL
            )
          )
        """,
        {**of_it, "discarded": discarded, "was_refused": was_refused, "look_again": LOOK_AGAIN},
    ).rowcount
    return bool(discarded or failed)
