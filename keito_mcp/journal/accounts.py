"""The accounts whose queues this journal keeps: how fast each may be delivered, and moving one to another."""

import json
import sqlite3
from dataclasses import dataclass
from datetime import datetime

from keito_mcp.waits import RATE_WINDOW


@dataclass(frozen=True, slots=True)
class Queue:
    """What waits for an account."""

    account: str
    account_is: str
    writes: int


def take_turn(connection: sqlite3.Connection, account: str, now: datetime, at_most: int) -> float:
    """Count one more request of an account, if there were fewer than `at_most` in the last minute.

    Returns:
        0.0 where it may be made now; else the seconds after which it is worth asking again.
    """
    row = connection.execute("SELECT recent FROM accounts WHERE account = ?", (account,)).fetchone()
    recent = [datetime.fromisoformat(text) for text in json.loads(row["recent"])] if row else []
    # What lies in the future was counted before the clock was set back: at the latest just now.
    recent = [min(moment, now) for moment in recent if now - RATE_WINDOW < moment]
    wait = (recent[-at_most] + RATE_WINDOW - now).total_seconds() if len(recent) >= at_most else 0.0
    recent += [] if wait else [now]
    connection.execute(
        """
        INSERT INTO accounts (account, described, recent) VALUES (?, '', ?)
        ON CONFLICT (account) DO UPDATE SET recent = excluded.recent
        """,
        (account, json.dumps([moment.isoformat() for moment in recent])),
    )
    return wait


def waiting(connection: sqlite3.Connection) -> list[Queue]:
    """The accounts for which something waits."""
    rows = connection.execute(
        """
        SELECT writes.account, coalesce(described, '') AS account_is, count(*) AS writes
        FROM writes LEFT JOIN accounts USING (account)
        WHERE state IN ('queued', 'sent', 'unknown') AND NOT is_held GROUP BY writes.account ORDER BY min(write_id)
        """
    )
    return [Queue(row["account"], row["account_is"], row["writes"]) for row in rows]


def adopt(connection: sqlite3.Connection, old: str, new: str) -> int:
    """Move what waits for one account, with its entries, to another; returns how many writes moved."""
    connection.execute(
        """
        INSERT OR IGNORE INTO sessions (account, session_id, process, seen_at, seen_monotonic, seen_boot)
        SELECT :new, session_id, process, seen_at, seen_monotonic, seen_boot FROM sessions WHERE account = :old
        """,
        {"old": old, "new": new},
    )
    connection.execute(
        """
        UPDATE entries SET account = :new
        WHERE account = :old AND entry_key IN (
            SELECT entry_key FROM writes WHERE account = :old AND state IN ('queued', 'sent', 'unknown', 'confirming')
        )
        """,
        {"old": old, "new": new},
    )
    moved = connection.execute(
        """
        UPDATE writes SET account = :new
        WHERE account = :old AND state IN ('queued', 'sent', 'unknown', 'confirming')
        """,
        {"old": old, "new": new},
    )
    return moved.rowcount


def known(connection: sqlite3.Connection) -> list[str]:
    """The accounts that anything here is of."""
    rows = connection.execute("SELECT account FROM accounts UNION SELECT account FROM recorded ORDER BY account")
    return [row["account"] for row in rows]


def described(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    """The accounts that this journal has rows of, each with what it is in words, the one that waits longest first."""
    rows = connection.execute(
        """
        SELECT rows.account, coalesce(described, '') AS described FROM rows LEFT JOIN accounts USING (account)
        GROUP BY rows.account ORDER BY min(rows.rowid)
        """
    )
    return [(row["account"], row["described"]) for row in rows]
