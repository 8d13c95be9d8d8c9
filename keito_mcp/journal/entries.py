"""The journal's entries: finding them, and changing what is known of them."""

import sqlite3
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from keito_mcp.journal import columns
from keito_mcp.journal.columns import column, of_owner
from keito_mcp.journal.rows import Entry, Owner
from keito_mcp.journal.states import EntryState, way

_OWNED = "account = :account AND session_id = :session_id AND agent_id = :agent_id AND subagent_id = :subagent_id"
TIMER_IS_OPEN = "started_wall IS NOT NULL AND state IN ('creating', 'running')"

_CHANGING = frozenset(
    {
        "closed",
        "ended_boot",
        "ended_monotonic",
        "ended_wall",
        "entry_id",
        "hours",
        "hours_answered",
        "is_billable",
        "notes",
        "person",
        "project_id",
        "spent_date",
        "state",
        "task_id",
    }
)


def open_timer(connection: sqlite3.Connection, owner: Owner) -> Entry | None:
    """The timer of an owner that runs or may run."""
    return _first(connection, f"{_OWNED} AND {TIMER_IS_OPEN}", of_owner(owner))


def last_stopped(connection: sqlite3.Connection, owner: Owner) -> Entry | None:
    """The timer of an owner that was stopped last."""
    where = (
        f"{_OWNED} AND started_wall IS NOT NULL AND state IN ('stopping', 'stopped') AND person IS NULL "
        "ORDER BY changed_at DESC, rowid DESC"
    )
    return _first(connection, where, of_owner(owner))


def find(connection: sqlite3.Connection, account: str, handle: str) -> Entry | None:
    """The entry with Keito's id, or with this project's key."""
    where = "account = :account AND (entry_id = :handle OR entry_key = :handle)"
    return _first(connection, where, {"account": account, "handle": handle})


def of_session(connection: sqlite3.Connection, account: str, session_id: str) -> list[Entry]:
    """The entries of a session, oldest first."""
    return select(
        connection,
        "account = :account AND session_id = :session_id ORDER BY rowid",
        {"account": account, "session_id": session_id},
    )


def by_key(connection: sqlite3.Connection, entry_key: str) -> Entry:
    """The entry with this project's key, which exists."""
    return select(connection, "entry_key = :key", {"key": entry_key})[0]


def change(connection: sqlite3.Connection, entry_key: str, at: datetime, changes: Mapping[str, object]) -> None:
    """Change what is known of an entry.

    Raises:
        NoSuchWay: No way leads from its state to the new one.
        ValueError: One of the columns never changes.
    """
    if unknown := changes.keys() - _CHANGING:
        raise ValueError(f"an entry's {sorted(unknown)} never change")
    known = by_key(connection, entry_key)
    state = EntryState(str(changes.get("state", known.state)))
    way(known.state, state)
    if state is EntryState.RUNNING and known.state is not state and _runs_another(connection, known):
        # A stop was refused, but its agent has gone on to other work meanwhile.
        state = EntryState.REFUSED
    values = {name: column(value) for name, value in changes.items()} | {"state": state.value, "changed_at": column(at)}
    assignments = ", ".join(f"{name} = :{name}" for name in values)
    connection.execute(
        f"UPDATE entries SET {assignments} WHERE entry_key = :entry_key",  # noqa: S608 -- names checked above
        {**values, "entry_key": entry_key},
    )


def _runs_another(connection: sqlite3.Connection, entry: Entry) -> bool:
    other = open_timer(connection, entry.owner)
    return other is not None and other.entry_key != entry.entry_key


def select(connection: sqlite3.Connection, where: str, parameters: Mapping[str, object]) -> list[Entry]:
    """The entries for which a condition of this package's own holds."""
    rows = connection.execute(f"SELECT * FROM entries WHERE {where}", dict(parameters))  # noqa: S608 -- own text
    return [columns.entry(row) for row in rows]


def _first(connection: sqlite3.Connection, where: str, parameters: Mapping[str, object]) -> Entry | None:
    found = select(connection, f"{where} LIMIT 1", parameters)
    return found[0] if found else None


def as_sent(body: Mapping[str, Any]) -> dict[str, object]:
    """What the journal keeps of an entry that will be made as changed."""
    kept = {name: body[name] for name in ("notes", "task_id", "is_billable") if name in body}
    if "hours" in body:
        kept["hours"] = Decimal(str(body["hours"]))
    if "spent_date" in body:
        kept["spent_date"] = date.fromisoformat(body["spent_date"])
    return kept
