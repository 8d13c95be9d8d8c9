"""Sessions' signs of life, and the timers of those that gave none."""

import sqlite3
from collections.abc import Collection
from datetime import datetime

from keito_mcp.clock import Instant
from keito_mcp.journal import columns, entries
from keito_mcp.journal.columns import moment
from keito_mcp.journal.entries import TIMER_IS_OPEN
from keito_mcp.journal.rows import Abandoned, Entry, Owner, Sign, Write


def sign(connection: sqlite3.Connection, given: Sign) -> None:
    """Record that a session lives, in which process, and in words which account it is of."""
    connection.execute(
        """
        INSERT INTO sessions (account, session_id, process, seen_at, seen_monotonic, seen_boot)
        VALUES (?, ?, ?, ?, ?, ?)
        ON CONFLICT (account, session_id) DO UPDATE SET
            process = excluded.process, seen_at = excluded.seen_at,
            seen_monotonic = excluded.seen_monotonic, seen_boot = excluded.seen_boot
        """,
        (given.account, given.session_id, given.process, *moment(given.at)),
    )
    connection.execute(
        "INSERT INTO accounts (account, described) VALUES (?, ?) ON CONFLICT (account) "
        "DO UPDATE SET described = excluded.described",
        (given.account, given.account_is),
    )


_OPEN_TIMERS = f"""(
    SELECT account, session_id, subagent_id FROM entries WHERE {TIMER_IS_OPEN}
    UNION ALL SELECT account, session_id, subagent_id FROM rows WHERE is_open_timer
) AS open"""  # noqa: S608 -- this package's own text


def signs(connection: sqlite3.Connection, account: str) -> list[tuple[str, datetime]]:
    """The sessions of an account that gave signs of life, each with its last one."""
    rows = connection.execute("SELECT session_id, seen_at FROM sessions WHERE account = ?", (account,))
    return [(row["session_id"], datetime.fromisoformat(row["seen_at"])) for row in rows]


def has_running(connection: sqlite3.Connection, process: str) -> bool:
    """Whether a timer runs in a session of a process."""
    found = connection.execute(
        f"SELECT 1 FROM sessions JOIN {_OPEN_TIMERS} USING (account, session_id) "  # noqa: S608 -- own text
        "WHERE sessions.process = ?",
        (process,),
    ).fetchone()
    return found is not None


def beat(connection: sqlite3.Connection, process: str, now: Instant, left: Collection[str]) -> None:
    """Move the last sign of life of each session of a process in which a timer runs.

    Of a session that is left it isn't moved before its main agent's timer is closed: its sub-agents work on.
    """
    running = f"""
        SELECT subagent_id FROM {_OPEN_TIMERS}
        WHERE open.account = sessions.account AND open.session_id = sessions.session_id
    """  # noqa: S608 -- this package's own text
    connection.execute(
        f"""
        UPDATE sessions SET seen_at = ?, seen_monotonic = ?, seen_boot = ?
        WHERE process = ? AND EXISTS ({running})
          AND (session_id NOT IN ({", ".join("?" * len(left))}) OR '' NOT IN ({running}))
        """,  # noqa: S608 -- this package's own text
        (*moment(now), process, *left),
    )


def others_timers(connection: sqlite3.Connection, account: str, session_id: str | None) -> list[Abandoned]:
    """The open timers of an account that are of other sessions, each with its session's last sign of life."""
    rows = connection.execute(
        f"""
        SELECT entries.*, sessions.process AS session_process, seen_at, seen_monotonic, seen_boot
        FROM entries LEFT JOIN sessions USING (account, session_id)
        WHERE entries.account = ? AND {TIMER_IS_OPEN} AND entries.session_id IS NOT ?
        ORDER BY entries.rowid
        """,  # noqa: S608 -- this package's own text
        (account, session_id),
    )
    return [_abandoned(row) for row in rows]


def _abandoned(row: sqlite3.Row) -> Abandoned:
    entry = columns.entry(row)
    if row["seen_at"] is None:
        # A journal of the first version knew no signs of life but the start.
        return Abandoned(entry, entry.started or Instant(entry.changed_at, 0.0, ""), None)
    seen = columns.instant(row["seen_at"], row["seen_monotonic"], row["seen_boot"])
    return Abandoned(entry, seen, row["session_process"])


def still_so(connection: sqlite3.Connection, abandoned: Abandoned) -> bool:
    """Whether a session gave no sign of life since its timer was read."""
    known = entries.by_key(connection, abandoned.entry.entry_key)
    others = others_timers(connection, known.owner.account, None)
    return any(other.entry == known and other.seen == abandoned.seen for other in others)


def untold(connection: sqlite3.Connection, owner: Owner) -> list[tuple[Write, Entry | None]]:
    """The writes that an agent was told would be made, and that were refused since, with their entries."""
    rows = connection.execute(
        """
        SELECT writes.* FROM writes JOIN entries USING (entry_key)
        WHERE writes.account = :account AND promised = 1 AND writes.state = 'refused'
          AND session_id = :session_id AND agent_id = :agent_id AND subagent_id = :subagent_id
        ORDER BY write_id
        """,
        columns.of_owner(owner),
    ).fetchall()
    writes = [columns.write(row) for row in rows]
    return [(write, entries.by_key(connection, write.entry_key) if write.entry_key else None) for write in writes]


def told(connection: sqlite3.Connection, write_ids: list[int]) -> None:
    """Record that an agent was told what became of writes."""
    connection.executemany("UPDATE writes SET promised = 0 WHERE write_id = ?", [(number,) for number in write_ids])


def prune(connection: sqlite3.Connection, before: datetime) -> None:
    """Forget what was settled before a moment, and sessions of which nothing is left.

    Of an entry that isn't finished nothing is forgotten: whoever meets its timer asks for its create.
    """
    moment_ = before.isoformat()
    connection.execute(
        """
        DELETE FROM writes
        WHERE settled_at < ?
          AND NOT EXISTS (
            SELECT 1 FROM entries
            WHERE entries.entry_key = writes.entry_key AND entries.state IN ('creating', 'running', 'stopping')
          )
        """,
        (moment_,),
    )
    connection.execute(
        """
        DELETE FROM entries
        WHERE changed_at < ? AND state IN ('stopped', 'refused', 'gone', 'discarded')
          AND NOT EXISTS (SELECT 1 FROM writes WHERE writes.entry_key = entries.entry_key)
        """,
        (moment_,),
    )
    connection.execute(
        """
        DELETE FROM events
        WHERE session_id IN (SELECT session_id FROM events GROUP BY session_id HAVING max(seen_at) < ?)
          -- What an entry counts must be known for as long as the entry is: it follows that.
          AND NOT EXISTS (SELECT 1 FROM entries WHERE entries.session_id = events.session_id)
          AND NOT EXISTS (SELECT 1 FROM rows WHERE rows.session_id = events.session_id)
        """,
        (before.timestamp(),),
    )
    connection.execute(
        """
        DELETE FROM recorded
        WHERE recorded_at < ? AND NOT EXISTS (SELECT 1 FROM events WHERE events.session_id = recorded.session_id)
        """,
        (moment_,),
    )
    connection.execute(
        """
        DELETE FROM sessions
        WHERE seen_at < ?
          AND NOT EXISTS (
            SELECT 1 FROM entries
            WHERE entries.account = sessions.account AND entries.session_id = sessions.session_id
          )
          AND NOT EXISTS (
            SELECT 1 FROM rows WHERE rows.account = sessions.account AND rows.session_id = sessions.session_id
          )
        """,
        (moment_,),
    )
