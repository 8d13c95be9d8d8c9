"""How a change is put to Keito: in one request, or, where Keito counts a timer's hours itself, in two."""

from decimal import Decimal
from typing import Any

from keito_mcp import hours as decimal_hours
from keito_mcp.clock import Instant
from keito_mcp.identity.facts import HOURS_WRITTEN
from keito_mcp.journal import Entry, Write
from keito_mcp.keito import (
    METADATA_LIMIT,
    AuthenticationFailed,
    KeitoError,
    TimeEntry,
    TimeEntryUpdate,
    metadata_size,
)
from keito_mcp.timesheet.ledger import Ledger
from keito_mcp.timesheet.matching import edited_by_a_person, same_notes
from keito_mcp.timesheet.waiting import is_away
from keito_mcp.timesheet.work import parse_utc
from keito_mcp.waits import LATE_ARRIVAL

_LATENCY = Decimal("0.001")
"""Hours that may pass between counting a timer and Keito's own count of it."""

_ARRIVAL = Decimal(int(LATE_ARRIVAL.total_seconds())) / 3600
"""Hours for which a stop may be on its way."""

_SHORT = Decimal("0.01")
"""Hours by which Keito's count of a timer may differ from ours without being another one."""


class StoppedOnly(Exception):
    """A timer is stopped, and Keito refused the rest of the change.

    Attributes:
        stopped: The entry as the stop left it.
        error: Why the rest was refused.
    """

    def __init__(self, stopped: TimeEntry, error: KeitoError) -> None:
        super().__init__(str(error))
        self.stopped = stopped
        self.error = error


class RestUnanswered(Exception):
    """A timer is stopped, and it isn't known whether the rest of the change was made."""

    def __init__(self, error: KeitoError) -> None:
        super().__init__(f"the timer is stopped, and the rest of the change isn't made: {error}")


async def alter(
    ledger: Ledger, changes: TimeEntryUpdate, known: Entry | None, shown: TimeEntry, *, exactly: bool
) -> TimeEntry:
    """Change an entry, once.

    Args:
        ledger: Where Keito is.
        changes: What is to be different.
        known: What this machine knows of the entry, if it does.
        shown: The entry as it stood before.
        exactly: Whether the hours were given; else they were counted, and Keito's own count of them is as good.

    Raises:
        KeitoError: Keito refused, or didn't answer.
        StoppedOnly: Keito stopped the timer, and refused the rest.
        RestUnanswered: It stopped it, and didn't answer the rest.
    """
    near = shown.spent_date
    if changes.is_running is not False:
        return await ledger.api.update(shown.id, _signed(ledger, changes, shown), near=near)
    if not ledger.api.traits.computes_hours:
        return await ledger.api.stop(shown.id, _signed(ledger, changes, shown), near=near)
    if shown.is_running is False:
        stopped = shown
        exactly = exactly or not _is_near(stopped.hours, changes.hours)
    else:
        counted_late = _is_late(ledger, changes, known, shown)
        stopped = await ledger.api.stop(shown.id, changes, near=near)
        exactly = exactly or counted_late or await _began_later(ledger, changes, known, stopped)
    rest = _left_to_be_made(ledger, changes, known, stopped, exactly=exactly)
    if rest is None:
        return stopped
    try:
        return await ledger.api.update(shown.id, rest, near=near)
    except KeitoError as error:
        if not is_away(error) and not isinstance(error, AuthenticationFailed):
            raise StoppedOnly(stopped, error) from error
        raise RestUnanswered(error) from error


async def stopped_by(ledger: Ledger, write: Write, known: Entry, shown: TimeEntry) -> bool:
    """Whether an entry shows the first half of a stop of ours: Keito stopped it, and counted its hours itself."""
    stops = write.body.get("is_running") is False and write.sends > 0
    if not (stops and ledger.api.traits.computes_hours) or shown.is_running is not False or shown.hours is None:
        return False
    counts = await _counts(ledger, known, write.sent)
    if counts is None:
        return False
    # The stop may have arrived late; and by Keito's clock, which nobody sets, the timer ran as we counted.
    ours = Decimal(str(write.body.get("hours", counts[1])))
    least, most = min(counts[0], ours), max(counts[1], ours)
    return least - _SHORT <= shown.hours <= most + _SHORT + _ARRIVAL


def _is_late(ledger: Ledger, changes: TimeEntryUpdate, known: Entry | None, shown: TimeEntry) -> bool:
    """Whether Keito, which counts until now, would count something else than the work: it ended earlier, or slept."""
    now = ledger.clock.now()
    started = known.started if known and known.started else None
    moment = parse_utc(shown.fact("started_at"))
    if started is None and moment is not None and moment.tzinfo is not None:
        started = Instant(moment, 0.0, "")
    if started is None or changes.hours is None:
        return True
    return abs(_between(started, now) - changes.hours) > _LATENCY


async def _began_later(ledger: Ledger, changes: TimeEntryUpdate, known: Entry | None, stopped: TimeEntry) -> bool:
    """Whether Keito counted too little because its timer began later than the work.

    One that counted even less than since then was stopped by a person meanwhile, and started again.
    """
    if stopped.hours is None or changes.hours is None or stopped.hours >= changes.hours - _SHORT:
        return stopped.hours == 0 and changes.hours is not None
    counts = await _counts(ledger, known, ledger.clock.now()) if known else None
    return not stopped.hours or counts is None or stopped.hours >= counts[0] - _SHORT


async def _counts(ledger: Ledger, known: Entry, end: Instant) -> tuple[Decimal, Decimal] | None:
    """The least and the most that Keito may count of a timer until then: it began when its create was sent.

    One that was sent twice may have arrived either time.
    """
    if known.started is None:
        return None
    create = await ledger.journal.create_of(known)
    most = _between(known.started, end)
    return min(_between(create.sent, end), most), most


def _between(start: Instant, end: Instant) -> Decimal:
    """Decimal hours by the clock on the wall, which is what Keito counts by."""
    return Decimal(str((end.wall - start.wall).total_seconds())) / 3600


def _is_near(one: Decimal | None, other: Decimal | None) -> bool:
    return one is not None and other is not None and abs(one - other) <= _SHORT


def _left_to_be_made(
    ledger: Ledger, changes: TimeEntryUpdate, known: Entry | None, stopped: TimeEntry, *, exactly: bool
) -> TimeEntryUpdate | None:
    """What a stop left of a change; None where nothing is left. Who edited the timer meanwhile keeps its notes."""
    rest: dict[str, Any] = {}
    if exactly and changes.hours is not None and changes.hours != stopped.hours:
        rest["hours"] = changes.hours
    edited = known is not None and edited_by_a_person(known, stopped) is not None
    if changes.notes is not None and not edited and not same_notes(changes.notes, stopped.notes):
        rest["notes"] = changes.notes
    update = _signed(ledger, TimeEntryUpdate.model_validate(rest), stopped, stopped.hours)
    return update if update.model_fields_set else None


def _signed(
    ledger: Ledger, changes: TimeEntryUpdate, shown: TimeEntry, counted: Decimal | None = None
) -> TimeEntryUpdate:
    """A change that other replicas of an HTTP server can tell from a person's: they don't share a journal.

    Args:
        ledger: Says whether there may be any.
        changes: The change.
        shown: The entry as it stood.
        counted: The hours that Keito counted, where the change gives none.
    """
    hours = counted if changes.hours is None else changes.hours
    if ledger.serves_one_user or hours is None or shown.metadata is None:
        return changes
    metadata = {**shown.metadata, HOURS_WRITTEN: decimal_hours.text(hours)}
    return changes if metadata_size(metadata) > METADATA_LIMIT else changes.model_copy(update={"metadata": metadata})
