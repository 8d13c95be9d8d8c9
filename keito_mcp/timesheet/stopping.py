"""Stopping a timer, and correcting an entry that was finished."""

from dataclasses import dataclass, replace
from decimal import Decimal

from keito_mcp.journal import Amendment, Claimed, Entry, EntryState, WriteKind, WriteState
from keito_mcp.keito import InvalidRequest, KeitoError, TimeEntry, TimeEntryUpdate
from keito_mcp.server.answers import EntryAnswer, Status
from keito_mcp.timesheet import changes, creates, finding, standing
from keito_mcp.timesheet.counting import counted_less, hours_of
from keito_mcp.timesheet.ledger import Ledger
from keito_mcp.timesheet.matching import edited_by_a_person, same_notes
from keito_mcp.timesheet.problem import NOTHING_CHANGED, Problem
from keito_mcp.timesheet.waiting import Waiting, is_away, queued, unreachable, waits
from keito_mcp.timesheet.work import Worker


async def stop(
    ledger: Ledger, worker: Worker, entry_id: str | None, notes: str | None, hours: Decimal | None
) -> EntryAnswer:
    """Stop a timer of this agent, or correct an entry of its session that was finished.

    Args:
        ledger: Where it is recorded and sent.
        worker: Whose timer it is.
        entry_id: Keito's id, or the key of an entry that waits; without one, the timer that runs for this agent.
        notes: Notes to put in place of those from the start.
        hours: Decimal hours to count in place of the elapsed time.

    Raises:
        Problem: There is nothing that may be stopped.
        JournalError: Nothing was sent.
        KeitoError: Keito refused it, or can't be asked about an entry that this machine doesn't know.
    """
    asked = _Asked(hours=hours, notes=notes)
    if entry_id is None:
        await standing.refuse_an_unknown_agent(ledger, worker)
        async with ledger.one_at_a_time(*worker.owner.key):
            return await _stop_own(ledger, worker, asked)
    known = await ledger.journal.find(worker.owner.account, entry_id)
    async with ledger.one_at_a_time(*(known.owner if known else worker.owner).key):
        known = await ledger.journal.find(worker.owner.account, entry_id)
        if known is not None:
            standing.refuse_what_is_not_ours(worker, known, None)
            if asked.nothing and known.state in {EntryState.STOPPED, EntryState.STOPPING}:
                return await _ended(ledger, known)
            return await _stop_known(ledger, worker, known, await _as_it_stands(ledger, known), asked)
        shown = await standing.read(ledger, entry_id, None)
        standing.refuse_what_is_not_ours(worker, None, shown)
        return await _stop_or_correct(ledger, worker, shown, None, asked)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a call wants an entry to have."""

    hours: Decimal | None
    notes: str | None

    @property
    def nothing(self) -> bool:
        """Whether the call asks for nothing but a stop."""
        return self.hours is None and self.notes is None

    @property
    def fields(self) -> dict[str, object]:
        """What it asks for, by Keito's names."""
        given = {"hours": self.hours, "notes": self.notes}
        return {name: value for name, value in given.items() if value is not None}

    def differing(self, shown: TimeEntry) -> dict[str, object]:
        """What of it an entry doesn't have yet."""
        return {
            name: value
            for name, value in self.fields.items()
            if not (value == shown.hours if name == "hours" else same_notes(str(value), shown.notes))
        }


async def _stop_own(ledger: Ledger, worker: Worker, asked: _Asked) -> EntryAnswer:
    """Stop the timer that runs for this agent, wherever it was started."""
    known = await ledger.journal.open_timer(worker.owner)
    if known is not None:
        stands = await _as_it_stands(ledger, known)
        if isinstance(stands, Waiting) or not standing.made_by_another_server(ledger, stands):
            return await _stop_known(ledger, worker, known, stands, asked)
        # Another replica stopped it, and may have started the next one.
        await ledger.seen(known, EntryState.STOPPED, stands)
    try:
        shown = await finding.running_in_keito(ledger, worker)
    except KeitoError as error:
        last = await ledger.journal.last_stopped(worker.owner)
        if not is_away(error) or last is None or last.state is not EntryState.STOPPING:
            raise
        # The same stop again, while it waits for Keito.
        shown = None
    if shown is None:
        return await _nothing_runs(ledger, worker)
    known = await ledger.journal.find(worker.owner.account, shown.id)
    return await _stop_or_correct(ledger, worker, shown, known, asked)


async def _as_it_stands(ledger: Ledger, known: Entry) -> TimeEntry | Waiting:
    """An entry of this machine in Keito; why it can't be seen there, as long as that is away."""
    if known.entry_id is None and known.is_wanted:
        return await arrive(ledger, known)
    if _can_be_stopped_unread(ledger, known):
        return standing.as_known(known)
    try:
        return await standing.read(ledger, known.handle, known)
    except KeitoError as error:
        if not is_away(error):
            raise
        return Waiting(unreachable(error))


async def _stop_known(
    ledger: Ledger, worker: Worker, known: Entry, stands: TimeEntry | Waiting, asked: _Asked
) -> EntryAnswer:
    """Stop or correct an entry of this machine, in Keito, or here as long as that is away."""
    if isinstance(stands, Waiting):
        return await end_here(ledger, worker, known, stands, asked)
    known = await ledger.journal.find(worker.owner.account, stands.id) or known
    try:
        return await _stop_or_correct(ledger, worker, stands, known, asked)
    except InvalidRequest:
        known = await ledger.journal.find(worker.owner.account, stands.id) or known
        if not _can_be_stopped_unread(ledger, known):
            # It was read before, or it is stopped, and only the rest of the change was refused.
            raise
    # It doesn't run any more: a person was there first.
    stands = await standing.read(ledger, known.handle, known)
    return await _stop_or_correct(ledger, worker, stands, known, asked)


def _can_be_stopped_unread(ledger: Ledger, known: Entry) -> bool:
    """Whether a stop needs no look before it: where Keito counts the hours, it changes nothing else of the entry.

    Over HTTP another replica may have stopped the timer, and started the next one.
    """
    return ledger.api.traits.computes_hours and ledger.serves_one_user and known.state is EntryState.RUNNING


async def arrive(ledger: Ledger, entry: Entry) -> TimeEntry | Waiting:
    """An entry that wasn't known to be in Keito, after its create was looked up or sent, where that could be done now.

    What certainly never left isn't sent here: a change may be folded into it first.

    Raises:
        KeitoError: Keito refused its create; the entry is gone.
    """
    write = await ledger.journal.create_of(entry)
    if write.state is not WriteState.QUEUED:
        claimed = await ledger.journal.claim(write.account, ledger.clock.now(), write.write_id)
        if isinstance(claimed, Claimed):
            made = await creates.deliver(ledger, claimed, entry)
            return made or Waiting("It is no longer wanted.")
    return Waiting(write.reason or "Its start is still on its way to Keito.", write.rest, is_held=write.is_held)


async def _ended(ledger: Ledger, known: Entry) -> EntryAnswer:
    """An entry that was stopped before: finished in Keito, or waiting to be told to it."""
    waiting = await ledger.journal.unsettled(known.owner.account, known.entry_key)
    left = [write for write in waiting if write.state is not WriteState.CONFIRMING]
    closed = known.closed if known.closed and known.person is None else ""
    if not left:
        return EntryAnswer.of(Status.ALREADY_STOPPED, known=known).saying(closed)
    return queued(known, Waiting(left[0].reason or "It was stopped before."), left[-1].body).saying(closed)


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
    edited = edited_by_a_person(known, shown) if known else None
    notes = None if edited else asked.notes
    answer = await stop_running(ledger, worker, shown, known, notes=notes, hours=asked.hours)
    if asked.notes is None or (answer.status is not Status.STOPPED and not edited):
        return answer
    if not edited and same_notes(answer.notes, asked.notes):
        return answer
    edited = edited or (edited_by_a_person(known, answer) if known else None)
    return answer.saying(f"{edited or 'A person changed its notes.'} So the notes were left as they are.")


async def stop_running(
    ledger: Ledger,
    worker: Worker,
    shown: TimeEntry,
    known: Entry | None,
    *,
    notes: str | None = None,
    hours: Decimal | None = None,
) -> EntryAnswer:
    """Stop a timer that Keito has just shown to run; raises as `stop` does."""
    message, exactly = None, hours is not None
    if hours is None:
        hours, message = await hours_of(ledger, shown, known)
    given = {"hours": hours, "is_running": False} | ({} if notes is None else {"notes": notes})
    change = TimeEntryUpdate.model_validate(given)
    answer = await changes.update(ledger, worker, shown, known, change, exactly=exactly)
    if isinstance(answer, Waiting):
        return _kept(shown, known, answer, change, worker).saying(message or "")
    if not exactly and (less := counted_less(answer.hours, hours)):
        message = less
    return EntryAnswer.of(Status.STOPPED, answer, known=known, message=message)


async def end_here(
    ledger: Ledger, worker: Worker, known: Entry, waiting: Waiting, asked: _Asked | None = None
) -> EntryAnswer:
    """Stop or correct an entry of this machine without asking Keito, which is told as soon as that can be done.

    Raises:
        Problem: Nothing was asked for, or the entry is gone.
        JournalError: It couldn't be recorded.
        KeitoError: Keito could be told, and refused it.
    """
    fields = asked.fields if asked else {}
    message = None
    if known.is_timer and known.state is not EntryState.STOPPED:
        if "hours" not in fields:
            fields["hours"], message = await hours_of(ledger, None, known)
        fields["is_running"] = False
    if not fields:
        raise Problem(waiting.why, NOTHING_CHANGED, "Call again when Keito can be reached.")
    change = TimeEntryUpdate.model_validate(fields)
    amendment = Amendment(entry_key=known.entry_key, body=change.body(), leave_now=known.entry_id is None)
    write = await ledger.journal.amend(amendment, ledger.clock.now(), sign=ledger.sign(worker.owner))
    if write is None:
        raise standing.deleted(known.handle)
    made: TimeEntry | Waiting = waiting
    if write.state is WriteState.SENT and write.kind is WriteKind.CREATE:
        with ledger.seeing_it_through() as deadline:
            made = await creates.send(ledger, write, known, deadline)
    elif write.state is WriteState.SENT:
        # It arrived just now, and what stands in Keito is to be read before it is changed.
        made = await waits(ledger, write, WriteState.QUEUED, waiting)
    if isinstance(made, Waiting):
        return queued(known, made, change.body()).saying(message or "")
    status = Status.STOPPED if known.is_timer else Status.UPDATED
    return EntryAnswer.of(status, made, known=known, message=message)


def _kept(
    shown: TimeEntry, known: Entry | None, waiting: Waiting, change: TimeEntryUpdate, worker: Worker
) -> EntryAnswer:
    if known is not None:
        return queued(known, waiting, change.body())
    asked = {name: getattr(change, name) for name in ("hours", "notes") if getattr(change, name) is not None}
    shown = shown.model_copy(update=asked)
    answer = EntryAnswer.of(Status.QUEUED, shown, message=waiting.text)
    return answer.model_copy(update={"session_id": answer.session_id or worker.owner.session_id})


async def _nothing_runs(ledger: Ledger, worker: Worker) -> EntryAnswer:
    last = await ledger.journal.last_stopped(worker.owner)
    if last is None:
        raise await finding.nothing_runs(ledger, worker)
    answer = await _ended(ledger, last)
    return answer.saying("This is the last one stopped. To correct it, call stop_timer with its entry_id.")


async def _correct(ledger: Ledger, worker: Worker, shown: TimeEntry, known: Entry | None, asked: _Asked) -> EntryAnswer:
    """Put the asked hours and notes into an entry that is finished and that no person changed."""
    status = Status.ALREADY_STOPPED
    if known is not None and known.state is not EntryState.STOPPED:
        # A stop of ours whose answer was lost: it did arrive. Or another replica's, before this call.
        await ledger.seen(known, EntryState.STOPPED, shown)
        known = replace(known, state=EntryState.STOPPED)
        status = status if standing.made_by_another_server(ledger, shown) else Status.STOPPED
    differing = asked.differing(shown)
    if not differing and known is not None and await standing.made_by_us(ledger, known, shown):
        await ledger.seen(known, EntryState.STOPPED, shown)
        return EntryAnswer.of(Status.UPDATED, shown, known=known)
    if not differing:
        return EntryAnswer.of(status, shown, known=known)
    if known is None or known.owner.session_id != worker.owner.session_id:
        return _left_alone(known, shown, "It was finished outside of this session.")
    change = TimeEntryUpdate.model_validate(differing)
    answer = await changes.update(ledger, worker, shown, known, change)
    if isinstance(answer, Waiting):
        return queued(known, answer, change.body())
    return EntryAnswer.of(Status.UPDATED if status is Status.ALREADY_STOPPED else status, answer, known=known)


def _left_alone(known: Entry | None, shown: TimeEntry, why: str) -> EntryAnswer:
    message = f"{why} It is left as it is; if time is missing, log it as a new entry with log_time."
    status = Status.RUNNING if shown.is_running else Status.ALREADY_STOPPED
    return EntryAnswer.of(status, shown, known=known, message=message)
