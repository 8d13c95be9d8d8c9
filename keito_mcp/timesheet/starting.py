"""Starting a timer."""

import uuid
from decimal import Decimal

from keito_mcp import hours as decimal_hours
from keito_mcp.answers import EntryAnswer, Status
from keito_mcp.journal import Earlier, Entry, EntryState
from keito_mcp.keito import NotFound, TimeEntry, TimeEntryCreate
from keito_mcp.timesheet import creates, stopping
from keito_mcp.timesheet.ledger import Ledger
from keito_mcp.timesheet.problem import NOTHING_CHANGED, Problem
from keito_mcp.timesheet.work import Work, Worker, utc_text


async def start(ledger: Ledger, worker: Worker, work: Work, *, replace_running: bool) -> EntryAnswer:
    """Start a timer for an agent that has none; the same one again is the same timer.

    Args:
        ledger: Where it is recorded and sent.
        worker: Whose timer it is.
        work: What the timer is for.
        replace_running: Whether a timer for other work may be stopped for this one.

    Raises:
        Problem: Another timer of this agent runs, or it isn't known what became of one.
        JournalError: Nothing was sent.
        KeitoError: Keito refused or can't be reached.
    """
    async with ledger.one_at_a_time(*worker.owner.key):
        entry, body = _timer(ledger, worker, work)
        made = await creates.create(ledger, entry, body)
        message = None
        if isinstance(made, Earlier):
            running = await _still_running(ledger, made)
            if running is not None:
                if _same_work(made.entry, work):
                    return EntryAnswer.of(Status.ALREADY_RUNNING, running, known=made.entry)
                if not replace_running:
                    raise _another_runs(made.entry, running)
                stopped = await stopping.stop_running(ledger, worker.owner.account, running, made.entry)
                message = f"Timer {stopped.id} was stopped first, with {decimal_hours.text(stopped.hours)} h."
            # It starts now: what came before is another entry's time.
            entry, body = _timer(ledger, worker, work)
            made = await creates.create(ledger, entry, body)
        if isinstance(made, Earlier):
            raise _another_runs(made.entry, None)
        return EntryAnswer.of(Status.RUNNING, made, known=entry, message=message)


def _timer(ledger: Ledger, worker: Worker, work: Work) -> tuple[Entry, TimeEntryCreate]:
    now = ledger.clock.now()
    key = str(uuid.uuid4())
    entry = Entry(
        entry_key=key,
        owner=worker.owner,
        state=EntryState.CREATING,
        project_id=work.project_id,
        task_id=work.task_id,
        notes=work.notes,
        is_billable=work.is_billable,
        spent_date=ledger.day(now.wall),
        hours=Decimal(0),
        started=now,
        changed_at=now.wall,
    )
    metadata = worker.metadata(work, key, started_at=utc_text(now.wall))
    body = TimeEntryCreate(
        **work.fields(), spent_date=entry.spent_date, is_running=True, source="agent", metadata=metadata
    )
    return entry, body


async def _still_running(ledger: Ledger, earlier: Earlier) -> TimeEntry | None:
    """The open timer as Keito shows it now; None, and settled, where it no longer runs."""
    entry = earlier.entry
    if entry.entry_id is None:
        found = await creates.resolve(ledger, earlier)
        if found is None:
            await creates.give_up(ledger, earlier)
    else:
        try:
            found = await ledger.api.get(entry.entry_id)
        except NotFound:
            found = None
            await ledger.seen(entry, EntryState.GONE)
    if found is not None and found.is_running is False:
        await ledger.seen(entry, EntryState.STOPPED, found.hours)
        return None
    return found


def _same_work(entry: Entry, work: Work) -> bool:
    return (entry.project_id, entry.task_id, entry.notes) == (work.project_id, work.task_id, work.notes)


def _another_runs(entry: Entry, running: TimeEntry | None) -> Problem:
    entry_id = running.id if running else entry.entry_id or "that is being started"
    about = f": {entry.notes[:80]!r}" if entry.notes else ""
    return Problem(
        f"Timer {entry_id} already runs for this agent, for other work (project {entry.project_id}{about}).",
        NOTHING_CHANGED,
        "Call stop_timer first, or start_timer with replace_running=true to stop that one and start this.",
    )
