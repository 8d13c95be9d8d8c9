"""The journal's SQL: rows in, rows out, inside a transaction that the journal opened."""

import json
import sqlite3
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from keito_mcp.clock import Instant
from keito_mcp.journal.rows import Earlier, Entry, EntryState, Owner, Settlement, Write, WriteKind, WriteState

_OWNED = "account = :account AND session_id = :session_id AND agent_id = :agent_id AND subagent_id = :subagent_id"
_TIMER_IS_OPEN = "started_wall IS NOT NULL AND state IN ('creating', 'running', 'stopping')"
_ONE_NIGHT = timedelta(hours=12)
"""Within this, a call that got no answer and is made again over midnight is still the same call."""

_COLUMNS_OF_A_CHANGE = frozenset({"entry_id", "state", "hours", "hours_answered", "notes", "is_billable", "person"})


def create(connection: sqlite3.Connection, entry: Entry, write: Write, same_since: datetime) -> int | Earlier:
    """Insert an entry and its create, or return what stands in the way."""
    if earlier := _same_call(connection, entry, write, same_since):
        return earlier
    if entry.is_timer and (running := open_timer(connection, entry.owner)):
        return Earlier(running, _create_of(connection, running.entry_key))
    _insert(connection, "entries", _entry_columns(entry))
    return insert_write(connection, write)


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
                writes.sent_at >= :same_since
                OR (
                  writes.state IN ('sent', 'unknown')
                  AND (entries.spent_date = :spent_date OR writes.sent_at >= :same_night)
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
            **_owner_columns(entry.owner),
            "call_id": write.call_id,
            "fingerprint": write.fingerprint,
            "same_since": _column(same_since),
            "same_night": _column(entry.changed_at - _ONE_NIGHT),
            "spent_date": _column(entry.spent_date),
        },
    ).fetchone()
    if row is None:
        return None
    found = _write(row)
    return Earlier(_entry_by_key(connection, row["entry_key"]), found)


def insert_write(connection: sqlite3.Connection, write: Write) -> int:
    """Insert a write as sent; for a stop, its entry is `stopping` from now on."""
    if write.kind is WriteKind.UPDATE and write.body.get("is_running") is False:
        connection.execute(
            "UPDATE entries SET state = 'stopping' WHERE entry_key = ? AND state = 'running'",
            (write.entry_key,),
        )
    return _insert(
        connection,
        "writes",
        {
            "account": write.account,
            "kind": write.kind,
            "entry_key": write.entry_key,
            "entry_id": write.entry_id,
            "idempotency_key": write.idempotency_key,
            "body": write.json_body(),
            "fingerprint": write.fingerprint,
            "call_id": write.call_id,
            "state": WriteState.SENT,
            "sent_at": _column(write.sent.wall),
            "sent_monotonic": write.sent.monotonic,
            "sent_boot": write.sent.boot_id,
        },
    )


def resend(connection: sqlite3.Connection, write: Write, sent: Instant) -> bool:
    """Put a write back to `sent`, unless another process has taken it up since it was read."""
    cursor = connection.execute(
        """
        UPDATE writes
        SET state = 'sent', sent_at = ?, sent_monotonic = ?, sent_boot = ?, settled_at = NULL, reason = NULL
        WHERE write_id = ? AND state IN ('sent', 'unknown')
          AND (sent_at, sent_monotonic, sent_boot) = (?, ?, ?)
        """,
        (*_moment(sent), write.write_id, *_moment(write.sent)),
    )
    return cursor.rowcount == 1


def settle(connection: sqlite3.Connection, settlement: Settlement) -> None:
    """Record what became of one write, and what its entry is now."""
    if settlement.write_id is not None:
        connection.execute(
            "UPDATE writes SET state = ?, reason = ?, settled_at = ? WHERE write_id = ?",
            (settlement.outcome, settlement.reason, _column(settlement.at), settlement.write_id),
        )
        if settlement.outcome is WriteState.DONE:
            _supersede(connection, settlement.write_id, _column(settlement.at))
    if settlement.entry_key is not None and settlement.changes:
        _change(connection, settlement)


def _supersede(connection: sqlite3.Connection, write_id: int, at: object) -> None:
    """Settle the older writes of the same kind to the same entry: what they asked for is overtaken."""
    connection.execute(
        """
        UPDATE writes SET state = 'refused', reason = 'superseded', settled_at = :at
        WHERE state IN ('sent', 'unknown') AND write_id < :write_id
          AND (account, kind, entry_id) = (SELECT account, kind, entry_id FROM writes WHERE write_id = :write_id)
        """,
        {"write_id": write_id, "at": at},
    )


def _change(connection: sqlite3.Connection, settlement: Settlement) -> None:
    changes = {name: _column(value) for name, value in settlement.changes.items()}
    if unknown := changes.keys() - _COLUMNS_OF_A_CHANGE:
        raise ValueError(f"an entry's {sorted(unknown)} never change")
    changes["changed_at"] = _column(settlement.at)
    assignments = ", ".join(f"{name} = :{name}" for name in changes)
    connection.execute(
        f"UPDATE entries SET {assignments} WHERE entry_key = :entry_key",  # noqa: S608 -- names checked above
        {**changes, "entry_key": settlement.entry_key},
    )


def open_timer(connection: sqlite3.Connection, owner: Owner) -> Entry | None:
    """The timer of an owner that runs or may run."""
    return _first(connection, f"{_OWNED} AND {_TIMER_IS_OPEN}", _owner_columns(owner))


def last_stopped(connection: sqlite3.Connection, owner: Owner) -> Entry | None:
    """The timer of an owner that was stopped last."""
    where = f"{_OWNED} AND started_wall IS NOT NULL AND state = 'stopped' AND person IS NULL ORDER BY changed_at DESC"
    return _first(connection, where, _owner_columns(owner))


def find(connection: sqlite3.Connection, account: str, entry_id: str) -> Entry | None:
    """The entry with Keito's id."""
    return _first(connection, "account = :account AND entry_id = :id", {"account": account, "id": entry_id})


def of_session(connection: sqlite3.Connection, account: str, session_id: str) -> list[Entry]:
    """The entries of a session, oldest first."""
    return _entries(
        connection,
        "account = :account AND session_id = :session_id ORDER BY rowid",
        {"account": account, "session_id": session_id},
    )


def unsettled(connection: sqlite3.Connection, account: str, entry_key: str | None) -> list[Write]:
    """The writes of an account, or of one of its entries, whose outcome isn't known."""
    rows = connection.execute(
        """
        SELECT * FROM writes
        WHERE account = :account AND state IN ('sent', 'unknown') AND entry_key IS coalesce(:key, entry_key)
        ORDER BY write_id
        """,
        {"account": account, "key": entry_key},
    )
    return [_write(row) for row in rows]


def _insert(connection: sqlite3.Connection, table: str, columns: Mapping[str, object]) -> int:
    names = ", ".join(columns)
    places = ", ".join(f":{name}" for name in columns)
    statement = f"INSERT INTO {table} ({names}) VALUES ({places})"  # noqa: S608 -- this module's own names
    return connection.execute(statement, dict(columns)).lastrowid or 0


def _first(connection: sqlite3.Connection, where: str, parameters: Mapping[str, object]) -> Entry | None:
    found = _entries(connection, f"{where} LIMIT 1", parameters)
    return found[0] if found else None


def _entries(connection: sqlite3.Connection, where: str, parameters: Mapping[str, object]) -> list[Entry]:
    rows = connection.execute(f"SELECT * FROM entries WHERE {where}", dict(parameters))  # noqa: S608 -- own text
    return [_entry(row) for row in rows]


def _entry_by_key(connection: sqlite3.Connection, entry_key: str) -> Entry:
    return _entries(connection, "entry_key = :key", {"key": entry_key})[0]


def _create_of(connection: sqlite3.Connection, entry_key: str) -> Write:
    row = connection.execute(
        "SELECT * FROM writes WHERE entry_key = ? AND kind = 'create' ORDER BY write_id DESC LIMIT 1",
        (entry_key,),
    ).fetchone()
    return _write(row)


def _column(value: object) -> object:
    """A value as SQLite keeps it: exact decimals and ISO dates as text."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, StrEnum):
        return value.value
    return str(value) if isinstance(value, Decimal) else value


def _moment(instant: Instant) -> tuple[object, float, str]:
    return (_column(instant.wall), instant.monotonic, instant.boot_id)


def _owner_columns(owner: Owner) -> dict[str, object]:
    return {
        "account": owner.account,
        "session_id": owner.session_id,
        "agent_id": owner.agent_id,
        "subagent_id": owner.subagent_id,
        "session_is_certain": owner.session_is_certain,
        "process": owner.process,
    }


def _entry_columns(entry: Entry) -> dict[str, object]:
    started = entry.started
    columns = {
        "entry_key": entry.entry_key,
        "entry_id": entry.entry_id,
        "state": entry.state,
        "project_id": entry.project_id,
        "task_id": entry.task_id,
        "notes": entry.notes,
        "is_billable": entry.is_billable,
        "spent_date": entry.spent_date,
        "hours": entry.hours,
        "hours_answered": entry.hours_answered,
        "person": entry.person,
        "started_wall": started.wall if started else None,
        "started_monotonic": started.monotonic if started else None,
        "started_boot": started.boot_id if started else None,
        "changed_at": entry.changed_at,
    }
    return {**_owner_columns(entry.owner), **{name: _column(value) for name, value in columns.items()}}


def _entry(row: sqlite3.Row) -> Entry:
    owner = Owner(
        account=row["account"],
        session_id=row["session_id"],
        agent_id=row["agent_id"],
        subagent_id=row["subagent_id"],
        session_is_certain=bool(row["session_is_certain"]),
        process=row["process"],
    )
    wall = row["started_wall"]
    return Entry(
        entry_key=row["entry_key"],
        owner=owner,
        entry_id=row["entry_id"],
        state=EntryState(row["state"]),
        project_id=row["project_id"],
        task_id=row["task_id"],
        notes=row["notes"],
        is_billable=None if row["is_billable"] is None else bool(row["is_billable"]),
        spent_date=date.fromisoformat(row["spent_date"]),
        hours=Decimal(row["hours"]),
        hours_answered=bool(row["hours_answered"]),
        person=row["person"],
        started=(
            Instant(datetime.fromisoformat(wall), row["started_monotonic"], row["started_boot"]) if wall else None
        ),
        changed_at=datetime.fromisoformat(row["changed_at"]),
    )


def _write(row: sqlite3.Row) -> Write:
    return Write(
        write_id=row["write_id"],
        account=row["account"],
        kind=WriteKind(row["kind"]),
        entry_key=row["entry_key"],
        entry_id=row["entry_id"],
        idempotency_key=row["idempotency_key"],
        body=json.loads(row["body"]),
        fingerprint=row["fingerprint"],
        call_id=row["call_id"],
        state=WriteState(row["state"]),
        sent=Instant(datetime.fromisoformat(row["sent_at"]), row["sent_monotonic"], row["sent_boot"]),
    )
