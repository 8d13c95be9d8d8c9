"""Changing an entry that was read just before: recorded, sent, and read again when no answer came."""

from keito_mcp import hours as decimal_hours
from keito_mcp.journal import Entry, EntryState, Write, WriteKind, WriteState
from keito_mcp.keito import KeitoError, TimeEntry, TimeEntryUpdate
from keito_mcp.timesheet.ledger import Ledger
from keito_mcp.timesheet.problem import Problem


async def update(
    ledger: Ledger, account: str, entry_id: str, known: Entry | None, changes: TimeEntryUpdate
) -> TimeEntry:
    """Finish or correct an entry.

    Args:
        ledger: Where it is recorded and sent.
        account: Whose entry it is.
        entry_id: Keito's id.
        known: What this machine knows of it, if it does.
        changes: What is to be different.

    Raises:
        JournalError: It couldn't be recorded, so nothing was sent.
        KeitoError: Keito refused the change; the entry is as it was.
        Problem: Whether it was changed isn't known.
    """
    entry_key = known.entry_key if known else None
    write = Write(
        account=account,
        kind=WriteKind.UPDATE,
        entry_key=entry_key,
        entry_id=entry_id,
        body=changes.body(),
        sent_at=ledger.clock.now().wall,
    )
    with ledger.seeing_it_through() as deadline:
        [write_id] = await ledger.journal.begin(write)
        try:
            answer = await ledger.api.update(entry_id, changes)
        except KeitoError as error:
            if error.nothing_written:
                stopped = known is not None and known.state is EntryState.STOPPED
                as_it_was = {"state": EntryState.STOPPED if stopped else EntryState.RUNNING}
                await ledger.settle(write_id, WriteState.REFUSED, str(error), entry_key=entry_key, changes=as_it_was)
                raise
            answer = await _made_all_the_same(ledger, write_id, entry_id, changes, error, deadline)
        await ledger.settle(write_id, entry_key=entry_key, changes=_shown(answer, changes))
        return answer


async def _made_all_the_same(
    ledger: Ledger,
    write_id: int,
    entry_id: str,
    changes: TimeEntryUpdate,
    error: KeitoError,
    deadline: float,
) -> TimeEntry:
    """The entry as Keito shows it, if it shows the change; raises where it doesn't."""
    entry = await ledger.get_by(deadline, entry_id)
    if isinstance(entry, TimeEntry) and was_made(changes, entry):
        return entry
    await ledger.settle(write_id, WriteState.UNKNOWN, str(error))
    raise Problem(
        f"Keito gave no usable answer to the change ({error}).",
        f"Whether entry {entry_id} was changed isn't known.",
        "Make the same call again: it reads the entry first, and changes it only where it must.",
    ) from error


def was_made(changes: TimeEntryUpdate, entry: TimeEntry) -> bool:
    """Whether an entry shows a change."""
    if changes.hours is not None and not decimal_hours.same(entry.hours, changes.hours):
        return False
    if changes.is_running is not None and entry.is_running is not changes.is_running:
        return False
    return changes.notes is None or entry.notes == changes.notes


def _shown(answer: TimeEntry, changes: TimeEntryUpdate) -> dict[str, object]:
    hours = changes.hours if answer.hours is None else answer.hours
    shown = {"state": EntryState.STOPPED, "hours": hours, "notes": changes.notes}
    return {name: value for name, value in shown.items() if value is not None}
