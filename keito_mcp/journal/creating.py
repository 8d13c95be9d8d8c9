"""Recording an entry that is about to be created, unless it is one that was asked for before."""

import sqlite3
from datetime import datetime, timedelta

from keito_mcp.journal import columns, entries
from keito_mcp.journal.columns import column, insert, of_entry, of_owner, of_write
from keito_mcp.journal.rows import Earlier, Entry, Write

_ONE_NIGHT = timedelta(hours=12)
"""Within this, a call whose write waits and that is made again over midnight is still the same call."""


def create(connection: sqlite3.Connection, entry: Entry, write: Write, same_since: datetime) -> int | Earlier:
    """Insert an entry and its create, or return what stands in the way."""
    if earlier := _same_call(connection, entry, write, same_since):
        return earlier
    if entry.is_timer and (running := entries.open_timer(connection, entry.owner)):
        return Earlier(running, create_of(connection, running.entry_key))
    insert(connection, "entries", of_entry(entry))
    return insert(connection, "writes", of_write(write))


def create_of(connection: sqlite3.Connection, entry_key: str) -> Write:
    """The latest create of an entry."""
    row = connection.execute(
        "SELECT * FROM writes WHERE entry_key = ? AND kind = 'create' ORDER BY write_id DESC LIMIT 1",
        (entry_key,),
    ).fetchone()
    return columns.write(row)


def _same_call(connection: sqlite3.Connection, entry: Entry, write: Write, same_since: datetime) -> Earlier | None:
    """The create that this one repeats.

    By the host's id of the call; or the same work of the same agent, unless both say for certain that they
    are of different sessions (a made-up session id says nothing: the process may have been restarted).
    """
    row = connection.execute(
        """
        SELECT writes.* FROM writes JOIN entries USING (entry_key)
        WHERE writes.account = :account AND kind = 'create' AND writes.state != 'refused'
          AND writes.fingerprint = :fingerprint
          AND entries.agent_id = :agent_id AND entries.subagent_id = :subagent_id
          AND (
            writes.call_id = :call_id
            OR (
              (
                writes.asked_at >= :same_since
                OR (
                  writes.state IN ('queued', 'sent', 'unknown')
                  AND (entries.spent_date = :spent_date OR writes.asked_at >= :same_night)
                )
              )
              AND entries.state NOT IN ('gone', 'discarded')
              AND (
                entries.session_id = :session_id
                OR NOT (entries.session_is_certain AND :session_is_certain)
              )
            )
          )
        ORDER BY write_id DESC LIMIT 1
        """,
        {
            **of_owner(entry.owner),
            "call_id": write.call_id,
            "fingerprint": write.fingerprint,
            "same_since": column(same_since),
            "same_night": column(entry.changed_at - _ONE_NIGHT),
            "spent_date": column(entry.spent_date),
        },
    ).fetchone()
    if row is None:
        return None
    return Earlier(entries.by_key(connection, row["entry_key"]), columns.write(row))
