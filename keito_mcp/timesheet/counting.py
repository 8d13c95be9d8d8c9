"""The hours of a timer: what has passed since its start, as far as it counts."""

from decimal import Decimal

from keito_mcp import hours as decimal_hours
from keito_mcp.clock import Elapsed, Instant, elapsed
from keito_mcp.journal import Entry, EntryState
from keito_mcp.keito import TimeEntry
from keito_mcp.timesheet.ledger import Ledger
from keito_mcp.timesheet.problem import NOTHING_CHANGED, Problem
from keito_mcp.timesheet.work import parse_utc
from keito_mcp.waits import LONGEST_TIMER

_CORRECT_IT = "correct them with stop_timer, this entry_id and hours"


async def hours_of(ledger: Ledger, shown: TimeEntry | None, known: Entry | None) -> tuple[Decimal, str | None]:
    """The hours since a timer's start, and what its agent must know about them.

    Raises:
        Problem: When it started isn't known.
    """
    if known and (unsettled := await _hours_of_an_earlier_stop(ledger, known)) is not None:
        return unsettled, "These are the hours up to the first call that stopped it, which Keito didn't answer."
    took = _elapsed(shown, known, ledger.clock.now())
    if took is None:
        raise Problem(
            f"When timer {shown.id if shown else ''} started isn't known here.",
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


def counted_less(counted: Decimal | None, hours: Decimal) -> str | None:
    """What an agent must know of a timer of which Keito counted less than has passed since its start."""
    if counted is None or counted >= hours or decimal_hours.same(counted, hours):
        return None
    return (
        f"Keito counts {decimal_hours.text(counted)} h of the {decimal_hours.text(hours)} h since its start: a person "
        "changed the timer meanwhile. So it is left; if time is missing, log it as a new entry with log_time."
    )


async def _hours_of_an_earlier_stop(ledger: Ledger, known: Entry) -> Decimal | None:
    """The hours of the last stop that waits or got no answer: the work ended then."""
    if known.state is not EntryState.STOPPING:
        return None
    updates = await ledger.unsettled_updates(known)
    stops = [write.body["hours"] for write in updates if write.body.get("is_running") is False]
    return Decimal(str(stops[-1])) if stops else None


def _elapsed(shown: TimeEntry | None, known: Entry | None, now: Instant) -> Elapsed | None:
    if known is not None and known.started is not None:
        return elapsed(known.started, now)
    started = (parse_utc(shown.fact("started_at")) or shown.created_at) if shown else None
    if started is None or started.tzinfo is None:
        return None
    # Another machine's start: its monotonic clock says nothing here.
    return elapsed(Instant(started, 0.0, boot_id="elsewhere"), now)
