"""Taking a discard back: each deleted entry is made again, once, out of what the journal kept of it."""

import uuid
from decimal import Decimal
from typing import Any

from keito_mcp import hours as decimal_hours
from keito_mcp.clock import elapsed
from keito_mcp.journal import Entry, EntryState, Owner, Write, WriteKind, WriteState
from keito_mcp.keito import TimeEntry, TimeEntryCreate
from keito_mcp.timesheet.ledger import Ledger
from keito_mcp.waits import LONGEST_TIMER

_CREATED = ("project_id", "task_id", "spent_date", "notes", "is_billable", "metadata")


async def restore(ledger: Ledger, account: str, session_id: str) -> list[Entry]:
    """Queue every entry of a discarded session that was deleted and not restored yet.

    Each keeps its key and everything else but its id; a timer that ran comes back finished, with the hours that it
    had when it was stopped or discarded.

    Raises:
        JournalError: The journal can't be used.
    """
    restored: list[Entry] = []
    for deleted in await ledger.journal.restorable(account, session_id):
        shown = _as_asked_for(deleted)
        known = await ledger.journal.find(account, deleted.entry_key) if deleted.entry_key else None
        entry = _entry(ledger, deleted, shown, _hours(deleted, shown, known))
        create = Write(
            account=account,
            kind=WriteKind.CREATE,
            entry_key=entry.entry_key,
            entry_id=None,
            body=_body(entry, shown),
            sent=ledger.clock.now(),
            idempotency_key=str(uuid.uuid4()),
            state=WriteState.QUEUED,
            sends=0,
        )
        if await ledger.journal.restore(deleted, entry, create):
            restored.append(entry)
    return restored


def _as_asked_for(deleted: Write) -> TimeEntry:
    """An entry as it was deleted, with the changes that were to be made in it."""
    return TimeEntry.model_validate({**deleted.body["entry"], **deleted.body.get("waiting", {})})


def _hours(deleted: Write, shown: TimeEntry, known: Entry | None) -> Decimal:
    """The hours that stood when it was deleted; those of a running timer until its work ended, at most a timer's."""
    hours = shown.hours or Decimal(0)
    if not shown.is_running:
        return hours
    if known is not None and known.started is not None:
        hours = decimal_hours.of_duration(elapsed(known.started, deleted.sent).duration)
    return min(hours, decimal_hours.of_duration(LONGEST_TIMER))


def _entry(ledger: Ledger, deleted: Write, shown: TimeEntry, hours: Decimal) -> Entry:
    now = ledger.clock.now()
    owner = Owner(
        account=deleted.account,
        session_id=str(deleted.body["session_id"]),
        agent_id=shown.fact("agent_id") or "",
        subagent_id=shown.fact("subagent_id") or "",
        session_is_certain=True,
        process=ledger.journal.process,
    )
    return Entry(
        entry_key=deleted.entry_key or shown.fact("entry_key") or str(uuid.uuid4()),
        owner=owner,
        state=EntryState.STOPPING,
        project_id=shown.project_id or "",
        task_id=shown.task_id,
        notes=shown.notes,
        is_billable=shown.is_billable,
        spent_date=shown.spent_date or ledger.day(now.wall),
        hours=hours,
        started=None,
        changed_at=now.wall,
    )


def _body(entry: Entry, shown: TimeEntry) -> dict[str, Any]:
    """What makes the entry again. One without a key gets one: it must be found when its answer is lost."""
    fields = {name: getattr(shown, name) for name in _CREATED}
    fields["metadata"] = {**(shown.metadata or {}), "entry_key": entry.entry_key}
    fields |= {"project_id": entry.project_id, "spent_date": entry.spent_date, "hours": entry.hours, "source": "agent"}
    given = {name: value for name, value in fields.items() if value is not None}
    return TimeEntryCreate.model_validate(given).body()
