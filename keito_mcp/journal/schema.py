"""The journal's tables, and the way from each version of them to the next."""

import sqlite3

_FIRST = """
CREATE TABLE entries (
    entry_key TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    session_id TEXT NOT NULL,
    agent_id TEXT NOT NULL,
    subagent_id TEXT NOT NULL,
    session_is_certain INTEGER NOT NULL,
    process TEXT NOT NULL,
    entry_id TEXT,
    state TEXT NOT NULL
        CHECK (state IN ('creating', 'running', 'stopping', 'stopped', 'refused', 'gone', 'discarded')),
    project_id TEXT NOT NULL,
    task_id TEXT,
    notes TEXT,
    is_billable INTEGER,
    spent_date TEXT NOT NULL,
    hours TEXT NOT NULL,
    hours_answered INTEGER NOT NULL,
    person TEXT,
    started_wall TEXT,
    started_monotonic REAL,
    started_boot TEXT,
    changed_at TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX one_open_timer ON entries (account, session_id, agent_id, subagent_id)
    WHERE started_wall IS NOT NULL AND state IN ('creating', 'running', 'stopping');
CREATE INDEX entries_by_id ON entries (account, entry_id);
CREATE INDEX entries_by_session ON entries (account, session_id);

CREATE TABLE writes (
    write_id INTEGER PRIMARY KEY,
    account TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('create', 'update', 'delete')),
    entry_key TEXT REFERENCES entries,
    entry_id TEXT,
    idempotency_key TEXT,
    body TEXT NOT NULL,
    fingerprint TEXT,
    call_id TEXT,
    state TEXT NOT NULL CHECK (state IN ('sent', 'done', 'refused', 'unknown')),
    reason TEXT,
    sent_at TEXT NOT NULL,
    sent_monotonic REAL NOT NULL,
    sent_boot TEXT NOT NULL,
    settled_at TEXT
) STRICT;
CREATE INDEX writes_by_entry ON writes (entry_key);
CREATE INDEX writes_by_fingerprint ON writes (account, fingerprint, sent_at);
CREATE INDEX writes_by_call ON writes (account, call_id);
CREATE INDEX writes_unsettled ON writes (account) WHERE state IN ('sent', 'unknown');
"""

_QUEUE = """
-- A stop that waits ends the timer here, so `stopping` is no longer in the way of the next one.
DROP INDEX one_open_timer;
CREATE UNIQUE INDEX one_open_timer ON entries (account, session_id, agent_id, subagent_id)
    WHERE started_wall IS NOT NULL AND state IN ('creating', 'running');
CREATE INDEX open_timers ON entries (account) WHERE started_wall IS NOT NULL AND state IN ('creating', 'running');
ALTER TABLE entries ADD COLUMN closed TEXT;

CREATE TABLE queue (
    write_id INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('create', 'update', 'delete')),
    entry_key TEXT REFERENCES entries,
    entry_id TEXT,
    idempotency_key TEXT,
    body TEXT NOT NULL,
    fingerprint TEXT,
    call_id TEXT,
    state TEXT NOT NULL
        CHECK (state IN ('queued', 'sent', 'unknown', 'confirming', 'done', 'refused', 'dropped', 'undone')),
    reason TEXT,
    asked_at TEXT NOT NULL,
    sent_at TEXT NOT NULL,
    sent_monotonic REAL NOT NULL,
    sent_boot TEXT NOT NULL,
    sends INTEGER NOT NULL,
    looks INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    lease TEXT,
    rested_at TEXT NOT NULL,
    rested_monotonic REAL NOT NULL,
    rested_boot TEXT NOT NULL,
    rest REAL NOT NULL,
    promised INTEGER NOT NULL,
    settled_at TEXT
) STRICT;
INSERT INTO queue
    SELECT write_id, account, kind, entry_key, entry_id, idempotency_key, body, fingerprint, call_id,
           CASE state WHEN 'sent' THEN 'unknown' ELSE state END, reason, sent_at,
           sent_at, sent_monotonic, sent_boot, 1, 0, 0, NULL, sent_at, sent_monotonic, sent_boot, 0.0, 0, settled_at
    FROM writes;
DROP TABLE writes;
-- No number of one file ever means another write in the file that takes its place.
INSERT INTO queue (write_id, account, kind, body, state, asked_at, sent_at, sent_monotonic, sent_boot, sends, looks,
                   attempts, rested_at, rested_monotonic, rested_boot, rest, promised)
    VALUES (1000000000000 + abs(random() % 1000000000000), '', 'update', '', 'dropped', '', '', 0.0, '', 0, 0, 0, '',
            0.0, '', 0.0, 0);
DELETE FROM queue WHERE account = '';
ALTER TABLE queue RENAME TO writes;
CREATE INDEX writes_by_entry ON writes (entry_key);
CREATE INDEX writes_by_fingerprint ON writes (account, fingerprint, asked_at);
CREATE INDEX writes_by_call ON writes (account, call_id);
CREATE INDEX writes_unsettled ON writes (account) WHERE state IN ('queued', 'sent', 'unknown', 'confirming');
CREATE INDEX writes_promised ON writes (account) WHERE promised = 1;

CREATE TABLE accounts (
    account TEXT PRIMARY KEY,
    described TEXT NOT NULL,
    recent TEXT NOT NULL DEFAULT '[]'
) STRICT;

CREATE TABLE sessions (
    account TEXT NOT NULL,
    session_id TEXT NOT NULL,
    process TEXT,
    seen_at TEXT NOT NULL,
    seen_monotonic REAL NOT NULL,
    seen_boot TEXT NOT NULL,
    PRIMARY KEY (account, session_id)
) STRICT;
"""

_SESSIONS = """
-- When the work was over: the moment of the stop, or of the log.
ALTER TABLE entries ADD COLUMN ended_wall TEXT;
ALTER TABLE entries ADD COLUMN ended_monotonic REAL;
ALTER TABLE entries ADD COLUMN ended_boot TEXT;
ALTER TABLE entries ADD COLUMN host_session TEXT;
ALTER TABLE entries ADD COLUMN is_recorded INTEGER NOT NULL DEFAULT 0;

CREATE TABLE events (
    name TEXT PRIMARY KEY,
    session_id TEXT NOT NULL,
    root TEXT NOT NULL,
    seen_at REAL NOT NULL,
    row TEXT NOT NULL
) STRICT;
CREATE INDEX events_by_session ON events (session_id, seen_at);

CREATE TABLE recorded (
    session_id TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    events INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    said TEXT NOT NULL,
    is_restored INTEGER NOT NULL,
    recorded_at TEXT NOT NULL
) STRICT;

CREATE TABLE discards (
    account TEXT NOT NULL,
    session_id TEXT NOT NULL,
    at TEXT NOT NULL,
    monotonic REAL NOT NULL,
    boot TEXT NOT NULL,
    is_lifted INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX discards_by_session ON discards (account, session_id);

CREATE TABLE pauses (
    root TEXT NOT NULL,
    at TEXT NOT NULL,
    monotonic REAL NOT NULL,
    boot TEXT NOT NULL,
    is_paused INTEGER NOT NULL
) STRICT;
CREATE INDEX pauses_by_root ON pauses (root);
"""

_HELD = """
-- Nothing of it leaves before its timer is stopped; earlier files say so by a rest of a hundred years.
ALTER TABLE writes ADD COLUMN is_held INTEGER NOT NULL DEFAULT 0;
UPDATE writes SET is_held = 1
    WHERE rest >= 3153600000.0 AND kind = 'create' AND json_extract(body, '$.is_running');
-- Nothing rests longer than an hour; earlier, whatever a Retry-After named was believed.
UPDATE writes SET rest = 0.0 WHERE rest > 3600.0;
"""

_ROWS = """
CREATE TABLE rows (
    key TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    session_id TEXT NOT NULL,
    agent_id TEXT NOT NULL,
    subagent_id TEXT NOT NULL,
    entry_id TEXT,
    presence TEXT NOT NULL CHECK (presence IN ('running', 'finished', 'absent')),
    outcome TEXT CHECK (outcome IN ('person', 'refused')),
    is_open_timer INTEGER NOT NULL CHECK (is_open_timer IN (0, 1)),
    is_pending INTEGER NOT NULL CHECK (is_pending IN (0, 1)),
    not_before TEXT,
    created TEXT NOT NULL,
    changed TEXT NOT NULL,
    ended TEXT,
    call_id TEXT,
    fingerprint TEXT,
    session_is_certain INTEGER NOT NULL CHECK (session_is_certain IN (0, 1)),
    host_session TEXT,
    is_recorded INTEGER NOT NULL CHECK (is_recorded IN (0, 1)),
    is_unheard INTEGER NOT NULL CHECK (is_unheard IN (0, 1)),
    lease_holder TEXT,
    lease_taken TEXT,
    document TEXT NOT NULL,
    CHECK (NOT is_open_timer OR (presence = 'running' AND outcome IS NULL)),
    CHECK (is_pending OR not_before IS NULL),
    CHECK ((lease_holder IS NULL) = (lease_taken IS NULL))
) STRICT;
CREATE UNIQUE INDEX rows_one_open_timer ON rows (account, session_id, agent_id, subagent_id) WHERE is_open_timer;
CREATE INDEX rows_by_id ON rows (account, entry_id);
CREATE INDEX rows_by_session ON rows (account, session_id);
CREATE INDEX rows_by_host_session ON rows (account, host_session) WHERE host_session IS NOT NULL;
CREATE INDEX rows_unheard ON rows (account, session_id) WHERE is_unheard;
CREATE INDEX rows_by_fingerprint ON rows (account, fingerprint);
CREATE INDEX rows_pending ON rows (account, not_before) WHERE is_pending;
CREATE INDEX rows_finished ON rows (account, session_id, agent_id, subagent_id, ended) WHERE ended IS NOT NULL;
"""

_STEPS = (_FIRST, _QUEUE, _SESSIONS, _HELD, _ROWS)
"""What leads from each version to the next; the first makes an empty file one of version 1."""

SCHEMA_VERSION = len(_STEPS)


class NewerSchema(Exception):
    """The file was written by a newer program."""


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a file to this version, in one transaction; several processes may try at once.

    Raises:
        NewerSchema: The file is of a later version, and was left as it is.
    """
    if _version(connection) == SCHEMA_VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection)
        if version > SCHEMA_VERSION:
            raise NewerSchema  # noqa: TRY301 -- rolled back below like any other failure
        for step in _STEPS[version:]:
            for statement in step.split(";\n"):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        # A full disk may have rolled it back already.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
