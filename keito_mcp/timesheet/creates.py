"""Creating an entry exactly once: recorded, sent, and looked up by its key when no answer came."""

import uuid
from datetime import timedelta
from math import ceil

from keito_mcp.journal import Earlier, Entry, EntryState, Write, WriteKind, WriteState
from keito_mcp.keito import Conflict, KeitoError, TimeEntry, TimeEntryCreate
from keito_mcp.timesheet.ledger import Ledger
from keito_mcp.timesheet.problem import Problem

LATE_ARRIVAL = timedelta(seconds=120)
"""How long a create that got no answer may still turn up in Keito; before that it is never sent again."""

SAME_CALL = timedelta(minutes=2)
"""Within this, the same call of the same agent is taken for one call that was made twice."""


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
        sent_at=entry.changed_at,
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
        KeitoError: Keito can't be asked.
        Problem: It isn't there, but may still turn up.
    """
    found = await ledger.find(earlier.entry.entry_key, earlier.entry.spent_date)
    if found is not None:
        await _created(ledger, earlier.write.write_id, earlier.entry, found)
        return found
    remaining = LATE_ARRIVAL - (ledger.clock.now().wall - earlier.write.sent_at)
    if remaining > timedelta():
        raise _outcome_unknown("The same call was made before, and Keito gave no answer to it.", remaining)
    return None


async def send_again(ledger: Ledger, earlier: Earlier) -> TimeEntry:
    """Send a create once more that `resolve` found nothing of: the same entry under the same keys."""
    write = earlier.write
    body = TimeEntryCreate.model_validate_json(write.json_body())
    with ledger.seeing_it_through() as deadline:
        await ledger.journal.resend(write.write_id, ledger.clock.now().wall)
        return await _send(ledger, earlier.entry, body, write.write_id, write.idempotency_key or "", deadline)


async def give_up(ledger: Ledger, earlier: Earlier) -> None:
    """Settle a create that never arrived as not written."""
    await ledger.settle(
        earlier.write.write_id,
        WriteState.REFUSED,
        "it never arrived",
        entry_key=earlier.entry.entry_key,
        changes={"state": EntryState.GONE},
    )


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
    refused = error.nothing_written
    if not refused or isinstance(error, Conflict):
        found = await ledger.find_by(deadline, entry.entry_key, entry.spent_date)
        if found is not None:
            return found
    if refused:
        await ledger.settle(
            write_id,
            WriteState.REFUSED,
            str(error),
            entry_key=entry.entry_key,
            changes={"state": EntryState.GONE},
        )
        raise error
    await ledger.settle(write_id, WriteState.UNKNOWN, str(error))
    raise _outcome_unknown(f"Keito gave no usable answer ({error}).", LATE_ARRIVAL) from error


async def _created(ledger: Ledger, write_id: int, entry: Entry, answer: TimeEntry) -> None:
    running = entry.is_timer and answer.is_running is not False
    await ledger.settle(
        write_id,
        entry_key=entry.entry_key,
        changes={
            "entry_id": answer.id,
            "state": EntryState.RUNNING if running else EntryState.STOPPED,
            "hours": entry.hours if answer.hours is None else answer.hours,
        },
    )


def _outcome_unknown(happened: str, remaining: timedelta) -> Problem:
    return Problem(
        happened,
        "The entry isn't in Keito now, but it may still turn up there.",
        f"Make exactly the same call again in {ceil(remaining.total_seconds())} s: it looks the entry up by its "
        "key first, and writes it only if it never arrived. A different call would be a second entry.",
    )
