"""Changing an entry that was read just before: recorded, sent, and read again when no answer came."""

from keito_mcp import hours as decimal_hours
from keito_mcp.journal import Entry, EntryState, Write, WriteKind, WriteState
from keito_mcp.keito import Conflict, KeitoError, NotFound, PermissionDenied, TimeEntry, TimeEntryUpdate
from keito_mcp.timesheet.ledger import Ledger, answered
from keito_mcp.timesheet.problem import Problem
from keito_mcp.timesheet.standing import OPEN, deleted, same_notes


async def update(
    ledger: Ledger, account: str, shown: TimeEntry, known: Entry | None, changes: TimeEntryUpdate
) -> TimeEntry:
    """Finish or correct an entry.

    Args:
        ledger: Where it is recorded and sent.
        account: Whose entry it is.
        shown: The entry as Keito has just shown it.
        known: What this machine knows of it, if it does.
        changes: What is to be different.

    Returns:
        The entry as Keito answered it, completed by what was sent.

    Raises:
        JournalError: It couldn't be recorded, so nothing was sent.
        KeitoError: Keito refused the change; the entry is as it was.
        Problem: The entry was deleted meanwhile, or whether it was changed isn't known.
    """
    entry_key = known.entry_key if known else None
    write = Write(
        account=account,
        kind=WriteKind.UPDATE,
        entry_key=entry_key,
        entry_id=shown.id,
        body=changes.body(),
        sent=ledger.clock.now(),
    )
    with ledger.seeing_it_through() as deadline:
        [write_id] = await ledger.journal.begin(write)
        try:
            answer = await ledger.api.update(shown.id, changes)
        except KeitoError as error:
            if error.nothing_written:
                state = {"state": _after_refusal(error, known)}
                await ledger.settle(write_id, WriteState.REFUSED, str(error), entry_key=entry_key, changes=state)
                if isinstance(error, NotFound):
                    raise deleted(shown.id) from error
                raise
            answer = await _made_all_the_same(ledger, write_id, shown, changes, error, deadline)
        if changes.is_running is False and answer.is_running:
            await ledger.settle(write_id, WriteState.UNKNOWN, "it is still shown to run")
            raise _not_known(shown.id, "Keito answered the stop, but shows the timer still running.")
        said_hours = answer.hours is not None
        answer = _completed(answer, changes)
        now: dict[str, object] = {"state": EntryState.STOPPED, **answered(answer), "hours_answered": said_hours}
        await ledger.settle(write_id, entry_key=entry_key, changes=now)
        return answer


def _after_refusal(error: KeitoError, known: Entry | None) -> EntryState:
    """What becomes of an entry that Keito refuses to change."""
    if isinstance(error, NotFound):
        return EntryState.GONE
    if known is None or known.state not in OPEN:
        return known.state if known else EntryState.STOPPED
    # One that is approved or out of reach can't be stopped from here, and must not stand in the next timer's way.
    if isinstance(error, Conflict | PermissionDenied):
        return EntryState.REFUSED
    # An earlier stop may still have been made.
    return EntryState.STOPPING if known.state is EntryState.STOPPING else EntryState.RUNNING


async def _made_all_the_same(
    ledger: Ledger, write_id: int, shown: TimeEntry, changes: TimeEntryUpdate, error: KeitoError, deadline: float
) -> TimeEntry:
    """The entry as Keito shows it, if it shows the change; raises where it doesn't."""
    try:
        entry = await ledger.get(shown.id, deadline)
    except KeitoError:
        entry = shown
    if entry is not shown and _was_made(changes, shown, entry):
        return entry
    await ledger.settle(write_id, WriteState.UNKNOWN, str(error))
    raise _not_known(shown.id, f"Keito gave no usable answer to the change ({error}).") from error


def _was_made(changes: TimeEntryUpdate, before: TimeEntry, after: TimeEntry) -> bool:
    """Whether an entry shows a change; hours that are as they were are no change, however near."""
    if changes.hours is not None and after.hours != changes.hours:
        moved = after.hours != before.hours or changes.is_running is False
        if not (moved and decimal_hours.same(after.hours, changes.hours)):
            return False
    if changes.is_running is not None and after.is_running is not changes.is_running:
        return False
    return changes.notes is None or same_notes(after.notes, changes.notes)


def _completed(answer: TimeEntry, changes: TimeEntryUpdate) -> TimeEntry:
    """An answer with what was sent in place of what it leaves out."""
    sent = {name: getattr(changes, name) for name in changes.model_fields_set}
    return answer.model_copy(update={name: value for name, value in sent.items() if getattr(answer, name) is None})


def _not_known(entry_id: str, happened: str) -> Problem:
    return Problem(
        happened,
        f"Whether entry {entry_id} was changed isn't known.",
        "Make the same call again: it reads the entry first, and changes it only where it must.",
    )
