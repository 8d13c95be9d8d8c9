"""Creating an entry exactly once: recorded, sent, and looked up by its key when no answer came."""

import uuid
from datetime import date, timedelta
from decimal import Decimal
from math import ceil

from keito_mcp.clock import Instant, elapsed
from keito_mcp.journal import Earlier, Entry, EntryState, Write, WriteKind, WriteState
from keito_mcp.keito import Conflict, KeitoError, TimeEntry, TimeEntryCreate
from keito_mcp.timesheet.ledger import CannotTell, Ledger, answered
from keito_mcp.timesheet.problem import Problem
from keito_mcp.timesheet.work import Work, Worker, utc_text

LATE_ARRIVAL = timedelta(seconds=120)
"""How long a create that got no answer may still turn up in Keito; before that it is never sent again."""

SAME_CALL = timedelta(minutes=2)
"""Within this, the same call of the same agent is taken for one call that was made twice."""


def draft(
    worker: Worker, work: Work, now: Instant, *, spent_date: date, hours: Decimal | None
) -> tuple[Entry, TimeEntryCreate]:
    """An entry that is about to be created, as the journal keeps it and as it is sent; without hours it is a timer.

    Raises:
        Problem: Its metadata is larger than Keito takes.
    """
    key = str(uuid.uuid4())
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
) -> TimeEntry | Earlier:
    """Create an entry, or say what stands in the way (see `Journal.create`).

    Raises:
        JournalError: It couldn't be recorded, so nothing was sent.
        KeitoError: Keito refused it; nothing was written.
        Problem: Whether it was written isn't known.
    """
    key = str(uuid.uuid4())
    write = Write(
        account=entry.owner.account,
        kind=WriteKind.CREATE,
        entry_key=entry.entry_key,
        entry_id=None,
        body=body.body(),
        sent=ledger.clock.now(),
        idempotency_key=key,
        fingerprint=fingerprint,
        call_id=call_id,
    )
    with ledger.seeing_it_through() as deadline:
        begun = await ledger.journal.create(entry, write, same_since=entry.changed_at - SAME_CALL)
        if isinstance(begun, Earlier):
            return begun
        return await _send(ledger, entry, body, begun, key, deadline)


async def resolve(ledger: Ledger, earlier: Earlier) -> TimeEntry | None:
    """What became of an earlier create that got no answer.

    Returns:
        The entry, if Keito has it; None once it is certain enough that it never will.

    Raises:
        Problem: It isn't there but may still turn up, or Keito can't be asked.
    """
    happened = f"Keito gave no answer to {'the start of this timer' if earlier.entry.is_timer else 'this call'} before."
    try:
        found = await ledger.find(earlier.entry.entry_key, earlier.entry.spent_date)
    except CannotTell as error:
        raise _outcome_unknown(f"{happened} Now it can't be asked ({error}).", LATE_ARRIVAL, looked=False) from error
    if found is not None:
        await _created(ledger, earlier.write.write_id, earlier.entry, found)
        return found
    remaining = LATE_ARRIVAL - elapsed(earlier.write.sent, ledger.clock.now()).duration
    if remaining > timedelta():
        raise _outcome_unknown(happened, remaining, looked=True)
    return None


async def send_again(ledger: Ledger, earlier: Earlier) -> TimeEntry:
    """Send a create once more that `resolve` found nothing of: the same entry under the same keys."""
    write = earlier.write
    body = TimeEntryCreate.model_validate_json(write.json_body())
    with ledger.seeing_it_through() as deadline:
        if not await ledger.journal.resend(write, ledger.clock.now()):
            raise _outcome_unknown("Another server is sending this entry just now.", LATE_ARRIVAL, looked=True)
        return await _send(ledger, earlier.entry, body, write.write_id, write.idempotency_key or "", deadline)


async def give_up(ledger: Ledger, earlier: Earlier) -> None:
    """Settle a create that never arrived as not written."""
    await _not_created(ledger, earlier.write.write_id, earlier.entry, "it never arrived")


async def _send(
    ledger: Ledger, entry: Entry, body: TimeEntryCreate, write_id: int, key: str, deadline: float
) -> TimeEntry:
    try:
        answer = await ledger.api.create(body, idempotency_key=key)
    except KeitoError as error:
        answer = await _found_after(ledger, entry, write_id, error, deadline)
    await _created(ledger, write_id, entry, answer)
    return answer


async def _found_after(ledger: Ledger, entry: Entry, write_id: int, error: KeitoError, deadline: float) -> TimeEntry:
    """The entry that was written although its create failed; raises where there is none."""
    found, looked = None, True
    if not error.nothing_written or isinstance(error, Conflict):
        try:
            found = await ledger.find(entry.entry_key, entry.spent_date, deadline)
        except CannotTell:
            looked = False
    if found is not None:
        return found
    if error.nothing_written and looked:
        await _not_created(ledger, write_id, entry, str(error))
        raise error
    await ledger.settle(write_id, WriteState.UNKNOWN, str(error))
    raise _outcome_unknown(f"Keito gave no usable answer ({error}).", LATE_ARRIVAL, looked=looked) from error


async def _not_created(ledger: Ledger, write_id: int, entry: Entry, reason: str) -> None:
    gone = {"state": EntryState.GONE}
    await ledger.settle(write_id, WriteState.REFUSED, reason, entry_key=entry.entry_key, changes=gone)


async def _created(ledger: Ledger, write_id: int, entry: Entry, answer: TimeEntry) -> None:
    running = entry.is_timer and answer.is_running is not False
    state = EntryState.RUNNING if running else EntryState.STOPPED
    await ledger.settle(write_id, entry_key=entry.entry_key, changes={"state": state, **answered(answer)})


def _outcome_unknown(happened: str, remaining: timedelta, *, looked: bool) -> Problem:
    certain = (
        "The entry isn't in Keito now, but it may still turn up there."
        if looked
        else "Whether the entry is in Keito isn't known; it may still turn up there."
    )
    return Problem(
        happened,
        certain,
        f"Make exactly the same call again in {ceil(remaining.total_seconds())} s: it looks for the entry's key first, "
        "and writes only what never arrived. Logging the work by a different call would bill it twice.",
    )
