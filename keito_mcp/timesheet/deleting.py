"""Delete many entries that were just shown: two commits for all of them, and one request for each."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial

import anyio

from keito_mcp.clock import Instant
from keito_mcp.journal import JournalError
from keito_mcp.journal.entry import Entry, FlightKind, OutcomeKind, Presence
from keito_mcp.journal.protocol import Edit, Lease
from keito_mcp.keito import KeitoError, TimeEntry
from keito_mcp.keito.api import Traits
from keito_mcp.timesheet import asked
from keito_mcp.timesheet.answer import Answer, Away, Found, Gone, Shown, apply, depart
from keito_mcp.timesheet.asking import ask, observed
from keito_mcp.timesheet.books import Books
from keito_mcp.timesheet.listing import Progress
from keito_mcp.timesheet.step import Delete, LeaveToPerson, LookUp, Read, next_step

_log = logging.getLogger(__name__)

_SHOWN = "its session is discarded"
_DELETE = Delete(why=_SHOWN)
_READ = Read(why="its delete got no answer")
_CANCELLED = Away("The call was cancelled.", may_have_arrived=False)


@dataclass(frozen=True, slots=True)
class Unwanted:
    """An entry that is to be deleted.

    Attributes:
        entry: Its row, which may have to be added first.
        shown: As Keito has just shown it, if it did.
        is_gone: Whether Keito has just said that it is no longer there.
    """

    entry: Entry
    shown: TimeEntry | None = None
    is_gone: bool = False


@dataclass(frozen=True, slots=True)
class End:
    """What became of an entry that was to be deleted.

    Attributes:
        handle: How a call names it.
        hours: The hours that stood in it, or that it was to have.
        kept: Why it stands, where it does.
        waits: Whether it is deleted later.
    """

    handle: str
    hours: Decimal = Decimal(0)
    kept: str | None = None
    waits: bool = False
    is_gone: bool = False


def unwanted(entry: Entry, reason: str | None, now: Instant) -> Entry:
    """Return the entry as one that should be absent. A running timer has the hours until now, should it come back."""
    if entry.outcome is not None and entry.outcome.kind is OutcomeKind.PERSON:
        return entry
    desired, ended = entry.desired, entry.ended
    if desired.presence is Presence.RUNNING:
        count = asked.counted(entry.started or entry.created, now)
        desired, ended = replace(desired, hours=count.hours, hours_are_exact=count.is_exact), now
    desired = replace(desired, presence=Presence.ABSENT)
    return replace(entry, desired=desired, ended=ended, reason=reason, outcome=None, kept=None)


async def delete(
    books: Books, session: tuple[str, str], wanted: Sequence[Unwanted], reason: str | None, progress: Progress
) -> list[End]:
    """Delete entries one after the other; what Keito can't be reached for is deleted later.

    Args:
        books: Where it is recorded and sent.
        session: The account and the session that they are discarded with, and of which nothing is counted until now.
        wanted: The entries.
        reason: Why, for the journal.
        progress: Told of each entry.

    Raises:
        JournalError: It couldn't be recorded, so nothing was deleted.
    """
    now = books.clock.now()
    edits = {one.entry.key: partial(_leaving, one, reason, now, books.api.traits) for one in wanted}
    new = [one.entry for one in wanted if one.entry.observed is not None]
    begun = dict(await books.rows.edit_all(edits, now, add=new, lease=Lease.TAKE, discards=session))
    held = [one for one in wanted if begun[one.entry.key] is None]
    if held:
        # Another process sends something for them just now; it or the next one deletes them then.
        later: dict[str, Edit] = {one.entry.key: partial(unwanted, reason=reason, now=now) for one in held}
        begun |= await books.rows.edit_all(later, now)
    ended = await _send(books, begun, progress)
    return [await _end(books, one, ended[one.entry.key] or one.entry) for one in wanted if not one.is_gone]


def _leaving(one: Unwanted, reason: str | None, now: Instant, traits: Traits, current: Entry) -> Entry:
    """Return an entry with its delete in flight, where nothing stands in the way of that."""
    entry = _looked_at(one, unwanted(current, reason, now), now)
    step = next_step(entry, now, traits)
    if isinstance(step, Delete):
        return depart(entry, step, now)
    return apply(entry, step, None, now) if isinstance(step, LeaveToPerson) else entry


def _looked_at(one: Unwanted, entry: Entry, now: Instant) -> Entry:
    """Return an entry with what Keito has just shown of it."""
    if one.is_gone and entry.observed is not None:
        return apply(entry, Read(why=_SHOWN), Gone(), now)
    if one.shown is None:
        return entry
    shown = observed(one.shown)
    if entry.observed is None:
        entry = apply(entry, LookUp(why=_SHOWN), Found((shown,)), now)
    if entry.observed is None or entry.outcome is not None:
        return entry
    return apply(entry, Read(why=_SHOWN), Shown(shown), now)


async def _send(books: Books, begun: Mapping[str, Entry | None], progress: Progress) -> Mapping[str, Entry | None]:
    """Send the deletes that are in flight, and record what became of all of them."""
    leaving = [entry for entry in begun.values() if entry is not None and _is_leaving(entry)]
    answers: dict[str, Edit] = {}
    away: Away | None = None
    try:
        for number, entry in enumerate(leaving, 1):
            answers[entry.key] = _answered(away, books) if away else await _sent(books, entry)
            away = away or _in_the_way(answers[entry.key](entry), entry)
            await progress(number, len(leaving), f"{number} of {len(leaving)} entries")
    finally:
        # Also when the call was cancelled: what was deleted is recorded, and what wasn't sent is deleted later.
        rest = _answered(_CANCELLED, books)
        edits = {
            entry.key: answers.get(entry.key, rest if _is_leaving(entry) else _same)
            for entry in begun.values()
            if entry is not None
        }
        with anyio.CancelScope(shield=True):
            ended = await _record(books, edits, begun)
    return ended


async def _record(
    books: Books, edits: Mapping[str, Edit], begun: Mapping[str, Entry | None]
) -> Mapping[str, Entry | None]:
    if not edits:
        return begun
    try:
        return await books.rows.edit_all(edits, books.clock.now(), lease=Lease.RELEASE)
    except JournalError as error:
        _log.warning("An outcome could not be recorded; it will be looked up when it is needed: %s", error)
        return {key: edits[key](entry) if entry is not None else None for key, entry in begun.items()}


async def _sent(books: Books, entry: Entry) -> Edit:
    """Send one delete; return what its answer makes of the entry."""
    met: list[KeitoError] = []
    with books.seeing_it_through() as deadline:
        answer = await ask(books.api, entry, _DELETE, deadline, met.append)
        edit = _answered(answer, books)
        if isinstance(answer, Away) and answer.may_have_arrived:
            look = await ask(books.api, entry, _READ, deadline, met.append)
            now = books.clock.now()
            return lambda current: apply(edit(current), _READ, look, now)
    return edit


def _answered(answer: Answer, books: Books) -> Edit:
    now = books.clock.now()
    return lambda entry: apply(entry, _DELETE, answer, now)


def _in_the_way(after: Entry, before: Entry) -> Away | None:
    """Return what keeps the next entries from Keito, too."""
    if after.in_flight is not None:
        why = after.in_flight.why or (after.rest.why if after.rest else "")
        return Away(why, may_have_arrived=False)
    if after.observed is None or after.rest is None or after.rest == before.rest:
        return None
    return Away(after.rest.why, may_have_arrived=False, retry_after=after.rest.seconds if after.rest.is_asked else None)


def _is_leaving(entry: Entry) -> bool:
    return entry.is_fresh and entry.in_flight is not None and entry.in_flight.kind is FlightKind.DELETE


def _same(entry: Entry) -> Entry:
    return entry


async def _end(books: Books, one: Unwanted, entry: Entry) -> End:
    """Return what became of an entry. A timer that is kept, as a person edited it, is stopped here."""
    before = one.entry
    if entry.kept is not None or entry.outcome is not None:
        why = entry.kept or (entry.outcome.why if entry.outcome else "")
        if entry.desired.presence is not Presence.ABSENT:
            with books.seeing_it_through() as deadline:
                await books.convergence.converge(entry, deadline)
        return End(entry.handle, kept=f"{why.rstrip('.')}.")
    if entry.observed is not None or entry.in_flight is not None:
        return End(entry.handle, waits=True)
    if entry.removed is not None:
        return End(entry.removed.entry_id, (one.shown.hours if one.shown else None) or Decimal(0), is_gone=True)
    if entry.creates_sent:
        return End(entry.handle, waits=True)
    finished = before.desired.presence is Presence.FINISHED
    return End(entry.handle, (before.desired.hours if finished else None) or Decimal(0), is_gone=True)
