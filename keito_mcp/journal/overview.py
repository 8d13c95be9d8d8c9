"""The journal in a table: each session with its entries, what waits for it, and what was left to a person."""

import sqlite3
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from keito_mcp.journal import columns, queue, recordings
from keito_mcp.journal.recorded import Recorded
from keito_mcp.journal.rows import Entry, Write
from keito_mcp.journal.states import WriteState


@dataclass(slots=True, kw_only=True)
class SessionOverview:
    """One session of an account.

    Attributes:
        seen_at: Its last sign of life; of one without, its last change.
        waiting: What is still to be delivered.
        refused: What was to be written, and Keito or a person refused.
        recorded: What became of the time that its host's events tell of.
    """

    session_id: str
    seen_at: datetime
    entries: list[Entry] = field(default_factory=list)
    waiting: list[Write] = field(default_factory=list)
    refused: list[Write] = field(default_factory=list)
    recorded: Recorded | None = None

    @property
    def running(self) -> list[Entry]:
        """The timers that run."""
        return [entry for entry in self.entries if entry.runs]

    @property
    def hours(self) -> Decimal:
        """The decimal hours of what wasn't thrown away, as they will stand once all is delivered."""
        return sum((self._hours_of(entry) for entry in self.entries if entry.is_wanted), Decimal(0))

    def _hours_of(self, entry: Entry) -> Decimal:
        waiting = [
            write.body["hours"]
            for write in self.waiting
            if write.entry_key == entry.entry_key
            and "hours" in write.body
            # It is there; a change may have been made since.
            and write.state is not WriteState.CONFIRMING
        ]
        return Decimal(str(waiting[-1])) if waiting else entry.hours


def sessions(connection: sqlite3.Connection, account: str) -> list[SessionOverview]:
    """The sessions of an account, the one that lived last first."""
    found: dict[str, SessionOverview] = {}
    session_of: dict[str, str] = {}
    for row in connection.execute("SELECT * FROM entries WHERE account = ? ORDER BY rowid", (account,)):
        entry = columns.entry(row)
        session = entry.owner.session_id
        overview = found.setdefault(session, SessionOverview(session_id=session, seen_at=entry.changed_at))
        overview.entries.append(entry)
        overview.seen_at = max(overview.seen_at, entry.changed_at)
        session_of[entry.entry_key] = session
    for write in _noteworthy(connection, account):
        of = session_of.get(write.entry_key or "") or write.body.get("session_id")
        if of is not None:
            overview = found.setdefault(of, SessionOverview(session_id=of, seen_at=write.sent.wall))
            (overview.refused if write.state is WriteState.REFUSED else overview.waiting).append(write)
    for recorded in recordings.recorded(connection, account):
        session = recorded.session_id
        found.setdefault(session, SessionOverview(session_id=session, seen_at=recorded.recorded_at)).recorded = recorded
    for row in connection.execute("SELECT session_id, seen_at FROM sessions WHERE account = ?", (account,)):
        if overview_ := found.get(row["session_id"]):
            overview_.seen_at = datetime.fromisoformat(row["seen_at"])
    return sorted(found.values(), key=lambda session: session.seen_at, reverse=True)


def _noteworthy(connection: sqlite3.Connection, account: str) -> list[Write]:
    rows = connection.execute(
        "SELECT * FROM writes WHERE account = ? AND state = 'refused' ORDER BY write_id", (account,)
    )
    refused = [columns.write(row) for row in rows]
    return [*queue.open_writes(connection, account, None), *refused]
