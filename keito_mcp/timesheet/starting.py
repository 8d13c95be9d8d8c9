"""Starting a timer."""

from dataclasses import dataclass
from decimal import Decimal

from keito_mcp import hours as decimal_hours
from keito_mcp.journal import Earlier, Entry, EntryState, JournalError
from keito_mcp.keito import KeitoError, NotFound, PermissionDenied, TimeEntry, TimeEntryCreate
from keito_mcp.server.answers import EntryAnswer, Status
from keito_mcp.timesheet import creates, finding, holding, standing, stopping
from keito_mcp.timesheet.ledger import Ledger
from keito_mcp.timesheet.matching import same_notes
from keito_mcp.timesheet.problem import NOTHING_CHANGED, Problem
from keito_mcp.timesheet.waiting import Waiting, is_away, queued, unreachable
from keito_mcp.timesheet.work import Work, Worker


async def start(ledger: Ledger, worker: Worker, work: Work, *, replace_running: bool) -> EntryAnswer:
    """Start a timer for an agent that has none; the same one again is the same timer.

    Args:
        ledger: Where it is recorded and sent.
        worker: Whose timer it is.
        work: What the timer is for.
        replace_running: Whether a timer for other work may be stopped for this one.

    Raises:
        Problem: Another timer of this agent runs.
        JournalError: Nothing was sent.
        KeitoError: Keito refused it.
    """
    async with ledger.one_at_a_time(*worker.owner.key):
        elsewhere = await finding.started_elsewhere(ledger, worker)
        if elsewhere is not None:
            return await _beside(ledger, worker, work, elsewhere, replace_running=replace_running)
        entry, body = _timer(ledger, worker, work)
        made = await creates.create(ledger, entry, body)
        if not isinstance(made, Earlier):
            own = await _own_timer_beside(ledger, worker, made)
            if own is None:
                return _running(made, entry)
            await holding.withdraw(ledger, entry)
            return await _beside(ledger, worker, work, own, replace_running=replace_running)
        runs = await _still_running(ledger, made)
        if runs is None:
            return await _start_next(ledger, worker, work, replace_running=replace_running)
        if _same_work(runs.entry, work):
            return EntryAnswer.of(Status.ALREADY_RUNNING, runs.shown, known=runs.entry, message=runs.unverified)
        if not replace_running:
            raise _another_runs(runs.entry.handle, runs.entry)
        await standing.refuse_an_unknown_agent(ledger, worker)
        return await _replace(ledger, worker, work, runs)


@dataclass(frozen=True, slots=True)
class _Runs:
    """A timer that runs, as Keito shows it; or as this machine knows it, and why that couldn't be verified."""

    entry: Entry
    shown: TimeEntry | None = None
    unverified: str | None = None


async def _own_timer_beside(ledger: Ledger, worker: Worker, made: TimeEntry | Waiting) -> TimeEntry | None:
    """This agent's own timer, started from elsewhere, where it is that which is in the way of a new one.

    One that this machine knows to be over here isn't: Keito refused to stop it, or a person started it again.
    """
    beside = made.beside if isinstance(made, Waiting) else None
    if beside is None or await ledger.journal.find(worker.owner.account, beside.id) is not None:
        return None
    return beside if await finding.is_own(ledger, worker, beside) else None


async def _beside(
    ledger: Ledger, worker: Worker, work: Work, shown: TimeEntry, *, replace_running: bool
) -> EntryAnswer:
    """Start a timer for an agent whose timer runs already, though not by this server."""
    if _same_work(shown, work):
        return EntryAnswer.of(Status.ALREADY_RUNNING, shown)
    if not replace_running:
        raise _another_runs(shown.id, shown)
    await standing.refuse_an_unknown_agent(ledger, worker)
    return await _started_after(ledger, worker, work, await stopping.stop_running(ledger, worker, shown, None))


async def _replace(ledger: Ledger, worker: Worker, work: Work, runs: _Runs) -> EntryAnswer:
    """Stop a timer, and start one for other work."""
    if runs.shown is None:
        stopped = await stopping.end_here(ledger, worker, runs.entry, Waiting(runs.unverified or ""))
    else:
        stopped = await stopping.stop_running(ledger, worker, runs.shown, runs.entry)
    return await _started_after(ledger, worker, work, stopped)


async def _started_after(ledger: Ledger, worker: Worker, work: Work, stopped: EntryAnswer) -> EntryAnswer:
    message = f"Timer {stopped.id} was stopped first, with {decimal_hours.text(stopped.hours)} h."
    try:
        started = await _start_now(ledger, worker, work)
    except (Problem, KeitoError, JournalError) as error:
        error.add_note(f"All that is about the new timer. {message}")
        raise
    return started.saying(message)


async def _start_next(ledger: Ledger, worker: Worker, work: Work, *, replace_running: bool) -> EntryAnswer:
    """Start a timer after one that turned out to be stopped, by another replica perhaps, which started the next one."""
    elsewhere = await finding.started_elsewhere(ledger, worker)
    if elsewhere is not None:
        return await _beside(ledger, worker, work, elsewhere, replace_running=replace_running)
    return await _start_now(ledger, worker, work)


async def _start_now(ledger: Ledger, worker: Worker, work: Work) -> EntryAnswer:
    """Start a timer from now on: what came before is another entry's time."""
    entry, body = _timer(ledger, worker, work)
    made = await creates.create(ledger, entry, body)
    if isinstance(made, Earlier):
        raise _another_runs(made.entry.handle, made.entry)
    return _running(made, entry)


def _running(made: TimeEntry | Waiting, entry: Entry) -> EntryAnswer:
    if isinstance(made, Waiting) and made.is_held:
        return EntryAnswer.of(Status.RUNNING_LOCALLY, known=entry, message=made.why)
    if isinstance(made, Waiting):
        return queued(entry, made).saying("The timer runs on this machine; stop_timer stops it as usual.")
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


async def _still_running(ledger: Ledger, earlier: Earlier) -> _Runs | None:
    """The open timer; None, and settled, where it no longer runs."""
    entry = earlier.entry
    try:
        if entry.entry_id:
            shown: TimeEntry | Waiting = await ledger.get(entry.entry_id, near=entry.spent_date)
        else:
            shown = await stopping.arrive(ledger, entry)
    except KeitoError as error:
        if entry.entry_id is not None and is_away(error):
            return _Runs(entry, unverified=f"{unreachable(error)} As far as this machine knows, it runs.")
        await _no_longer_runs(ledger, entry, error)
        return None
    if isinstance(shown, Waiting):
        return _Runs(entry, unverified=shown.text)
    if standing.runs(entry, shown) is False:
        person = await standing.changed_by_a_person(ledger, entry, shown)
        await ledger.seen(entry, EntryState.STOPPED, shown, person=person)
        return None
    return _Runs(entry, shown)


async def _no_longer_runs(ledger: Ledger, entry: Entry, error: KeitoError) -> None:
    """Settle a timer that Keito refused to make, or doesn't show; raises any other error."""
    if isinstance(error, NotFound):
        await ledger.seen(entry, EntryState.GONE)
    elif isinstance(error, PermissionDenied) and entry.entry_id is not None:
        await ledger.seen(entry, EntryState.REFUSED)
    elif entry.entry_id is not None:
        raise error


def _same_work(entry: Entry | TimeEntry, work: Work) -> bool:
    same_place = (entry.project_id, entry.task_id) == (work.project_id, work.task_id)
    return same_place and same_notes(entry.notes, work.notes)


def _another_runs(handle: str, entry: Entry | TimeEntry) -> Problem:
    about = f": {entry.notes[:80]!r}" if entry.notes else ""
    return Problem(
        f"Timer {handle} already runs for this agent, for other work (project {entry.project_id}{about}).",
        NOTHING_CHANGED,
        "Call stop_timer first, or start_timer with replace_running=true to stop that one and start this.",
    )
