"""Changing an entry that was read just before: recorded, sent, and read again when no answer came."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from keito_mcp import hours as decimal_hours
from keito_mcp.clock import elapsed
from keito_mcp.journal import Amendment, Claimed, Entry, EntryState, Write, WriteKind, WriteState
from keito_mcp.keito import (
    Conflict,
    InvalidRequest,
    KeitoError,
    NotFound,
    PermissionDenied,
    TimeEntry,
    TimeEntryUpdate,
)
from keito_mcp.timesheet import standing
from keito_mcp.timesheet.altering import RestUnanswered, StoppedOnly, alter, stopped_by
from keito_mcp.timesheet.ledger import Ledger, answered
from keito_mcp.timesheet.matching import edited_by_a_person, same_notes, shows
from keito_mcp.timesheet.standing import OPEN, deleted
from keito_mcp.timesheet.waiting import Waiting, holds_up, pause, unreachable, waits
from keito_mcp.timesheet.work import Worker
from keito_mcp.waits import LATE_ARRIVAL

_BEHIND = Waiting("An earlier change of this entry is still to be made.")


async def update(
    ledger: Ledger,
    worker: Worker,
    shown: TimeEntry,
    known: Entry | None,
    changes: TimeEntryUpdate,
    *,
    exactly: bool = True,
) -> TimeEntry | Waiting:
    """Finish or correct an entry.

    Args:
        ledger: Where it is recorded and sent.
        worker: Who does it.
        shown: The entry as Keito has just shown it.
        known: What this machine knows of it, if it does.
        changes: What is to be different.
        exactly: Whether the hours were given, and not counted.

    Returns:
        The entry as Keito answered it, completed by what was sent; or why it waits.

    Raises:
        JournalError: It couldn't be recorded, so nothing was sent.
        KeitoError: Keito refused the change; the entry is as it was.
        Problem: The entry was deleted meanwhile.
    """
    with ledger.seeing_it_through() as deadline:
        write = await _begin(ledger, worker, shown, known, changes)
        if write.state is WriteState.QUEUED:
            return _BEHIND
        return await send(ledger, replace(write, entry_id=shown.id), known, shown, deadline, exactly=exactly)


async def _begin(
    ledger: Ledger, worker: Worker, shown: TimeEntry, known: Entry | None, changes: TimeEntryUpdate
) -> Write:
    sign, now = ledger.sign(worker.owner), ledger.clock.now()
    if known is not None:
        amendment = Amendment(entry_key=known.entry_key, body=changes.body(), leave_now=True)
        amended = await ledger.journal.amend(amendment, now, sign=sign)
        if amended is None:
            # It was discarded, or a person deleted it, since it was read.
            raise deleted(known.handle)
        return amended
    write = Write(
        account=worker.owner.account,
        kind=WriteKind.UPDATE,
        entry_key=None,
        entry_id=shown.id,
        body=changes.body(),
        sent=now,
        lease=ledger.journal.process,
    )
    [write_id] = await ledger.journal.begin(write, sign=sign)
    return replace(write, write_id=write_id)


async def deliver(ledger: Ledger, claimed: Claimed) -> TimeEntry | Waiting | None:
    """Make a change that waits, after reading the entry: what a person did to it meanwhile is final.

    Returns:
        The entry; why it still waits; None where nothing is left to do.

    Raises:
        KeitoError: Keito refused it.
        Problem: A person was there first.
    """
    write, known = claimed.write, claimed.entry
    entry_id = write.entry_id or (known.entry_id if known else None)
    if entry_id is None or (known is not None and not known.is_wanted):
        await ledger.settle(write.write_id, WriteState.DROPPED, "The entry is gone.")
        return None
    write = replace(write, entry_id=entry_id)
    with ledger.seeing_it_through() as deadline:
        try:
            shown = await ledger.get(entry_id, near=known.spent_date if known else None)
        except KeitoError as error:
            return await _unreadable(ledger, write, known, error)
        if (why := await _changed(ledger, write, known, shown)) is not None:
            if known is None:
                await ledger.settle(write.write_id, WriteState.REFUSED, why)
            else:
                await ledger.seen(known, EntryState.STOPPED, shown, person=why)
            raise standing.left_alone(entry_id, why)
        if write.sends and shows(write.body, shown, known.hours_before if known else None):
            await _made(ledger, write, known, shown, said_hours=True)
            return shown
        remaining = LATE_ARRIVAL - elapsed(write.sent, ledger.clock.now()).duration
        if write.state is WriteState.UNKNOWN and remaining > timedelta():
            waiting = Waiting("Keito gave no answer to the change.", remaining.total_seconds())
            return await waits(ledger, write, WriteState.UNKNOWN, waiting)
        write = _without_a_persons_notes(write, known, shown)
        now = ledger.clock.now()
        if not await ledger.journal.send(write, now):
            return Waiting("Another keito-mcp is sending it just now.")
        return await send(ledger, replace(write, sends=write.sends + 1, sent=now), known, shown, deadline)


async def _changed(ledger: Ledger, write: Write, known: Entry | None, shown: TimeEntry) -> str | None:
    """What a person did to an entry that is to be changed."""
    if known is not None:
        return await standing.changed_by_a_person(ledger, known, shown)
    if shown.is_running is False and not write.sends:
        return "It was stopped elsewhere."
    return None


def _without_a_persons_notes(write: Write, known: Entry | None, shown: TimeEntry) -> Write:
    """A timer that a person edited is stopped all the same, but its notes are left."""
    if known is None or not shown.is_running or edited_by_a_person(known, shown) is None:
        return write
    return replace(write, body={name: value for name, value in write.body.items() if name != "notes"})


async def _unreadable(ledger: Ledger, write: Write, known: Entry | None, error: KeitoError) -> Waiting:
    """What becomes of a change whose entry can't be read."""
    if isinstance(error, NotFound) and known is not None:
        await ledger.seen(known, EntryState.GONE)
        raise deleted(known.handle) from error
    if isinstance(error, NotFound | PermissionDenied | InvalidRequest):
        state = {"state": _after_refusal(error, known, at_once=False)} if known else {}
        await ledger.settle(write.write_id, WriteState.REFUSED, str(error), entry_key=write.entry_key, changes=state)
        raise error
    # Reading wrote nothing: what is known of the change stays as it is.
    return await waits(ledger, write, write.state, Waiting(unreachable(error), pause(write.attempts, error), error))


async def send(
    ledger: Ledger, write: Write, known: Entry | None, shown: TimeEntry, deadline: float, *, exactly: bool = False
) -> TimeEntry | Waiting:
    """Send a change that is recorded as sent; `exactly` is as in `alter`."""
    changes = TimeEntryUpdate.model_validate_json(write.json_body())
    at_once = not write.promised
    try:
        answer = await alter(ledger, changes, known, shown, exactly=exactly)
    except StoppedOnly as half:
        counted = decimal_hours.text(half.stopped.hours or Decimal(0))
        said = f"The timer itself is stopped, with {counted} h as Keito counts them."
        # Who was promised the whole change is told that.
        refused = f"{half.error}. {said}"
        await _made(ledger, write, known, half.stopped, said_hours=half.stopped.hours is not None, refused=refused)
        half.error.add_note(said)
        raise half.error from None
    except (KeitoError, RestUnanswered) as error:
        if isinstance(error, KeitoError) and error.nothing_written:
            return await _not_made(ledger, write, known, error, at_once=at_once)
        made = await _seen_again(ledger, shown, deadline)
        if made is not None and not _was_made(changes, shown, made):
            first_half = shown.is_running is not False and not isinstance(error, RestUnanswered)
            if first_half and known and await stopped_by(ledger, write, known, made):
                return await send(ledger, write, known, made, deadline, exactly=exactly)
            made = None
        if made is None:
            seconds = max(LATE_ARRIVAL.total_seconds(), pause(0, error))
            waiting = Waiting(f"Keito gave no usable answer to the change ({error}).", seconds)
            return await waits(ledger, write, WriteState.UNKNOWN, waiting, looked=True)
        answer = made
    if changes.is_running is False and answer.is_running:
        still_runs = "Keito answered the stop, but shows the timer still running."
        waiting = Waiting(still_runs, LATE_ARRIVAL.total_seconds())
        return await waits(ledger, write, WriteState.UNKNOWN, waiting)
    completed = _completed(answer, changes)
    await _made(ledger, write, known, completed, said_hours=answer.hours is not None)
    return completed


async def _not_made(ledger: Ledger, write: Write, known: Entry | None, error: KeitoError, *, at_once: bool) -> Waiting:
    if holds_up(error, promised=write.promised):
        waiting = Waiting(unreachable(error), pause(write.attempts, error), error)
        return await waits(ledger, write, WriteState.QUEUED, waiting)
    changes: dict[str, object] = {"state": _after_refusal(error, known, at_once=at_once)} if known else {}
    if known is not None and known.is_recorded and isinstance(error, Conflict):
        # Approved, or locked: what is counted beyond it goes into another entry.
        changes["person"] = f"Keito refuses to change it: {error}."
    await ledger.settle(write.write_id, WriteState.REFUSED, str(error), entry_key=write.entry_key, changes=changes)
    if isinstance(error, NotFound):
        raise deleted(write.entry_id or "") from error
    raise error


async def _made(
    ledger: Ledger,
    write: Write,
    known: Entry | None,
    answer: TimeEntry,
    *,
    said_hours: bool,
    refused: str | None = None,
) -> None:
    changes: dict[str, object] = {**answered(answer), "hours_answered": said_hours}
    if known is None or known.is_wanted:
        # A later change may still wait, but it is none of the timer's.
        changes["state"] = EntryState.STOPPED
    outcome = WriteState.REFUSED if refused else WriteState.DONE
    await ledger.settle(write.write_id, outcome, refused, entry_key=write.entry_key, changes=changes)


def _after_refusal(error: KeitoError, known: Entry | None, *, at_once: bool) -> EntryState:
    """What becomes of an entry that Keito refuses to change."""
    if isinstance(error, NotFound):
        return EntryState.GONE
    if known is None or known.state not in OPEN:
        return known.state if known else EntryState.STOPPED
    # One that is approved or out of reach can't be stopped from here, and must not stand in the next timer's way;
    # nor must one whose agent has gone on since.
    if isinstance(error, Conflict | PermissionDenied) or not at_once:
        return EntryState.REFUSED
    return EntryState.RUNNING


async def _seen_again(ledger: Ledger, shown: TimeEntry, deadline: float) -> TimeEntry | None:
    """The entry as Keito shows it after a change that it didn't answer, where it does."""
    try:
        return await ledger.get(shown.id, deadline, near=shown.spent_date)
    except KeitoError:
        return None


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
