"""Timers that outlived their agents: each is stopped at its session's last sign of life."""

from collections.abc import Sequence

from keito_mcp import hours as decimal_hours
from keito_mcp.clock import Instant, elapsed
from keito_mcp.journal import Abandoned, Amendment, Entry
from keito_mcp.timesheet.ledger import Ledger
from keito_mcp.timesheet.work import utc_text
from keito_mcp.waits import LONGEST_TIMER, SILENCE


async def close(ledger: Ledger, timers: Sequence[Abandoned], *, left: frozenset[str] = frozenset()) -> list[str]:
    """Stop those timers whose sessions are over; Keito is told later, like of any stop that waits.

    Args:
        ledger: Where they are kept.
        timers: The timers of other sessions than the one that asks.
        left: The sessions that this process's host was in, and is in no longer.

    Returns:
        A sentence for each timer that was stopped.

    Raises:
        JournalError: The journal can't be used.
    """
    closed: list[str] = []
    for timer in timers:
        if _is_over(ledger, timer) or _was_left(ledger, timer, left):
            said = await _close(ledger, timer)
            closed += [said] if said else []
    return closed


def _is_over(ledger: Ledger, timer: Abandoned) -> bool:
    if ledger.journal.has_ended(timer.process):
        return True
    return elapsed(timer.seen, ledger.clock.now()).duration >= SILENCE


def _was_left(ledger: Ledger, timer: Abandoned, left: frozenset[str]) -> bool:
    """Whether the main agent of a session is gone because its host went to another one (`/clear`).

    Its sub-agents may work on in the background.
    """
    owner = timer.entry.owner
    return timer.process == ledger.journal.process and owner.session_id in left and not owner.subagent_id


async def end(ledger: Ledger, entry: Entry, at: Instant) -> str | None:
    """Stop a timer at the moment at which its agent ended, as its host told; None where it was stopped meanwhile.

    Raises:
        JournalError: The journal can't be used.
    """
    amendment = _stop(entry, at, "was left running when its agent ended; it was stopped at that moment")
    write = await ledger.journal.amend(amendment, ledger.clock.now())
    return amendment.closed if write is not None else None


async def _close(ledger: Ledger, timer: Abandoned) -> str | None:
    why = "was left running by an agent that is gone; it was stopped at its last sign of life"
    amendment = _stop(timer.entry, timer.seen, why)
    write = await ledger.journal.close_timer(timer, amendment, ledger.clock.now())
    return amendment.closed if write is not None else None


def _stop(entry: Entry, at: Instant, why: str) -> Amendment:
    took = elapsed(entry.started, at) if entry.started else None
    duration = min(took.duration, LONGEST_TIMER) if took else LONGEST_TIMER
    hours = decimal_hours.of_duration(duration)
    about = f" ({entry.notes[:80]!r})" if entry.notes else ""
    said = (
        f"Timer {entry.handle}{about} of session {entry.owner.session_id} {why}, {utc_text(at.wall)}, "
        f"with {decimal_hours.text(hours)} h."
    )
    if took and took.clock_moved:
        said += " The machine slept or its clock was changed meanwhile."
    return Amendment(
        entry_key=entry.entry_key,
        body={"hours": float(hours), "is_running": False},
        leave_now=False,
        closed=said,
        ended=at,
        only_while_open=True,
    )
