"""A start that is held because Keito runs another timer, while the stop of this one waits already."""

import json
import sqlite3
from collections.abc import Iterable

from keito_mcp.clock import Instant
from keito_mcp.journal import columns, entries
from keito_mcp.journal.columns import column
from keito_mcp.journal.rows import Write


def release_what_is_stopped(connection: sqlite3.Connection, create: Write, at: Instant) -> None:
    """Let a start leave as finished work, where the changes that wait behind it stop its timer.

    They never left, so they are folded into it; where none stops the timer, the start stays held. One whose session
    was discarded meanwhile is dropped: it certainly isn't in Keito.
    """
    if not entries.by_key(connection, create.entry_key or "").is_wanted:
        _drop(connection, [create], "It is no longer wanted.", at)
        return
    rows = connection.execute(
        """
        SELECT * FROM writes
        WHERE account = ? AND entry_key = ? AND kind = 'update' AND state = 'queued' AND sends = 0 AND lease IS NULL
        ORDER BY write_id
        """,
        (create.account, create.entry_key),
    )
    waiting = [columns.write(row) for row in rows]
    if not any(write.body.get("is_running") is False for write in waiting):
        return
    body = dict(create.body)
    for write in waiting:
        body |= write.body
    del body["is_running"]
    connection.execute(
        "UPDATE writes SET body = ?, is_held = 0, promised = 1 WHERE write_id = ?",
        (json.dumps(body, ensure_ascii=False), create.write_id),
    )
    _drop(connection, waiting, "It is part of the start now.", at)
    entries.change(connection, create.entry_key or "", at.wall, entries.as_sent(body))


def _drop(connection: sqlite3.Connection, writes: Iterable[Write], reason: str, at: Instant) -> None:
    connection.executemany(
        "UPDATE writes SET state = 'dropped', reason = ?, promised = 0, settled_at = ? WHERE write_id = ?",
        [(reason, column(at.wall), write.write_id) for write in writes],
    )
