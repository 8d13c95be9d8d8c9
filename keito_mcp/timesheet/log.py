"""Log finished work."""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

from keito_mcp.clock import latest_day
from keito_mcp.journal.entry import Entry
from keito_mcp.server.answers import EntryAnswer, Status
from keito_mcp.timesheet import asked, reply, taken_back
from keito_mcp.timesheet.books import Books
from keito_mcp.timesheet.problem import NOTHING_SENT, Problem
from keito_mcp.timesheet.step import Wait
from keito_mcp.timesheet.work import Work, Worker, fingerprint
from keito_mcp.waits import SAME_CALL

_SAY_WHAT_IS_DIFFERENT = "To log it again, say in the notes what is different."
_ADDED_NOTHING = f"The same call was made before; this is its entry, and nothing was added. {_SAY_WHAT_IS_DIFFERENT}"


async def log(books: Books, worker: Worker, work: Work, *, hours: Decimal, spent_date: date | None) -> EntryAnswer:
    """Log finished work as one entry; the same call again is the same entry.

    Args:
        books: Where it is recorded and sent.
        worker: Who did the work.
        work: What it was.
        hours: Decimal hours.
        spent_date: The day the work started; without one, the day it started if it ended just now.

    Raises:
        Problem: The date lies in the future.
        JournalError: Nothing was sent.
        KeitoError: Keito refused it.
    """
    now = books.clock.now()
    if spent_date is not None and spent_date > latest_day(now.wall):
        raise Problem(
            f"spent_date {spent_date} is in the future; the user's today is {books.day(now.wall)}.",
            NOTHING_SENT,
            "Log work on the day on which it started.",
        )
    day = spent_date or books.day(now.wall - timedelta(seconds=float(hours * 3600)))
    same = fingerprint(worker, work, hours, spent_date)
    entry = asked.finished(worker, work, now, spent_date=day, hours=hours)
    entry = replace(entry, call_id=worker.identity.call_id, fingerprint=same)
    async with books.one_at_a_time(worker.owner.account, same):
        ended = await books.convergence.begin(
            entry, books.deadline(), same_since=now.wall - SAME_CALL, sign=books.sign(worker.owner)
        )
        if isinstance(ended, Entry):
            return await _again(books, ended)
        await taken_back.unless_taken(books, entry, ended)
        if isinstance(ended.step, Wait) or ended.entry.observed is None:
            return reply.queued(ended.entry, ended.step.why)
        return reply.of(Status.LOGGED, ended.entry)


async def _again(books: Books, earlier: Entry) -> EntryAnswer:
    """Answer a call that was made before; where its entry waits, this is an occasion to deliver it."""
    change = taken_back.without_rest if earlier.rest else None
    ended = await books.convergence.converge(earlier, books.deadline(), change=change)
    if isinstance(ended.step, Wait) and ended.entry.observed is None:
        why = f"The same call was made before. {ended.step.why}"
        return reply.queued(ended.entry, why).saying(_SAY_WHAT_IS_DIFFERENT)
    return reply.of(Status.DUPLICATE, ended.entry, _ADDED_NOTHING)
