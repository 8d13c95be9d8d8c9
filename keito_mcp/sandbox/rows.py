"""How an entry lies in SQLite, in a file of this version or of an earlier one."""

import json
import sqlite3
from dataclasses import asdict
from datetime import datetime
from typing import Any

from keito_mcp.sandbox.entry import Entry

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    user_id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    task_id TEXT,
    spent_date TEXT NOT NULL,
    units INTEGER NOT NULL,
    started_at TEXT,
    notes TEXT,
    is_billable INTEGER NOT NULL,
    source TEXT NOT NULL,
    metadata TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    approved INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS idempotency_keys (
    user_id TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    answer TEXT NOT NULL,
    PRIMARY KEY (user_id, key)
);
"""

# New files get them as old ones do, so that there is one way only.
_LATER_COLUMNS = {
    "started_time": "ALTER TABLE entries ADD COLUMN started_time TEXT",
    "ended_time": "ALTER TABLE entries ADD COLUMN ended_time TEXT",
    "locked": "ALTER TABLE entries ADD COLUMN locked INTEGER NOT NULL DEFAULT 0",
    "billed": "ALTER TABLE entries ADD COLUMN billed INTEGER NOT NULL DEFAULT 0",
}

_TIMES = ("created_at", "updated_at")
_FLAGS = ("is_billable", "approved", "locked", "billed")

INSERT = """
INSERT INTO entries (id, user_id, project_id, task_id, spent_date, units, started_at, started_time, ended_time, notes,
                     is_billable, source, metadata, created_at, updated_at, approved, locked, billed)
VALUES (:id, :user_id, :project_id, :task_id, :spent_date, :units, :started_at, :started_time, :ended_time, :notes,
        :is_billable, :source, :metadata, :created_at, :updated_at, :approved, :locked, :billed)
"""
"""Adds what `row_of` returns."""

UPDATE = """
UPDATE entries
SET project_id = :project_id, task_id = :task_id, spent_date = :spent_date, units = :units, started_at = :started_at,
    started_time = :started_time, ended_time = :ended_time, notes = :notes, is_billable = :is_billable,
    metadata = :metadata, updated_at = :updated_at, approved = :approved, locked = :locked, billed = :billed
WHERE id = :id
"""
"""Replaces the row of that id by what `row_of` returns, but for what never changes."""


def prepare(connection: sqlite3.Connection) -> None:
    """Make a new file, or one of an earlier version, ready for this one; what is in it stays."""
    connection.executescript(_SCHEMA)
    if _missing(connection):
        connection.execute("BEGIN IMMEDIATE")
        # Looked up again: another process may have added them while this one waited.
        for column in _missing(connection):
            connection.execute(_LATER_COLUMNS[column])
        connection.execute("COMMIT")


def row_of(entry: Entry) -> dict[str, Any]:
    """Return the values of an entry's row, by column."""
    return asdict(entry) | {
        "started_at": entry.started_at and entry.started_at.isoformat(),
        "metadata": None if entry.metadata is None else json.dumps(entry.metadata),
        **{column: getattr(entry, column).isoformat() for column in _TIMES},
    }


def entry_of(row: sqlite3.Row) -> Entry:
    """Return the entry that a row of `entries` holds."""
    values = dict(row)
    del values["seq"]
    return Entry(
        **values
        | {
            "started_at": values["started_at"] and datetime.fromisoformat(values["started_at"]),
            "metadata": values["metadata"] and json.loads(values["metadata"]),
            **{column: datetime.fromisoformat(values[column]) for column in _TIMES},
            **{column: bool(values[column]) for column in _FLAGS},
        }
    )


def _missing(connection: sqlite3.Connection) -> list[str]:
    there = {row["name"] for row in connection.execute("PRAGMA table_info(entries)")}
    return [column for column in _LATER_COLUMNS if column not in there]
