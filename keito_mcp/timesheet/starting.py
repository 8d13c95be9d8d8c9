"""Starting a timer."""

from decimal import Decimal

from keito_mcp import hours as decimal_hours
from keito_mcp.answers import EntryAnswer, Status
from keito_mcp.journal import Earlier, Entry, EntryState, JournalError
from keito_mcp.keito import KeitoError, NotFound, PermissionDenied, TimeEntry, TimeEntryCreate
from keito_mcp.timesheet import creates, standing, stopping
from keito_mcp.timesheet.ledger import Ledger
from keito_mcp.timesheet.problem import NOTHING_CHANGED, Problem
from keito_mcp.timesheet.work import Work, Worker


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
        if not isinstance(made, Earlier):
            return _running(made, entry)
        shown = await _still_running(ledger, made.entry, made)
        if shown is None:
            return await _start_now(ledger, worker, work)
        # Where a stop got no answer the work ended then: what starts now is another entry's time.
        ended = made.entry.state is EntryState.STOPPING
        if _same_work(made.entry, work) and not ended:
            return EntryAnswer.of(Status.ALREADY_RUNNING, shown, known=made.entry)
        if not replace_running and not ended:
            raise _another_runs(made.entry, shown)
        stopped = await stopping.stop_running(ledger, worker.owner.account, shown, made.entry)
        message = f"Timer {stopped.id} was stopped first, with {decimal_hours.text(stopped.hours)} h."
        try:
            started = await _start_now(ledger, worker, work)
        except (Problem, KeitoError, JournalError) as error:
            error.add_note(f"All that is about the new timer. {message}")
            raise
        return started.model_copy(update={"message": message})


async def _start_now(ledger: Ledger, worker: Worker, work: Work) -> EntryAnswer:
    """Start a timer from now on: what came before is another entry's time."""
    entry, body = _timer(ledger, worker, work)
    made = await creates.create(ledger, entry, body)
    if isinstance(made, Earlier):
        raise _another_runs(made.entry, None)
    return _running(made, entry)


def _running(made: TimeEntry, entry: Entry) -> EntryAnswer:
    if made.is_running is False:
        raise Problem(
            f"Keito made entry {made.id}, but doesn't run it.",
            f"It stands in Keito with {decimal_hours.text(made.hours or Decimal(0))} h.",
            f"When the work is done, call stop_timer with entry_id {made.id} and the hours.",
        )
    return EntryAnswer.of(Status.RUNNING, made, known=entry)


def _timer(ledger: Ledger, worker: Worker, work: Work) -> tuple[Entry, TimeEntryCreate]:
    now = ledger.clock.now()
    return creates.draft(worker, work, now, spent_date=ledger.day(now.wall), hours=None)


async def _still_running(ledger: Ledger, entry: Entry, earlier: Earlier) -> TimeEntry | None:
    """The open timer as Keito shows it now; None, and settled, where it no longer runs."""
    if entry.entry_id is None:
        shown = await creates.resolve(ledger, earlier)
        if shown is None:
            await creates.give_up(ledger, earlier)
            return None
    else:
        try:
            shown = await ledger.get(entry.entry_id)
        except NotFound:
            await ledger.seen(entry, EntryState.GONE)
            return None
        except PermissionDenied:
            await ledger.seen(entry, EntryState.REFUSED)
            return None
    if standing.runs(entry, shown) is False:
        person = await standing.changed_by_a_person(ledger, entry, shown)
        await ledger.seen(entry, EntryState.STOPPED, shown, person=person)
        return None
    return shown


def _same_work(entry: Entry, work: Work) -> bool:
    same_place = (entry.project_id, entry.task_id) == (work.project_id, work.task_id)
    return same_place and standing.same_notes(entry.notes, work.notes)


def _another_runs(entry: Entry, running: TimeEntry | None) -> Problem:
    entry_id = running.id if running else entry.entry_id or "that is being started"
    about = f": {entry.notes[:80]!r}" if entry.notes else ""
    return Problem(
        f"Timer {entry_id} already runs for this agent, for other work (project {entry.project_id}{about}).",
        NOTHING_CHANGED,
        "Call stop_timer first, or start_timer with replace_running=true to stop that one and start this.",
    )
