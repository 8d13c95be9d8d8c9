"""Stop the timers that outlived their agents, each at its session's last sign of life."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from keito_mcp import hours as decimal_hours
from keito_mcp.clock import Instant, elapsed
from keito_mcp.journal.entry import Entry, Presence
from keito_mcp.journal.protocol import Left
from keito_mcp.journal.rules import is_open_timer
from keito_mcp.timesheet import asked
from keito_mcp.timesheet.asked import Counted
from keito_mcp.timesheet.books import Books
from keito_mcp.timesheet.work import utc_text
from keito_mcp.waits import SILENCE

_ALONE = "was left running by an agent that is gone; it was stopped at its last sign of life"
_ENDED = "was left running when its agent ended; it was stopped at that moment"


async def close(books: Books, timers: Sequence[Left], *, left: frozenset[str] = frozenset()) -> list[str]:
    """Stop those timers whose sessions are over; Keito is told later, like of any stop that waits.

    Args:
        books: Where they are kept.
        timers: The timers of other sessions than the one that asks.
        left: The sessions that this process's host was in, and is in no longer.

    Returns:
        A sentence for each timer that was stopped.

    Raises:
        JournalError: The journal can't be used.
    """
    closed: list[str] = []
    for timer in timers:
        if _is_over(books, timer) or _was_left(books, timer, left):
            stop = _stopped(timer.entry, timer.seen, _ALONE)
            if await books.rows.close(timer, stop.change, books.clock.now()):
                closed.append(stop.said)
    return closed


async def end(books: Books, entry: Entry, at: Instant) -> str | None:
    """Stop a timer at the moment at which its agent ended, as its host told; None where it was stopped meanwhile.

    Raises:
        JournalError: The journal can't be used.
    """
    stop = _stopped(entry, at, _ENDED)
    ended = await books.rows.edit(entry.key, stop.change, books.clock.now())
    return stop.said if ended is not None and ended.closed == stop.said else None


@dataclass(frozen=True, slots=True)
class _Stop:
    """The stop of a timer without its agent, and the sentence about it."""

    at: Instant
    count: Counted
    said: str

    def change(self, entry: Entry) -> Entry:
        """Return the entry stopped, unless it was stopped before."""
        if not is_open_timer(entry):
            return entry
        count = self.count
        desired = replace(entry.desired, presence=Presence.FINISHED, hours=count.hours, hours_are_exact=count.is_exact)
        return replace(entry, desired=desired, ended=self.at, closed=self.said)


def _stopped(entry: Entry, at: Instant, why: str) -> _Stop:
    count = asked.counted(entry.started or entry.created, at)
    notes = entry.desired.notes
    about = f" ({notes[:80]!r})" if notes else ""
    hours = decimal_hours.text(count.hours)
    said = (
        f"Timer {entry.handle}{about} of session {entry.owner.session_id} {why}, {utc_text(at.wall)}, with {hours} h."
    )
    if count.ran.clock_moved:
        said += " The machine slept or its clock was changed meanwhile."
    return _Stop(at, count, said)


def _is_over(books: Books, timer: Left) -> bool:
    if books.journal.has_ended(timer.process):
        return True
    return elapsed(timer.seen, books.clock.now()).duration >= SILENCE


def _was_left(books: Books, timer: Left, left: frozenset[str]) -> bool:
    """Return whether the main agent of a session is gone because its host went to another one (`/clear`).

    Its sub-agents may work on in the background.
    """
    owner = timer.entry.owner
    return timer.process == books.journal.process and owner.session_id in left and not owner.subagent_id
