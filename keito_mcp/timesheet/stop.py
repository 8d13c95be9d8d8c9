"""Stop a timer, and correct an entry that was finished."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from keito_mcp import hours as decimal_hours
from keito_mcp.identity.facts import HOURS_WRITTEN
from keito_mcp.journal.entry import Desired, Entry, OutcomeKind, Presence
from keito_mcp.journal.protocol import Edit
from keito_mcp.journal.rules import is_open_timer
from keito_mcp.keito import METADATA_LIMIT, KeitoError, TimeEntry, metadata_size
from keito_mcp.server.answers import EntryAnswer, Status
from keito_mcp.timesheet import asked, compare, reply, running, taken_back
from keito_mcp.timesheet.asked import Counted
from keito_mcp.timesheet.asking import observed
from keito_mcp.timesheet.books import Books
from keito_mcp.timesheet.converge import Converged
from keito_mcp.timesheet.problem import NOTHING_CHANGED, Problem
from keito_mcp.timesheet.step import LookUpAll, Nothing, Wait, next_step
from keito_mcp.timesheet.waiting import is_away
from keito_mcp.timesheet.work import Worker

Given = Mapping[str, Any]
"""What a call wants an entry to have, by Keito's names."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A timer that was brought to its end.

    Attributes:
        before: As it stood before.
        converged: How that went.
        count: How much it counts, where no hours were given.
    """

    before: Entry
    converged: Converged
    count: Counted | None

    @property
    def was_over(self) -> bool:
        """Return whether it had been stopped before, by another replica of an HTTP server."""
        entry = self.converged.entry
        if self.converged.wrote or entry.outcome is not None or not isinstance(self.converged.step, Nothing):
            return False
        return entry.observed is not None and entry.observed.is_running is False


_CORRECT_IT = "correct them with stop_timer, this entry_id and hours"
_EARLIER_STOP = "These are the hours up to the first call that stopped it, which Keito didn't answer."


async def stop(
    books: Books, worker: Worker, entry_id: str | None, notes: str | None, hours: Decimal | None
) -> EntryAnswer:
    """Stop a timer of this agent, or correct an entry of its session that was finished.

    Args:
        books: Where it is recorded and sent.
        worker: Whose timer it is.
        entry_id: Keito's id, or the key of an entry that waits; without one, the timer that runs for this agent.
        notes: Notes to put in place of those from the start.
        hours: Decimal hours to count in place of the elapsed time.

    Raises:
        Problem: There is nothing that may be stopped.
        JournalError: Nothing was sent.
        KeitoError: Keito refused it, or can't be asked about an entry that this machine doesn't know.
    """
    given = {name: value for name, value in (("hours", hours), ("notes", notes)) if value is not None}
    if entry_id is None:
        await reply.refuse_an_unknown_agent(books, worker)
        async with books.one_at_a_time(*worker.owner.key):
            return await _stop_own(books, worker, given)
    known = await books.rows.find(worker.owner.account, entry_id)
    async with books.one_at_a_time(*(known.owner if known else worker.owner).key):
        known = await books.rows.find(worker.owner.account, entry_id)
        if known is not None:
            reply.refuse_what_is_not_ours(worker, known, None)
            return await _stop_known(books, worker, known, given)
        shown = await books.get(entry_id)
        reply.refuse_what_is_not_ours(worker, None, shown)
        return await stop_elsewhere(books, worker, shown, given)


async def stop_timer(books: Books, worker: Worker, known: Entry, given: Given) -> EntryAnswer:
    """Stop a timer of this machine; raises as `stop` does."""
    ended = await end(books, worker, known, given)
    return await (_over(books, worker, ended, given) if ended.was_over else answer(books, ended, given))


async def end(books: Books, worker: Worker, known: Entry, given: Given) -> Ended:
    """Bring a timer of this machine to its end; raises `JournalError`."""
    now = books.clock.now()
    count = asked.counted(known.started or known.created, now)
    hours = given.get("hours", count.hours)

    def ended(current: Entry) -> Entry:
        if not _can_be_stopped(current):
            # Somebody else stopped or discarded it meanwhile.
            return current
        is_exact = "hours" in given or count.is_exact
        desired = replace(current.desired, presence=Presence.FINISHED, hours=hours, hours_are_exact=is_exact)
        desired = replace(desired, **{name: value for name, value in given.items() if name != "hours"})
        return replace(taken_back.without_rest(current), desired=_signed(books, desired), ended=now, outcome=None)

    # Over HTTP another replica may have stopped it, and started the next one.
    converged = await books.convergence.converge(
        known, books.deadline(), change=ended, look=not books.serves_one_user, sign=books.sign(worker.owner)
    )
    return Ended(known, converged, None if "hours" in given else count)


async def stop_elsewhere(books: Books, worker: Worker, shown: TimeEntry, given: Given) -> EntryAnswer:
    """Stop a timer that Keito has just shown, and that this machine doesn't know; raises as `stop` does."""
    if shown.is_running is None:
        raise Problem(
            f"Keito doesn't say whether entry {shown.id} runs, and it wasn't started on this machine.",
            NOTHING_CHANGED,
            "Look at it with list_entries, or leave it to a person.",
        )
    now = books.clock.now()
    known = asked.adopted(worker, shown, now)
    if shown.is_running is False:
        known = replace(known, observed=observed(shown))
        differs = any(not compare.same(name, value, getattr(known.observed, name)) for name, value in given.items())
        if differs:
            return reply.left_alone(known, "It was finished outside of this session.")
        return reply.of(Status.ALREADY_STOPPED, known)
    if known.observed is not None and known.observed.is_locked:
        return reply.left_alone(known, "It was approved, locked or invoiced in Keito.")
    count = asked.counted(known.started, now) if known.started else None
    if count is None and "hours" not in given:
        raise Problem(
            f"When timer {shown.id} started isn't known here.",
            NOTHING_CHANGED,
            "Call stop_timer with its entry_id and hours.",
        )
    fields: dict[str, Any] = {"hours": count.hours if count else None, **given}
    is_exact = "hours" in given or count is None or count.is_exact
    desired = replace(known.desired, presence=Presence.FINISHED, hours_are_exact=is_exact, **fields)
    converged = await books.convergence.begin(
        replace(known, desired=_signed(books, desired), ended=now), books.deadline(), sign=books.sign(worker.owner)
    )
    if isinstance(converged, Entry):
        # Another process has just taken it over.
        return await stop_timer(books, worker, converged, given)
    return await answer(books, Ended(known, converged, None if "hours" in given else count), given)


async def _stop_own(books: Books, worker: Worker, given: Given) -> EntryAnswer:
    """Stop the timer that runs for this agent, wherever it was started."""
    owner = worker.owner
    known = await books.rows.open_timer(owner)
    if known is not None:
        ended = await end(books, worker, known, given)
        if not ended.was_over:
            return await answer(books, ended, given)
        # Another replica stopped it, and may have started the next one.
    last = await books.rows.last_finished(owner)
    try:
        shown = await running.in_keito(books, worker)
    except KeitoError as error:
        if not is_away(error) or last is None or _rest_of(books, last) is None:
            raise
        # The same stop again, while it waits for Keito.
        shown = None
    if shown is not None:
        known = await books.rows.find(owner.account, shown.id)
        if known is not None:
            return await _stop_known(books, worker, known, given)
        return await stop_elsewhere(books, worker, shown, given)
    if last is None:
        raise await running.nothing_runs(books, worker)
    return _ended(books, last).saying("This is the last one stopped. To correct it, call stop_timer with its entry_id.")


async def _stop_known(books: Books, worker: Worker, known: Entry, given: Given) -> EntryAnswer:
    """Stop or correct an entry of this machine."""
    reply.refuse_what_is_gone(known)
    if is_open_timer(known):
        return await stop_timer(books, worker, known, given)
    if _stop_was_refused(known):
        if "hours" not in given:
            raise Problem(
                f"Keito refused to let timer {known.handle} be stopped before.",
                NOTHING_CHANGED,
                "To try again, call stop_timer with its entry_id and the hours that were worked on it.",
            )
        return await stop_timer(books, worker, known, given)
    if not given:
        return _ended(books, known)
    return await _correct(books, worker, known, given)


async def _over(books: Books, worker: Worker, ended: Ended, given: Given) -> EntryAnswer:
    """Answer the stop of a timer that another replica had stopped."""
    entry = ended.converged.entry
    return await _correct(books, worker, entry, given) if given else reply.of(Status.ALREADY_STOPPED, entry)


async def _correct(books: Books, worker: Worker, known: Entry, given: Given) -> EntryAnswer:
    """Put the given fields into an entry that is finished, unless a person changed it."""
    change = _corrected(books, given)
    differs = bool(compare.difference(change(known))) if known.observed else True
    if differs and known.owner.session_id != worker.owner.session_id:
        return reply.left_alone(known, "It was finished outside of this session.")
    is_pending = _rest_of(books, known) is not None
    ended = await books.convergence.converge(
        known, books.deadline(), change=change, look=True, sign=books.sign(worker.owner)
    )
    await taken_back.unless_taken(books, known, ended)
    reply.refuse_what_is_gone(ended.entry)
    if ended.entry.outcome is not None:
        return reply.left_alone(ended.entry, ended.entry.outcome.why)
    said = _EARLIER_STOP if known.started and is_pending and "hours" not in given else None
    if isinstance(ended.step, Wait):
        return reply.queued(ended.entry, ended.step.why).saying(said or "")
    if not (differs or is_pending):
        return reply.of(Status.ALREADY_STOPPED, ended.entry)
    was_open = known.started is not None and (known.observed is None or known.observed.is_running is True)
    status = Status.STOPPED if was_open else Status.UPDATED
    return reply.of(status, ended.entry).saying(_notes_left(ended.entry, given))


async def answer(books: Books, ended: Ended, given: Given) -> EntryAnswer:
    """Answer the stop of a timer; raises as `stop` does."""
    await taken_back.unless_taken(books, ended.before, ended.converged)
    entry, step, count = ended.converged.entry, ended.converged.step, ended.count
    reply.refuse_what_is_gone(entry)
    if entry.outcome is not None:
        return reply.left_alone(entry, entry.outcome.why)
    message = _of_count(count) if count else ""
    if isinstance(step, Wait):
        return reply.queued(entry, step.why).saying(message)
    stopped = reply.of(Status.STOPPED, entry)
    less = _counted_less(stopped.hours, count) if count else ""
    return stopped.saying(less or message, _notes_left(entry, given))


def _signed(books: Books, desired: Desired) -> Desired:
    """Return a finished entry that other replicas of an HTTP server can tell from a person's: they share no journal."""
    if books.serves_one_user or desired.hours is None or desired.metadata is None:
        return desired
    metadata = {**desired.metadata, HOURS_WRITTEN: decimal_hours.text(desired.hours)}
    if metadata_size(metadata) > METADATA_LIMIT:
        return desired
    return replace(desired, metadata=metadata, hours_are_exact=True)


def _corrected(books: Books, given: Given) -> Edit:
    def change(current: Entry) -> Entry:
        if current.desired.presence is not Presence.FINISHED or _is_left(current):
            return current
        desired = current.desired
        if current.outcome is not None and current.observed is not None:
            # What was refused before isn't asked for again.
            desired = asked.as_observed(current.observed, Presence.FINISHED)
        is_exact = "hours" in given or desired.hours_are_exact
        desired = _signed(books, replace(desired, hours_are_exact=is_exact, **given))
        return replace(taken_back.without_rest(current), desired=desired, outcome=None)

    return change


def _ended(books: Books, known: Entry) -> EntryAnswer:
    """Answer about an entry that was stopped before: finished in Keito, or still to be."""
    if _is_left(known):
        return reply.of(Status.ALREADY_STOPPED, known)
    why = _rest_of(books, known)
    ended = reply.of(Status.ALREADY_STOPPED, known) if why is None else reply.queued(known, why)
    return ended.saying(known.closed or "")


def _rest_of(books: Books, entry: Entry) -> str | None:
    """Return why an entry isn't in Keito as it should be; None where it is."""
    step = next_step(entry, books.clock.now(), books.api.traits)
    if isinstance(step, Nothing | LookUpAll):
        return None
    return step.why if isinstance(step, Wait) else "It was stopped before."


def _can_be_stopped(entry: Entry) -> bool:
    return is_open_timer(entry) or _stop_was_refused(entry)


def _stop_was_refused(entry: Entry) -> bool:
    is_refused = entry.outcome is not None and entry.outcome.kind is OutcomeKind.REFUSED
    return is_refused and entry.observed is not None and entry.observed.is_running is True


def _is_left(entry: Entry) -> bool:
    return entry.outcome is not None and entry.outcome.kind is OutcomeKind.PERSON


def _of_count(count: Counted) -> str:
    """Return what an agent must know of the hours of a timer."""
    if count.is_capped:
        ran = decimal_hours.text(decimal_hours.of_duration(count.ran.duration))
        return (
            f"It ran for {ran} h; a timer counts {decimal_hours.text(count.hours)} h at most. "
            f"If all of it was work, {_CORRECT_IT}."
        )
    if count.ran.clock_moved:
        return f"The machine slept or its clock was changed meanwhile. If the hours are wrong, {_CORRECT_IT}."
    return ""


def _counted_less(shown: Decimal, count: Counted) -> str:
    """Return what an agent must know of a timer of which Keito counted less than has passed since its start."""
    if shown >= count.hours or decimal_hours.same(shown, count.hours):
        return ""
    return (
        f"Keito counts {decimal_hours.text(shown)} h of the {decimal_hours.text(count.hours)} h since its start: a "
        "person changed the timer meanwhile. So it is left; if time is missing, log it as a new entry with log_time."
    )


def _notes_left(entry: Entry, given: Given) -> str:
    """Return why notes that were given aren't in the entry."""
    if "notes" not in given or entry.observed is None or not entry.persons:
        return ""
    if compare.same("notes", given["notes"], entry.observed.notes):
        return ""
    return f"A person changed its {', '.join(sorted(entry.persons))}. So the notes were left as they are."
