"""Creating an entry exactly once: recorded, sent, and looked up by its key when no answer came."""

import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from keito_mcp import hours as decimal_hours
from keito_mcp.clock import Instant, elapsed
from keito_mcp.journal import Claimed, Earlier, Entry, EntryState, Settlement, Write, WriteKind, WriteState
from keito_mcp.keito import Conflict, KeitoError, TimeEntry, TimeEntryCreate
from keito_mcp.timesheet import holding
from keito_mcp.timesheet.ledger import CannotTell, Ledger, answered
from keito_mcp.timesheet.matching import same_notes
from keito_mcp.timesheet.waiting import Waiting, holds_up, pause, unreachable, waits
from keito_mcp.timesheet.work import Work, Worker, utc_text
from keito_mcp.waits import LATE_ARRIVAL, NEXT_LOOK, SAME_CALL

_TAKEN_AWAY = Waiting("Another keito-mcp is sending it just now.")
_SECOND_COPY = "The entry was sent twice, and both arrived; this is the second one."


def draft(
    worker: Worker, work: Work, now: Instant, *, spent_date: date, hours: Decimal | None, key: str | None = None
) -> tuple[Entry, TimeEntryCreate]:
    """An entry that is about to be created, as the journal keeps it and as it is sent; without hours it is a timer.

    Without a key of its own it gets a new one.

    Raises:
        Problem: Its metadata is larger than Keito takes.
    """
    key = key or str(uuid.uuid4())
    is_timer = hours is None
    entry = Entry(
        entry_key=key,
        owner=worker.owner,
        state=EntryState.CREATING,
        project_id=work.project_id,
        task_id=work.task_id,
        notes=work.notes,
        is_billable=work.is_billable,
        spent_date=spent_date,
        hours=hours or Decimal(0),
        started=now if is_timer else None,
        ended=None if is_timer else now,
        host_session=worker.identity.host_session,
        changed_at=now.wall,
    )
    counted = {"is_running": True} if is_timer else {"hours": hours}
    metadata = worker.metadata(work, key, started_at=utc_text(now.wall) if is_timer else None)
    fields = {**work.fields(), **counted, "spent_date": spent_date, "source": "agent", "metadata": metadata}
    return entry, TimeEntryCreate.model_validate(fields)


async def create(
    ledger: Ledger,
    entry: Entry,
    body: TimeEntryCreate,
    *,
    call_id: str | None = None,
    fingerprint: str | None = None,
) -> TimeEntry | Waiting | Earlier:
    """Create an entry, or say what stands in the way (see `Journal.create`).

    Raises:
        JournalError: It couldn't be recorded, so nothing was sent.
        KeitoError: Keito refused it; nothing was written.
    """
    write = Write(
        account=entry.owner.account,
        kind=WriteKind.CREATE,
        entry_key=entry.entry_key,
        entry_id=None,
        body=body.body(),
        sent=ledger.clock.now(),
        idempotency_key=str(uuid.uuid4()),
        fingerprint=fingerprint,
        call_id=call_id,
        lease=ledger.journal.process,
    )
    with ledger.seeing_it_through() as deadline:
        since = entry.changed_at - SAME_CALL
        begun = await ledger.journal.create(entry, write, same_since=since, sign=ledger.sign(entry.owner))
        if isinstance(begun, Earlier):
            return begun
        return await send(ledger, replace(write, write_id=begun), entry, deadline)


async def send(ledger: Ledger, write: Write, entry: Entry, deadline: float) -> TimeEntry | Waiting:
    """Send a create that is recorded as sent; raises `KeitoError` where it was refused."""
    body = TimeEntryCreate.model_validate_json(write.json_body())
    try:
        answer = await ledger.api.create(body, idempotency_key=write.idempotency_key or "")
    except KeitoError as error:
        return await _after_failure(ledger, write, entry, error, deadline)
    await _arrived(ledger, write, entry, answer)
    return answer


async def deliver(ledger: Ledger, claimed: Claimed, entry: Entry) -> TimeEntry | Waiting | None:
    """Go on with a create where it stands: look it up, send it, or see to a second copy.

    Returns:
        The entry; why it still waits; None where nothing is left to do.

    Raises:
        KeitoError: Keito refused it.
    """
    write = claimed.write
    with ledger.seeing_it_through() as deadline:
        if write.state is WriteState.CONFIRMING:
            return await _confirm(ledger, write, entry)
        if write.state is WriteState.UNKNOWN:
            found = await _look(ledger, write, entry)
            if found is not None:
                return found
        if not await ledger.journal.send(write, ledger.clock.now()):
            return _TAKEN_AWAY
        return await send(ledger, replace(write, sends=write.sends + 1), entry, deadline)


async def _look(ledger: Ledger, write: Write, entry: Entry) -> TimeEntry | Waiting | None:
    """What became of a create that got no answer; None once it is certain enough that it never arrived."""
    try:
        found = await ledger.find(entry.entry_key, entry.spent_date)
    except CannotTell as error:
        return await waits(ledger, write, WriteState.UNKNOWN, _until_it_can_tell(write, error))
    if found is not None:
        await turned_up(ledger, write, entry, found)
        return found
    remaining = LATE_ARRIVAL - elapsed(write.sent, ledger.clock.now()).duration
    if remaining > timedelta() or not write.looks:
        seconds = max(remaining, NEXT_LOOK).total_seconds()
        return await waits(
            ledger, write, WriteState.UNKNOWN, Waiting("Keito gave no answer to it.", seconds), looked=True
        )
    if entry.is_wanted:
        return None
    return await waits(ledger, write, WriteState.CONFIRMING, Waiting("It is no longer wanted."))


def _until_it_can_tell(write: Write, error: CannotTell) -> Waiting:
    return Waiting(unreachable(error.error or error), pause(write.attempts, error.error), error.error)


async def _after_failure(
    ledger: Ledger, write: Write, entry: Entry, error: KeitoError, deadline: float
) -> TimeEntry | Waiting:
    """What became of a create that failed: it is there all the same, it waits, or it was refused."""
    if holding.is_in_the_way(ledger, write, error):
        held = await holding.hold(ledger, write, entry, error, deadline)
        if isinstance(held, TimeEntry):
            await turned_up(ledger, write, entry, held)
        return held
    found, looked = None, False
    if not error.nothing_written or isinstance(error, Conflict):
        with suppress(CannotTell):
            found, looked = await ledger.find(entry.entry_key, entry.spent_date, deadline), True
    if found is not None:
        await turned_up(ledger, write, entry, found)
        return found
    if not error.nothing_written or (isinstance(error, Conflict) and not looked):
        why = f"Keito gave no usable answer ({error})."
        seconds = LATE_ARRIVAL.total_seconds() if looked else pause(write.attempts, error)
        return await waits(ledger, write, WriteState.UNKNOWN, Waiting(why, seconds), looked=looked)
    if holds_up(error, promised=write.promised):
        waiting = Waiting(unreachable(error), pause(write.attempts, error), error)
        return await waits(ledger, write, WriteState.QUEUED, waiting)
    await ledger.settle(
        write.write_id,
        WriteState.REFUSED,
        str(error),
        entry_key=entry.entry_key,
        changes={"state": EntryState.GONE},
    )
    raise error


async def turned_up(ledger: Ledger, write: Write, entry: Entry, found: TimeEntry) -> None:
    """Record that Keito has an entry that it didn't answer.

    A person may have changed it before it was found, so what was sent stays the measure of that.
    """
    kept = answered(found)
    if not decimal_hours.same(found.hours, entry.hours):
        kept = {name: value for name, value in kept.items() if name not in {"hours", "hours_answered"}}
    if entry.notes is not None and not same_notes(found.notes, entry.notes):
        kept.pop("notes", None)
    if entry.is_billable is not None:
        kept.pop("is_billable", None)
    await _arrived(ledger, write, entry, found, kept)


async def _arrived(
    ledger: Ledger, write: Write, entry: Entry, answer: TimeEntry, kept: Mapping[str, object] | None = None
) -> None:
    """Record that Keito has an entry."""
    runs = bool(write.body.get("is_running")) and answer.is_running is not False
    await ledger.settle_all(
        Settlement(
            at=ledger.clock.now(),
            write_id=write.write_id,
            entry_key=entry.entry_key,
            changes=answered(answer) if kept is None else kept,
            arrived=runs,
        )
    )


async def _confirm(ledger: Ledger, write: Write, entry: Entry) -> Waiting | None:
    """Delete what was made twice, or is no longer wanted, unless a person has changed it."""
    try:
        copies = await ledger.find_all(entry.entry_key, entry.spent_date)
    except CannotTell as error:
        return await waits(ledger, write, WriteState.CONFIRMING, _until_it_can_tell(write, error))
    surplus = [copy for copy in copies if not (entry.is_wanted and copy.id == entry.entry_id)]
    deletes = [_delete_of(ledger, entry, copy) for copy in surplus if _is_as_made(write.body, entry, copy)]
    if deletes:
        await ledger.journal.begin(*deletes)
    outcome = WriteState.DONE
    if not entry.is_wanted:
        outcome = WriteState.REFUSED if entry.state is EntryState.GONE else WriteState.DROPPED
    await ledger.settle(write.write_id, outcome, write.reason)
    return None


def _delete_of(ledger: Ledger, entry: Entry, copy: TimeEntry) -> Write:
    return Write(
        account=entry.owner.account,
        kind=WriteKind.DELETE,
        entry_key=None,
        entry_id=copy.id,
        body={"entry": copy.model_dump(mode="json"), "reason": _SECOND_COPY},
        sent=ledger.clock.now(),
        state=WriteState.QUEUED,
        sends=0,
    )


def _is_as_made(body: Mapping[str, Any], entry: Entry, copy: TimeEntry) -> bool:
    """Whether nobody changed an entry since it was created.

    A copy that runs may be the start of a timer, sent before it was held and stopped here.
    """
    if not same_notes(body.get("notes"), copy.notes):
        return False
    if copy.is_running:
        return bool(body.get("is_running")) or entry.is_timer
    return not body.get("is_running") and ("hours" not in body or decimal_hours.same(copy.hours, _hours_of(body)))


def _hours_of(body: Mapping[str, Any]) -> Decimal:
    return Decimal(str(body["hours"]))
