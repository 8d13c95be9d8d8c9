"""From rows to the journal's columns and back: exact decimals and ISO dates as text, a moment as three columns."""

import json
import sqlite3
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from keito_mcp.clock import Instant
from keito_mcp.journal.rows import Entry, Owner, Write
from keito_mcp.journal.states import EntryState, WriteKind, WriteState


def column(value: object) -> object:
    """A value as SQLite keeps it."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, StrEnum):
        return value.value
    return str(value) if isinstance(value, Decimal) else value


def moment(instant: Instant) -> tuple[str, float, str]:
    """A moment as its three columns."""
    return (instant.wall.isoformat(), instant.monotonic, instant.boot_id)


def instant(wall: str, monotonic: float, boot: str) -> Instant:
    """The moment that `moment` made columns of."""
    return Instant(datetime.fromisoformat(wall), monotonic, boot)


def insert(connection: sqlite3.Connection, table: str, columns: Mapping[str, object]) -> int:
    """Insert a row; returns its number."""
    names = ", ".join(columns)
    places = ", ".join(f":{name}" for name in columns)
    statement = f"INSERT INTO {table} ({names}) VALUES ({places})"  # noqa: S608 -- this package's own names
    return connection.execute(statement, dict(columns)).lastrowid or 0


def of_owner(owner: Owner) -> dict[str, object]:
    """An owner's columns."""
    return {
        "account": owner.account,
        "session_id": owner.session_id,
        "agent_id": owner.agent_id,
        "subagent_id": owner.subagent_id,
        "session_is_certain": owner.session_is_certain,
        "process": owner.process,
    }


def of_entry(entry: Entry) -> dict[str, object]:
    """An entry's columns."""
    wall, monotonic, boot = moment(entry.started) if entry.started else (None, None, None)
    ended_wall, ended_monotonic, ended_boot = moment(entry.ended) if entry.ended else (None, None, None)
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
        "closed": entry.closed,
        "started_wall": wall,
        "started_monotonic": monotonic,
        "started_boot": boot,
        "ended_wall": ended_wall,
        "ended_monotonic": ended_monotonic,
        "ended_boot": ended_boot,
        "host_session": entry.host_session,
        "is_recorded": entry.is_recorded,
        "changed_at": entry.changed_at,
    }
    return {**of_owner(entry.owner), **{name: column(value) for name, value in columns.items()}}


def of_write(write: Write) -> dict[str, object]:
    """A new write's columns."""
    at, monotonic, boot = moment(write.sent)
    rested_at, rested_monotonic, rested_boot = moment(write.rested or write.sent)
    return {
        "account": write.account,
        "kind": write.kind.value,
        "entry_key": write.entry_key,
        "entry_id": write.entry_id,
        "idempotency_key": write.idempotency_key,
        "body": write.json_body(),
        "fingerprint": write.fingerprint,
        "call_id": write.call_id,
        "state": write.state.value,
        "reason": write.reason,
        "asked_at": at,
        "sent_at": at,
        "sent_monotonic": monotonic,
        "sent_boot": boot,
        "sends": write.sends,
        "looks": write.looks,
        "attempts": write.attempts,
        "lease": write.lease,
        "rested_at": rested_at,
        "rested_monotonic": rested_monotonic,
        "rested_boot": rested_boot,
        "rest": write.rest,
        "is_held": write.is_held,
        "promised": write.promised,
    }


def entry(row: sqlite3.Row) -> Entry:
    """The entry in a row of `entries`."""
    owner = Owner(
        account=row["account"],
        session_id=row["session_id"],
        agent_id=row["agent_id"],
        subagent_id=row["subagent_id"],
        session_is_certain=bool(row["session_is_certain"]),
        process=row["process"],
    )
    wall, ended = row["started_wall"], row["ended_wall"]
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
        closed=row["closed"],
        started=instant(wall, row["started_monotonic"], row["started_boot"]) if wall else None,
        ended=instant(ended, row["ended_monotonic"], row["ended_boot"]) if ended else None,
        host_session=row["host_session"],
        is_recorded=bool(row["is_recorded"]),
        changed_at=datetime.fromisoformat(row["changed_at"]),
    )


def write(row: sqlite3.Row) -> Write:
    """The write in a row of `writes`."""
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
        reason=row["reason"],
        sent=instant(row["sent_at"], row["sent_monotonic"], row["sent_boot"]),
        sends=row["sends"],
        looks=row["looks"],
        attempts=row["attempts"],
        lease=row["lease"],
        rested=instant(row["rested_at"], row["rested_monotonic"], row["rested_boot"]),
        rest=row["rest"],
        is_held=bool(row["is_held"]),
        promised=bool(row["promised"]),
    )
