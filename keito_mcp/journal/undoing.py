"""Throwing entries away, and taking that back."""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from keito_mcp.clock import Instant
from keito_mcp.journal import columns, entries, queue, recordings
from keito_mcp.journal.columns import column, insert, of_entry, of_write
from keito_mcp.journal.rows import Entry, Write, asked_for
from keito_mcp.journal.states import EntryState, WriteKind, WriteState, way


@dataclass(frozen=True, slots=True)
class Thrown:
    """An entry that is no longer wanted.

    Attributes:
        is_gone: Whether it certainly isn't in Keito; else it is deleted as soon as that can be done.
    """

    entry: Entry
    is_gone: bool


def throw_away(
    connection: sqlite3.Connection, unwanted: Sequence[Entry], reason: str | None, at: Instant
) -> list[Thrown]:
    """Discard entries without asking Keito: what never left is dropped, what may be there is deleted later."""
    return [_throw(connection, entries.by_key(connection, entry.entry_key), reason, at) for entry in unwanted]


def _throw(connection: sqlite3.Connection, entry: Entry, reason: str | None, at: Instant) -> Thrown:
    waiting = queue.open_writes(connection, entry.owner.account, entry.entry_key)
    changes = asked_for(waiting)
    left = [write for write in waiting if not _dropped(connection, write, at)]
    if entry.is_wanted:
        entries.change(connection, entry.entry_key, at.wall, {"state": EntryState.DISCARDED})
    if entry.entry_id is None or entry.state is EntryState.GONE:
        # A person may have deleted it, or Keito refused it, since it was read.
        return Thrown(entry, is_gone=not any(write.kind is WriteKind.CREATE for write in left))
    if not any(write.kind is WriteKind.DELETE for write in left):
        insert(connection, "writes", of_write(_delete(entry, entry.entry_id, reason, at, changes)))
    return Thrown(entry, is_gone=False)


def _dropped(connection: sqlite3.Connection, write: Write, at: Instant) -> bool:
    """Drop a write that certainly never left; False for any other, and for a delete, which is still wanted."""
    if write.state is not WriteState.QUEUED or write.kind is WriteKind.DELETE:
        return False
    connection.execute(
        """
        UPDATE writes SET state = 'dropped', reason = ?, promised = 0, lease = NULL, settled_at = ?
        WHERE write_id = ?
        """,
        ("Its session was discarded.", column(at.wall), write.write_id),
    )
    return True


def _delete(entry: Entry, entry_id: str, reason: str | None, at: Instant, waiting: Mapping[str, object]) -> Write:
    return Write(
        account=entry.owner.account,
        kind=WriteKind.DELETE,
        entry_key=entry.entry_key,
        entry_id=entry_id,
        body={"reason": reason, "session_id": entry.owner.session_id, "was": entry.state.value}
        | ({"waiting": waiting} if waiting else {}),
        sent=at,
        state=WriteState.QUEUED,
        sends=0,
        promised=True,
    )


def restorable(connection: sqlite3.Connection, account: str, session_id: str) -> list[Write]:
    """The deletes of a session that were made, each with its whole entry, and not undone yet; oldest first."""
    rows = connection.execute(
        """
        SELECT * FROM writes
        WHERE account = ? AND kind = 'delete' AND state = 'done'
          AND json_extract(body, '$.session_id') = ? AND json_extract(body, '$.entry') IS NOT NULL
        ORDER BY write_id
        """,
        (account, session_id),
    )
    return [columns.write(row) for row in rows]


def restore(connection: sqlite3.Connection, deleted: Write, entry: Entry, create: Write) -> bool:
    """Queue the create of an entry that was deleted, once; False where somebody else did so meanwhile."""
    known = queue.read(connection, deleted.write_id)
    if known is None or known.state is not WriteState.DONE:
        return False
    way(known.state, WriteState.UNDONE)
    connection.execute("UPDATE writes SET state = 'undone' WHERE write_id = ?", (known.write_id,))
    if entries.find(connection, entry.owner.account, entry.entry_key) is None:
        insert(connection, "entries", of_entry(entry))
    else:
        changes = {"state": entry.state, "entry_id": None, "hours": entry.hours, "hours_answered": False}
        entries.change(connection, entry.entry_key, create.sent.wall, changes)
    insert(connection, "writes", of_write(replace(create, state=WriteState.QUEUED, sends=0)))
    # What was recorded of its session meanwhile may hold the same time.
    recordings.look_again(connection, entry.owner.account, entry.owner.session_id)
    return True
