"""Stopping a timer, and correcting an entry that was finished."""

from datetime import timedelta
from decimal import Decimal

from keito_mcp import hours as decimal_hours
from keito_mcp.answers import EntryAnswer, Status
from keito_mcp.clock import Elapsed, Instant, elapsed
from keito_mcp.journal import Earlier, Entry, EntryState
from keito_mcp.keito import NotFound, TimeEntry, TimeEntryFilter, TimeEntryUpdate
from keito_mcp.timesheet import changes, creates
from keito_mcp.timesheet.ledger import MOST_PAGES, PAGE_LIMIT, Ledger
from keito_mcp.timesheet.problem import NOTHING_CHANGED, Problem
from keito_mcp.timesheet.work import Worker, parse_utc

LONGEST_TIMER = timedelta(hours=8)
"""The most that a running timer counts."""


async def stop(
    ledger: Ledger, worker: Worker, entry_id: str | None, notes: str | None, hours: Decimal | None
) -> EntryAnswer:
    """Stop a timer of this agent, or correct an entry of its session that was finished.

    Args:
        ledger: Where it is recorded and sent.
        worker: Whose timer it is.
        entry_id: Keito's id; without one, the timer that runs for this agent.
        notes: Notes to put in place of those from the start.
        hours: Decimal hours to count in place of the elapsed time.

    Raises:
        Problem: There is nothing that may be stopped.
        JournalError: Nothing was sent.
        KeitoError: Keito refused or can't be reached.
    """
    async with ledger.one_at_a_time(*worker.owner.key):
        if entry_id is None:
            known = await ledger.journal.open_timer(worker.owner)
            entry = await _shown(ledger, known) if known else await _running_in_keito(ledger, worker)
            if entry is None:
                return await _nothing_runs(ledger, worker)
        else:
            known = await ledger.journal.find(worker.owner.account, entry_id)
            if known and known.state is EntryState.STOPPED and notes is None and hours is None:
                return EntryAnswer.of(Status.ALREADY_STOPPED, known=known)
            entry = await _read(ledger, entry_id, known)
            _refuse_what_is_not_ours(worker, known, entry)
        if entry.is_running is not False:
            return await stop_running(ledger, worker.owner.account, entry, known, notes=notes, hours=hours)
        return await _finished(ledger, worker, known, entry, notes, hours)


async def stop_running(
    ledger: Ledger,
    account: str,
    entry: TimeEntry,
    known: Entry | None,
    *,
    notes: str | None = None,
    hours: Decimal | None = None,
) -> EntryAnswer:
    """Stop a timer that Keito has just shown to run; raises as `stop` does."""
    message = None
    if hours is None:
        hours, message = await _hours(ledger, entry, known)
    given = {"hours": hours, "is_running": False} | ({} if notes is None else {"notes": notes})
    answer = await changes.update(ledger, account, entry.id, known, TimeEntryUpdate.model_validate(given))
    return EntryAnswer.of(Status.STOPPED, answer, known=known, message=message)


async def _hours(ledger: Ledger, entry: TimeEntry, known: Entry | None) -> tuple[Decimal, str | None]:
    """The hours since a timer's start, and what the agent must know about them."""
    if known and (unsettled := await ledger.unsettled_stop(known)) is not None:
        return unsettled, None
    took = _elapsed(entry, known, ledger.clock.now())
    if took is None:
        return (
            entry.hours or decimal_hours.LEAST,
            "The start isn't known here; the hours are Keito's own count.",
        )
    if took.duration > LONGEST_TIMER:
        most, ran = decimal_hours.of_duration(LONGEST_TIMER), decimal_hours.of_duration(took.duration)
        return most, (
            f"It ran for {decimal_hours.text(ran)} h; a timer counts {decimal_hours.text(most)} h at most. "
            "If all of it was work, correct it with stop_timer, this entry_id and hours."
        )
    message = None
    if took.clock_moved:
        message = (
            "The machine slept or its clock was changed while the timer ran; that time isn't counted. "
            "If it was work, correct it with stop_timer, this entry_id and hours."
        )
    return decimal_hours.of_duration(took.duration), message


def _elapsed(entry: TimeEntry, known: Entry | None, now: Instant) -> Elapsed | None:
    if known is not None and known.started is not None:
        return elapsed(known.started, now)
    started = parse_utc(entry.fact("started_at")) or entry.created_at
    if started is None or started.tzinfo is None:
        return None
    # Another machine's start: its monotonic clock says nothing here.
    return elapsed(Instant(started, 0.0, boot_id="elsewhere"), now)


async def _shown(ledger: Ledger, known: Entry) -> TimeEntry:
    """This agent's open timer, as Keito shows it."""
    if known.entry_id is not None:
        return await _read(ledger, known.entry_id, known)
    [write, *_] = await ledger.journal.unsettled(known.owner.account, known.entry_key)
    earlier = Earlier(known, write)
    found = await creates.resolve(ledger, earlier)
    if found is None:
        await creates.give_up(ledger, earlier)
        raise Problem(
            "The timer never reached Keito: its start got no answer, and nothing arrived since.",
            "No entry exists for it.",
            "Log the work with log_time.",
        )
    return found


async def _read(ledger: Ledger, entry_id: str, known: Entry | None) -> TimeEntry:
    try:
        return await ledger.api.get(entry_id)
    except NotFound as error:
        if known is None:
            raise
        await ledger.seen(known, EntryState.GONE)
        raise Problem(
            f"Entry {entry_id} is no longer in Keito: it was deleted there.",
            "No time stands for it.",
            "If the work should count, log it with log_time.",
        ) from error


def _refuse_what_is_not_ours(worker: Worker, known: Entry | None, entry: TimeEntry) -> None:
    """An entry that this agent may change is an agent's, and of this agent or its session."""
    if known is None and entry.source != "agent":
        raise Problem(
            f"Entry {entry.id} was not made by an agent, so no tool changes it.",
            NOTHING_CHANGED,
            "Leave it to the person who made it.",
        )
    ours = known is not None or (
        entry.fact("agent_id") == worker.owner.agent_id or entry.fact("session_id") == worker.owner.session_id
    )
    if not ours:
        raise Problem(
            f"Entry {entry.id} belongs to agent {entry.fact('agent_id') or 'unknown'}, in another session.",
            NOTHING_CHANGED,
            "Stop only timers of this agent or this session; list_entries shows them.",
        )


async def _running_in_keito(ledger: Ledger, worker: Worker) -> TimeEntry | None:
    """This agent's timer that another machine or server started, where the session can be recognized."""
    owner = worker.owner
    if not owner.session_is_certain:
        return None
    wanted = TimeEntryFilter(source="agent", is_running=True, limit=PAGE_LIMIT)
    running = [
        entry
        async for page in ledger.api.pages(wanted, at_most=MOST_PAGES)
        for entry in page.data
        if entry.source == "agent"
        and entry.fact("session_id") == owner.session_id
        and entry.fact("agent_id") == owner.agent_id
        and (entry.fact("subagent_id") or "") == owner.subagent_id
    ]
    if len(running) > 1:
        raise Problem(
            f"{len(running)} timers run for this agent: {', '.join(entry.id for entry in running)}.",
            NOTHING_CHANGED,
            "Call stop_timer with the entry_id of one of them.",
        )
    return running[0] if running else None


async def _nothing_runs(ledger: Ledger, worker: Worker) -> EntryAnswer:
    last = await ledger.journal.last_stopped(worker.owner)
    if last is None:
        raise Problem(
            "No timer of this agent runs, and none was stopped in this session.",
            NOTHING_CHANGED,
            "Log finished work with log_time; call start_timer before the next work.",
        )
    return EntryAnswer.of(
        Status.ALREADY_STOPPED,
        known=last,
        message="This is the last one stopped. To correct it, call stop_timer with its entry_id.",
    )


async def _finished(
    ledger: Ledger,
    worker: Worker,
    known: Entry | None,
    entry: TimeEntry,
    notes: str | None,
    hours: Decimal | None,
) -> EntryAnswer:
    """What a call does to an entry that doesn't run: correct it, or leave it as a person left it."""
    if known is not None and known.state is not EntryState.STOPPED:
        by_us = decimal_hours.same(entry.hours, await ledger.unsettled_stop(known))
        await ledger.seen(known, EntryState.STOPPED, entry.hours)
        if by_us:
            return EntryAnswer.of(Status.STOPPED, entry, known=known)
        return _left_alone(known, entry, "It was stopped in Keito, not by this agent, and is left as it is.")
    given = {
        name: value
        for name, value in (("hours", hours), ("notes", notes))
        if value is not None and value != getattr(entry, name)
    }
    if not given:
        return EntryAnswer.of(Status.ALREADY_STOPPED, entry, known=known)
    if known is None or known.owner.session_id != worker.owner.session_id:
        return _left_alone(known, entry, "It was finished outside of this session, and is left as it is.")
    if entry.hours != known.hours:
        return _left_alone(
            known,
            entry,
            f"Its hours were changed in Keito since (from {decimal_hours.text(known.hours)}); it is left as it is.",
        )
    answer = await changes.update(ledger, worker.owner.account, entry.id, known, TimeEntryUpdate.model_validate(given))
    return EntryAnswer.of(Status.UPDATED, answer, known=known)


def _left_alone(known: Entry | None, entry: TimeEntry, why: str) -> EntryAnswer:
    message = f"{why} If time is missing, log it as a new entry with log_time."
    return EntryAnswer.of(Status.ALREADY_STOPPED, entry, known=known, message=message)
