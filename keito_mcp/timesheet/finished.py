"""Logging finished work."""

from datetime import date, timedelta
from decimal import Decimal

from keito_mcp.clock import latest_day
from keito_mcp.journal import Claimed, Earlier
from keito_mcp.journal.states import OPEN_WRITES
from keito_mcp.server.answers import EntryAnswer, Status
from keito_mcp.timesheet import creates
from keito_mcp.timesheet.ledger import Ledger
from keito_mcp.timesheet.problem import NOTHING_SENT, Problem
from keito_mcp.timesheet.waiting import Waiting, queued
from keito_mcp.timesheet.work import Work, Worker, fingerprint

_SAY_WHAT_IS_DIFFERENT = "To log it again, say in the notes what is different."
_ADDED_NOTHING = f"The same call was made before; this is its entry, and nothing was added. {_SAY_WHAT_IS_DIFFERENT}"


async def log(ledger: Ledger, worker: Worker, work: Work, *, hours: Decimal, spent_date: date | None) -> EntryAnswer:
    """Log finished work as one entry; the same call again is the same entry.

    Args:
        ledger: Where it is recorded and sent.
        worker: Who did the work.
        work: What it was.
        hours: Decimal hours.
        spent_date: The day the work started; without one, the day it started if it ended just now.

    Raises:
        Problem: The date lies in the future.
        JournalError: Nothing was sent.
        KeitoError: Keito refused it.
    """
    now = ledger.clock.now()
    if spent_date is not None and spent_date > latest_day(now.wall):
        raise Problem(
            f"spent_date {spent_date} is in the future; the user's today is {ledger.day(now.wall)}.",
            NOTHING_SENT,
            "Log work on the day on which it started.",
        )
    started = now.wall - timedelta(seconds=float(hours * 3600))
    entry, body = creates.draft(worker, work, now, spent_date=spent_date or ledger.day(started), hours=hours)
    same = fingerprint(worker, work, hours, spent_date)
    async with ledger.one_at_a_time(worker.owner.account, same):
        made = await creates.create(ledger, entry, body, call_id=worker.identity.call_id, fingerprint=same)
        if isinstance(made, Earlier):
            return await _again(ledger, made)
        if isinstance(made, Waiting):
            return queued(entry, made)
        return EntryAnswer.of(Status.LOGGED, made, known=entry)


async def _again(ledger: Ledger, earlier: Earlier) -> EntryAnswer:
    """What a call answers that was made before; where its write waits, this is an occasion to deliver it."""
    answered = None
    entry, write = earlier.entry, earlier.write
    if write.state in OPEN_WRITES:
        claimed = await ledger.journal.claim(write.account, ledger.clock.now(), write.write_id)
        made = await creates.deliver(ledger, claimed, entry) if isinstance(claimed, Claimed) else None
        if isinstance(made, Waiting) or (made is None and entry.entry_id is None):
            waiting = made or Waiting(f"The same call was made before. {write.reason or ''}".strip())
            return queued(entry, waiting).saying(_SAY_WHAT_IS_DIFFERENT)
        answered = made
    return EntryAnswer.of(Status.DUPLICATE, answered, known=entry, message=_ADDED_NOTHING)
