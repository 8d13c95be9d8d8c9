"""Stopping a timer, and correcting an entry that was finished."""

from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal

from keito_mcp import hours as decimal_hours
from keito_mcp.answers import EntryAnswer, Status
from keito_mcp.clock import Elapsed, Instant, elapsed
from keito_mcp.journal import Earlier, Entry, EntryState
from keito_mcp.keito import TimeEntry, TimeEntryFilter, TimeEntryUpdate
from keito_mcp.timesheet import changes, creates, standing
from keito_mcp.timesheet.ledger import MOST_PAGES, PAGE_LIMIT, Ledger
from keito_mcp.timesheet.problem import NOTHING_CHANGED, Problem
from keito_mcp.timesheet.work import Worker, parse_utc

LONGEST_TIMER = timedelta(hours=8)
"""The most that a running timer counts."""

_CORRECT_IT = "correct them with stop_timer, this entry_id and hours"


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
    account = worker.owner.account
    asked = _Asked(hours=hours, notes=notes)
    if entry_id is None:
        async with ledger.one_at_a_time(*worker.owner.key):
            known = await ledger.journal.open_timer(worker.owner)
            shown = await _own_timer(ledger, known) if known else await _running_in_keito(ledger, worker)
            if shown is None:
                return await _nothing_runs(ledger, worker)
            known = known or await ledger.journal.find(account, shown.id)
            return await _stop_or_correct(ledger, worker, shown, known, asked)
    owner = worker.owner
    if (known := await ledger.journal.find(account, entry_id)) is not None:
        owner = known.owner
    async with ledger.one_at_a_time(*owner.key):
        known = await ledger.journal.find(account, entry_id)
        if known and known.state is EntryState.STOPPED and asked.nothing:
            return EntryAnswer.of(Status.ALREADY_STOPPED, known=known)
        shown = await standing.read(ledger, entry_id, known)
        standing.refuse_what_is_not_ours(worker, known, shown)
        return await _stop_or_correct(ledger, worker, shown, known, asked)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a call wants an entry to have."""

    hours: Decimal | None
    notes: str | None

    @property
    def nothing(self) -> bool:
        """Whether the call asks for nothing but a stop."""
        return self.hours is None and self.notes is None

    def differing(self, shown: TimeEntry) -> dict[str, object]:
        """What of it an entry doesn't have yet."""
        differing: dict[str, object] = {}
        if self.hours is not None and self.hours != shown.hours:
            differing["hours"] = self.hours
        if self.notes is not None and not standing.same_notes(self.notes, shown.notes):
            differing["notes"] = self.notes
        return differing


async def _stop_or_correct(
    ledger: Ledger, worker: Worker, shown: TimeEntry, known: Entry | None, asked: _Asked
) -> EntryAnswer:
    running = standing.runs(known, shown)
    if running is None:
        raise Problem(
            f"Keito doesn't say whether entry {shown.id} runs, and it wasn't started on this machine.",
            NOTHING_CHANGED,
            "Look at it with list_entries, or leave it to a person.",
        )
    if known is not None:
        why = await standing.changed_by_a_person(ledger, known, shown)
        if why is not None:
            if known.person is None:
                await ledger.seen(known, EntryState.STOPPED, shown, person=why)
            return _left_alone(known, shown, why)
    if running:
        return await _stop(ledger, worker, shown, known, asked)
    return await _correct(ledger, worker, shown, known, asked)


async def _stop(ledger: Ledger, worker: Worker, shown: TimeEntry, known: Entry | None, asked: _Asked) -> EntryAnswer:
    """Stop a timer, but leave the notes to a person who edited something of it."""
    if known is not None and known.state is EntryState.REFUSED and asked.hours is None:
        raise Problem(
            f"Keito refused to let timer {shown.id} be stopped before.",
            NOTHING_CHANGED,
            "To try again, call stop_timer with its entry_id and the hours that were worked on it.",
        )
    edited = standing.edited_by_a_person(known, shown) if known else None
    notes = None if edited else asked.notes
    answer = await stop_running(ledger, worker.owner.account, shown, known, notes=notes, hours=asked.hours)
    if not edited or asked.notes is None:
        return answer
    said = f"{edited} So the notes were left as they are."
    return answer.model_copy(update={"message": f"{answer.message} {said}" if answer.message else said})


async def stop_running(
    ledger: Ledger,
    account: str,
    shown: TimeEntry,
    known: Entry | None,
    *,
    notes: str | None = None,
    hours: Decimal | None = None,
) -> EntryAnswer:
    """Stop a timer that Keito has just shown to run; raises as `stop` does."""
    message = None
    if hours is None:
        hours, message = await _hours(ledger, shown, known)
    given = {"hours": hours, "is_running": False} | ({} if notes is None else {"notes": notes})
    answer = await changes.update(ledger, account, shown, known, TimeEntryUpdate.model_validate(given))
    return EntryAnswer.of(Status.STOPPED, answer, known=known, message=message)


async def _hours(ledger: Ledger, shown: TimeEntry, known: Entry | None) -> tuple[Decimal, str | None]:
    """The hours since a timer's start, and what the agent must know about them."""
    if known and (unsettled := await ledger.unsettled_stop(known)) is not None:
        return unsettled, "These are the hours up to the first call that stopped it, which Keito didn't answer."
    took = _elapsed(shown, known, ledger.clock.now())
    if took is None:
        raise Problem(
            f"When timer {shown.id} started isn't known here.",
            NOTHING_CHANGED,
            "Call stop_timer with its entry_id and hours.",
        )
    if took.duration > LONGEST_TIMER:
        most, ran = decimal_hours.of_duration(LONGEST_TIMER), decimal_hours.of_duration(took.duration)
        return most, (
            f"It ran for {decimal_hours.text(ran)} h; a timer counts {decimal_hours.text(most)} h at most. "
            f"If all of it was work, {_CORRECT_IT}."
        )
    moved = f"The machine slept or its clock was changed meanwhile. If the hours are wrong, {_CORRECT_IT}."
    return decimal_hours.of_duration(took.duration), moved if took.clock_moved else None


def _elapsed(shown: TimeEntry, known: Entry | None, now: Instant) -> Elapsed | None:
    if known is not None and known.started is not None:
        return elapsed(known.started, now)
    started = parse_utc(shown.fact("started_at")) or shown.created_at
    if started is None or started.tzinfo is None:
        return None
    # Another machine's start: its monotonic clock says nothing here.
    return elapsed(Instant(started, 0.0, boot_id="elsewhere"), now)


async def _own_timer(ledger: Ledger, known: Entry) -> TimeEntry:
    """This agent's open timer, as Keito shows it."""
    if known.entry_id is not None:
        return await standing.read(ledger, known.entry_id, known)
    unsettled = await ledger.journal.unsettled(known.owner.account, known.entry_key)
    if not unsettled:
        raise Problem("Another server was just starting this timer.", NOTHING_CHANGED, "Call stop_timer again now.")
    earlier = Earlier(known, unsettled[0])
    found = await creates.resolve(ledger, earlier)
    if found is None:
        await creates.give_up(ledger, earlier)
        raise Problem(
            "The timer never reached Keito: its start got no answer, and nothing arrived since.",
            "No entry exists for it.",
            "Log the work with log_time.",
        )
    return found


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


async def _correct(ledger: Ledger, worker: Worker, shown: TimeEntry, known: Entry | None, asked: _Asked) -> EntryAnswer:
    """Put the asked hours and notes into an entry that is finished and that no person changed."""
    status = Status.ALREADY_STOPPED
    if known is not None and known.state is not EntryState.STOPPED:
        # A stop of ours whose answer was lost: it did arrive.
        await ledger.seen(known, EntryState.STOPPED, shown)
        known, status = replace(known, state=EntryState.STOPPED), Status.STOPPED
    differing = asked.differing(shown)
    if not differing and known is not None and await standing.made_by_us(ledger, known, shown):
        await ledger.seen(known, EntryState.STOPPED, shown)
        return EntryAnswer.of(Status.UPDATED, shown, known=known)
    if not differing:
        return EntryAnswer.of(status, shown, known=known)
    if known is None or known.owner.session_id != worker.owner.session_id:
        return _left_alone(known, shown, "It was finished outside of this session.")
    answer = await changes.update(ledger, worker.owner.account, shown, known, TimeEntryUpdate.model_validate(differing))
    return EntryAnswer.of(Status.UPDATED if status is Status.ALREADY_STOPPED else status, answer, known=known)


def _left_alone(known: Entry | None, shown: TimeEntry, why: str) -> EntryAnswer:
    message = f"{why} It is left as it is; if time is missing, log it as a new entry with log_time."
    status = Status.RUNNING if shown.is_running else Status.ALREADY_STOPPED
    return EntryAnswer.of(status, shown, known=known, message=message)
